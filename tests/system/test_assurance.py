"""Approvals that must be proven: an agent with all rights of a Temporal client can't give them."""

import html
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import WorkflowUpdateFailedError

from gate.client import GateClient
from runpermit import DecisionRefusedError, RunpermitClient
from runpermit.errors import ContainerConfigurationError
from runpermit.failures import unwrap
from runpermit.models import Assurance, PendingApproval, PendingRestore, Stage, Statement, Verb
from tests.signing import Keys
from tests.system.asking import left_changed, rehearsed
from tests.system.machine import Machine, own_gate

pytestmark = pytest.mark.slow

STEP = """
now = float(read_channel("SR:HCM1:SP"))
write_channel("SR:HCM1:SP", now + (0.1 if now < 1 else -0.1))
results = {"before": now}
"""
# It ends behind its write where the interlock has tripped.
TRIPPED = f"{STEP}assert int(read_channel('SR:INTERLOCK')) == 0\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@asynccontextmanager
async def proving(
    name: str, approval: dict[str, Any], keys: Keys, stack: Any, open_house: Any, worker_of: Any
) -> AsyncIterator[Any]:
    """A house with its own gate under these rules; jd and mk may sign, and one with two names."""
    signers = keys.folder / f"{name}.signers"
    signers.write_text(keys.line("jd") + keys.line("mk") + keys.line("ab,ba", "of two names"))
    signers.chmod(0o600)
    settings = {"approval": {"allowed_signers": str(signers), **approval}}
    async with own_gate(stack, open_house, name, settings) as own, worker_of(own.house):
        yield own.house


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def signed(keys: Keys, stack: Any, open_house: Any, worker_of: Any) -> AsyncIterator[Any]:
    rule = {"assurance": "signed", "requester_may_approve": False}
    async with proving("signed", rule, keys, stack, open_house, worker_of) as house:
        yield house


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def by_two(keys: Keys, stack: Any, open_house: Any, worker_of: Any) -> AsyncIterator[Any]:
    rule = {"assurance": "signed", "persons": 2}
    async with proving("by-two", rule, keys, stack, open_house, worker_of) as house:
        yield house


def statement(pending: PendingApproval | PendingRestore, **fields: Any) -> Statement:
    known = {
        "workflow_id": pending.binds.workflow_id,
        "first_run_id": pending.binds.first_run_id,
        "sha256": pending.sha256,
        "decision": Verb.APPROVE,
    }
    return Statement(**(known | fields))


async def refusal(handle: Any, verb: str = "approve", **decision: Any) -> str:
    """Why an update does not count."""
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await handle.execute_update("decide", {"decision": verb, **decision})
    error = unwrap(failed.value)
    assert isinstance(error, DecisionRefusedError)
    return error.reason


async def test_an_agent_with_all_rights_at_temporal_approves_nothing_and_a_key_does(
    signed: Any, keys: Keys, machine: Machine
) -> None:
    handle, pending = await rehearsed(signed, machine, STEP, requester="agent")
    other, waiting = await rehearsed(signed, machine, STEP, requester="agent")
    before, sha256 = await machine.counts(), pending.sha256

    # All that a client of Temporal can say.
    await handle.signal("approve")
    await handle.signal("approve", {"sha256": sha256, "operator": "jd"})
    await handle.signal(f"approve-{pending.revision}")
    assert "must be signed" in await refusal(handle, sha256=sha256, operator="jd")
    forged = {
        "a key that nobody knows": keys.sign(statement(pending), "agent"),
        "another namespace": keys.sign(statement(pending), "jd", namespace="git"),
        "another execution": keys.sign(statement(waiting), "jd"),
        "another verb": keys.sign(statement(pending, decision=Verb.RESTORE), "jd"),
        "another revision": keys.sign(statement(pending, sha256="0" * 64), "jd"),
        "no signature": "-----BEGIN SSH SIGNATURE-----",
    }
    for what, signature in forged.items():
        assert await refusal(handle, sha256=sha256, signature=signature), what
    of_jd = keys.sign(statement(pending), "jd")
    assert "key" in await refusal(handle, sha256=sha256, signature=of_jd, operator="mk")
    state = await signed.state(handle)
    assert state.current_stage is Stage.AWAITING_APPROVAL
    assert not any(record.accepted for record in state.decisions)
    assert await machine.since(before) == {}

    # And the one that counts, by the command line.
    approve = _runpermit(signed, "approve", handle.id, "--yes", "--key", str(keys.private("jd")))
    assert approve.returncode == 0, approve.stderr
    result = await signed.result(handle)
    assert await machine.since(before) == {"SR:HCM1:SP": 1}
    (yes,) = [record for record in result.decisions if record.accepted]
    assert (yes.operator, yes.assurance) == ("jd", Assurance.SIGNED)
    ended = (await signed.state(handle)).execution_folder
    assert ended is not None
    notebook = html.unescape(ended.notebook_attempts[-1].notebook_path.read_text())
    assert "by jd (signed)" in notebook
    audit = _runpermit(signed, "audit", handle.id, "--socket", str(signed.stack.gate_socket))
    assert "by jd (signed" in audit.stdout, audit.stderr

    # What was signed for one is nothing for the other.
    assert await refusal(other, sha256=waiting.sha256, signature=of_jd)
    await other.signal("reject")
    await signed.failure(other)
    assert await machine.since(before) == {"SR:HCM1:SP": 1}


async def test_who_asked_does_not_approve_and_must_be_named(
    signed: Any, keys: Keys, machine: Machine
) -> None:
    nameless = await signed.run_to_failure(STEP)
    assert isinstance(nameless, ContainerConfigurationError)
    assert "approval.requester_may_approve" in nameless.message
    handle, pending = await rehearsed(signed, machine, STEP, requester="jd")
    before = await machine.counts()
    own = keys.sign(statement(pending), "jd")
    assert "jd asked for it" in await refusal(handle, sha256=pending.sha256, signature=own)
    execution = (await _client(signed)).handle(handle.id)
    await execution.approve(None, pending.sha256, signature=keys.sign(statement(pending), "mk"))
    await signed.result(handle)
    assert await machine.since(before) == {"SR:HCM1:SP": 1}


async def test_what_was_left_changed_is_put_back_by_a_signature_for_that_alone(
    signed: Any, keys: Keys, machine: Machine
) -> None:
    start = await machine.number("SR:HCM1:SP")
    handle, pending = await rehearsed(signed, machine, TRIPPED, requester="jd")
    before = await machine.counts()
    yes = keys.sign(statement(pending), "mk")
    await machine.set("SR:INTERLOCK:TRIP", 1)
    try:
        await (await _client(signed)).handle(handle.id).approve(None, pending.sha256, signature=yes)
        question = await left_changed(signed, handle)
    finally:
        await machine.set("SR:INTERLOCK:TRIP", 0)
    left = await machine.number("SR:HCM1:SP")
    assert left != start

    # Whoever has all rights at Temporal, and whoever has the worker and with it the gate's socket.
    gate = GateClient(signed.stack.gate_socket)
    put_back = statement(question, decision=Verb.RESTORE)
    other = put_back.model_copy(update={"workflow_id": "another"})
    approve = statement(question)
    for said, signature, why in (
        (put_back, None, "signed"),
        (put_back, keys.sign(put_back, "agent"), "key that may not sign"),
        (put_back, keys.sign(other, "jd"), "not over this very question"),
        (other, keys.sign(other, "jd"), "something else|not over this very question"),
        (approve, keys.sign(approve, "jd"), "something else|not over this very question"),
        (statement(pending), yes, "something else|not over this very question"),
    ):
        told = await refusal(handle, "restore", sha256=question.sha256, signature=signature)
        assert re.search(why, told), told
        with pytest.raises(DecisionRefusedError, match=why):
            await gate.restore(handle.id, None, said, signature)
    assert await machine.since(before) == {"SR:HCM1:SP": 1}
    assert await machine.number("SR:HCM1:SP") == left

    # And the one that counts: also that of whoever asked for the execution, and of one person.
    restore = _runpermit(signed, "restore", handle.id, "--yes", "--key", str(keys.private("jd")))
    assert restore.returncode == 0, restore.stderr
    error = await signed.failure(handle)
    assert await machine.since(before) == {"SR:HCM1:SP": 2}
    assert await machine.number("SR:HCM1:SP") == start
    assert "SR:HCM1:SP: restored" in error.technical_details["restored"][0]
    *_, last = (await signed.state(handle)).decisions
    assert (last.verb, last.accepted, last.operator, last.assurance) == (
        Verb.RESTORE, True, "jd", Assurance.SIGNED
    )  # fmt: skip
    notebook = html.unescape((error.folder_path / "notebook.ipynb").read_text())
    assert "by jd (signed)" in notebook
    audit = _runpermit(signed, "audit", handle.id, "--socket", str(signed.stack.gate_socket))
    assert f"restore begun, asked for by jd (signed {last.key})" in audit.stdout, audit.stdout
    assert audit.stdout.count("RESTORE REFUSED") == 6


async def test_two_persons_and_neither_by_what_the_other_signed(
    by_two: Any, keys: Keys, machine: Machine
) -> None:
    handle, pending = await rehearsed(by_two, machine, STEP)
    before = await machine.counts()
    execution = (await _client(by_two)).handle(handle.id)
    first = keys.sign(statement(pending), "of two names")
    receipt = await execution.approve("ab", pending.sha256, signature=first)
    assert "1 of 2" in receipt.reason
    for name, why in (("ab", "ab has approved it already"), ("ba", "already as ab")):
        with pytest.raises(DecisionRefusedError, match=why):
            await execution.approve(name, pending.sha256, signature=first)
    waits = await execution.pending_approval()
    assert waits is not None
    assert waits.approved_by == ["ab"]
    assert await machine.since(before) == {}
    await execution.approve(None, pending.sha256, signature=keys.sign(statement(pending), "mk"))
    result = await by_two.result(handle)
    assert await machine.since(before) == {"SR:HCM1:SP": 1}
    assert [one.operator for one in result.decisions if one.accepted] == ["ab", "mk"]


async def test_a_plan_that_drifted_needs_new_signatures(
    signed: Any, keys: Keys, machine: Machine, eventually: Any
) -> None:
    handle, pending = await rehearsed(signed, machine, STEP, requester="agent")
    await machine.set("SR:HCM1:SP", await machine.number("SR:HCM1:SP") + 0.3)
    before = await machine.counts()
    old = keys.sign(statement(pending), "jd")
    execution = (await _client(signed)).handle(handle.id)
    await execution.approve(None, pending.sha256, signature=old)

    async def asked_again() -> PendingApproval | None:
        now = (await signed.state(handle)).approval_interrupt_data
        return now if now is not None and now.number > pending.number else None

    again = await eventually(asked_again, within=60)
    assert again.changed
    assert await refusal(handle, sha256=again.sha256, signature=old)
    assert await machine.since(before) == {}
    await execution.approve(None, again.sha256, signature=keys.sign(statement(again), "jd"))
    await signed.result(handle)
    assert await machine.since(before) == {"SR:HCM1:SP": 1}


async def test_where_the_server_names_nobody_no_click_approves(
    keys: Keys, stack: Any, open_house: Any, worker_of: Any, machine: Machine
) -> None:
    rule = {"assurance": "authenticated"}
    async with proving("principals", rule, keys, stack, open_house, worker_of) as house:
        handle, pending = await rehearsed(house, machine, STEP)
        before = await machine.counts()
        execution = (await _client(house)).handle(handle.id)
        with pytest.raises(DecisionRefusedError, match="names no principal"):
            await execution.approve("jd", pending.sha256)
        assert await machine.since(before) == {}
        # A signature is more than a principal.
        signature = keys.sign(statement(pending), "jd")
        await execution.approve(None, pending.sha256, signature=signature)
        await house.result(handle)
        assert await machine.since(before) == {"SR:HCM1:SP": 1}


async def _client(house: Any) -> RunpermitClient:
    return RunpermitClient(house.client)


def _runpermit(house: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = (Path(sys.executable).with_name("runpermit"), *arguments)
    environment = {**os.environ, **house.stack.environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
