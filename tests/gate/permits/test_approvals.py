"""Whose yes opens a session or puts back, by the gate's own settings: real keys, gate and IOC."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from runpermit.errors import DecisionRefusedError
from runpermit.gate_control import ask
from runpermit.models import Assurance, Permit, Statement, Verb
from runpermit.models.permit import Yes
from tests.gate.conftest import gate_for
from tests.gate.giving_permits import planned
from tests.gate.permits.test_opening import opens, refused
from tests.signing import Keys, run, statement_of

pytestmark = pytest.mark.parts
RULE: dict[str, Any] = {"assurance": "signed", "allowed_signers": "allowed_signers"}
ONE = planned([("T:AO", 1.0)])
NOT_SIGNED = r'approval\.assurance = "signed" in the gate\'s settings\. Nothing was written'
NOT_OVER_THIS = "not over this very question"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


def allow(gate: Any, lines: str) -> Path:
    file: Path = gate.folder / "allowed_signers"
    file.write_text(lines)
    file.chmod(0o644)
    return file


@pytest.fixture(scope="module")
def module_gate(machine: Any) -> Iterator[Any]:
    with _signed(machine) as gate:
        yield gate


@pytest.fixture(autouse=True)
async def at_rest(machine: Any) -> None:
    await machine.set("T:AO", 0)


@pytest.fixture
def gate(module_gate: Any, keys: Keys) -> Any:
    """A gate by which Ann may sign."""
    allow(module_gate, keys.line("ann"))
    return module_gate


def _signed(
    machine: Any, assurance: str = "signed", **approval: Any
) -> AbstractContextManager[Any]:
    return gate_for(machine, enforced=True, approval=RULE | {"assurance": assurance} | approval)


async def test_a_signed_permit_opens_and_the_journal_names_who_signed(
    gate: Any, machine: Any, keys: Keys
) -> None:
    permit = keys.approved(await gate.permit(ONE), "ann")
    puts = await machine.value("T:AO:PUTS")
    assert await opens(gate, permit)
    assert await machine.value("T:AO:PUTS") == puts + 1
    consumed = await gate.journalled("permit_consumed", permit=permit.id)
    (yes,) = consumed["approvals"]
    assert (yes["operator"], yes["assurance"], yes["key"][:7]) == ("ann", "signed", "SHA256:")
    assert consumed["first_run_id"] == "r"


Doubt = Callable[[Keys, Permit], Permit]


def _said(**said: str) -> Doubt:
    return lambda keys, permit: keys.approved(permit, "ann", **said)


def _other_purpose(keys: Keys, permit: Permit) -> Permit:
    signature = keys.sign(statement_of(permit), "ann", namespace="git")
    return permit.model_copy(update={"approvals": [Yes(signature=signature)]})


def _told(keys: Keys, permit: Permit) -> Permit:
    del keys
    approvals = [Yes(operator="ann", assurance=Assurance.SIGNED)]
    return permit.model_copy(update={"approvals": approvals})


@pytest.mark.parametrize(
    ("doubt", "says"),
    [
        (lambda _, permit: permit, NOT_SIGNED),
        (_told, NOT_SIGNED),
        (lambda keys, permit: keys.approved(permit, "eve"), "by a key that may not sign here now"),
        (lambda keys, permit: keys.approved(permit, "ann", operators=("bob",)), "not bob's"),
        (_other_purpose, NOT_OVER_THIS),
        (_said(sha256="0" * 64), NOT_OVER_THIS),
        (_said(workflow_id="other"), NOT_OVER_THIS),
        (_said(first_run_id="before"), NOT_OVER_THIS),
        (_said(decision=Verb.RESTORE), NOT_OVER_THIS),
        (_said(decision=Verb.REJECT), NOT_OVER_THIS),
    ],
    ids=["unsigned", "told", "key", "name", "purpose", "revision", "execution", "run", "restore",
         "reject"],
)  # fmt: skip
async def test_what_does_not_count_opens_nothing_and_uses_nothing(
    gate: Any, machine: Any, keys: Keys, doubt: Doubt, says: str
) -> None:
    permit = await gate.permit(ONE)
    puts = await machine.value("T:AO:PUTS")
    await refused(gate, doubt(keys, permit), DecisionRefusedError, says)
    told = await gate.journalled("approval_refused", revision=permit.revision.sha256)
    assert told["execution"] == "e"
    assert await machine.value("T:AO:PUTS") == puts
    assert await opens(gate, keys.approved(permit, "ann"))


async def test_the_file_counts_as_it_is_now(gate: Any, machine: Any, keys: Keys) -> None:
    permit = keys.approved(await gate.permit(ONE), "ann")
    puts = await machine.value("T:AO:PUTS")

    async def nobody_signs(says: str) -> None:
        await refused(gate, permit, DecisionRefusedError, says)

    allow(gate, keys.line("ann", options='valid-before="20200101"'))
    await nobody_signs("The signature is")
    file = allow(gate, "broken\n")
    await nobody_signs("may not sign here now")
    allow(gate, keys.line("ann"))
    file.chmod(0o666)
    await nobody_signs("can be changed by others")
    status = await asyncio.to_thread(ask, gate.control, {"do": "status"})
    assert "can be changed by others" in status["approval"]["problem"]
    file.unlink()
    await nobody_signs("can't be read, so nobody can sign")
    assert await machine.value("T:AO:PUTS") == puts
    allow(gate, keys.line("ann"))
    status = await asyncio.to_thread(ask, gate.control, {"do": "status"})
    assert status["approval"] == {
        "assurance": "signed", "persons": 1, "approvers": [], "problem": None
    }  # fmt: skip
    assert await opens(gate, permit)


async def test_a_key_that_is_taken_back_while_its_permit_waits_opens_nothing(
    gate: Any, keys: Keys
) -> None:
    first = keys.approved(await gate.permit(ONE, "first"), "ann")
    second = keys.approved(await gate.permit(ONE, "second"), "ann")
    async with gate.session(execution="first", permit=first):
        waiting = asyncio.create_task(opens(gate, second, execution="second"))
        await asyncio.sleep(0.5)  # past the first look at it
        allow(gate, "")
    with pytest.raises(DecisionRefusedError, match="may not sign here now"):
        await waiting
    assert [r for r in gate.journal("permit_consumed") if r["permit"] == second.id] == []


async def test_two_persons_are_two_names_with_two_keys(machine: Any, keys: Keys) -> None:
    lines = keys.line("ann") + keys.line("ann", "ann2") + keys.line("bob")
    lines += keys.line("cyd,dan", "cyd") + keys.line("eve")
    with _signed(machine, persons=2, approvers=["ann", "bob", "cyd", "dan"]) as gate:
        allow(gate, lines)
        permit = await gate.permit(ONE)
        few = "has the approval of 1, by different names and keys, and needs 2"
        for one in (
            keys.approved(permit, "ann"),
            keys.approved(permit, "ann", "ann"),
            keys.approved(permit, "ann", "ann2"),
            keys.approved(permit, "cyd", "cyd", operators=("cyd", "dan")),
        ):
            await refused(gate, one, DecisionRefusedError, few)
        foreign = keys.approved(permit, "ann", "eve")
        await refused(gate, foreign, DecisionRefusedError, "eve may not say approve here")
        half = keys.approved(permit, "ann", "bob")
        half.approvals[1] = Yes(operator="bob", assurance=Assurance.SIGNED)
        await refused(gate, half, DecisionRefusedError, NOT_SIGNED)
        assert await opens(gate, keys.approved(permit, "ann", "bob"))


async def test_below_signed_the_workers_word_is_taken_and_said_to_be_that(
    machine: Any, keys: Keys
) -> None:
    with _signed(machine, "authenticated", approvers=["ann"]) as gate:
        allow(gate, keys.line("ann"))
        permit = await gate.permit(ONE)

        def said(operator: str, assurance: Assurance) -> Permit:
            yes = Yes(operator=operator, assurance=assurance)
            return permit.model_copy(update={"approvals": [yes]})

        claimed = said("ann", Assurance.CLAIMED)
        await refused(gate, claimed, DecisionRefusedError, "has the approval of 0")
        other = said("bob", Assurance.AUTHENTICATED)
        await refused(gate, other, DecisionRefusedError, "bob may not say approve here")
        wrong = keys.approved(permit, "ann", sha256="0" * 64)
        await refused(gate, wrong, DecisionRefusedError, NOT_OVER_THIS)
        assert await opens(gate, said("ann", Assurance.AUTHENTICATED))
        (yes,) = (await gate.journalled("permit_consumed"))["approvals"]
        assert yes == {"operator": "ann", "assurance": "authenticated, as the worker says"}


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("persons = 2", 'approval.persons needs approval.assurance = "authenticated"'),
        ("", "approval.assurance is not set: with writes enabled, choose"),
    ],
)
def test_a_rule_that_was_not_chosen_or_means_nothing_starts_no_gate(
    start_gate: Any, machine: Any, rule: str, says: str
) -> None:
    with start_gate(machine, serve=False) as gate:
        settings = gate.folder / "runpermit.toml"
        chosen = 'assurance = "claimed"'
        text = settings.read_text()
        assert chosen in text
        settings.write_text(text.replace(chosen, f"{chosen}\n{rule}" if rule else ""))
        ended = subprocess.run(
            [sys.executable, "-m", "gate", "--config", str(gate.folder / "runpermit.toml")],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert ended.returncode == 2
    assert says in ended.stderr


def restoring(**said: str) -> Statement:
    fields = {"workflow_id": "e", "first_run_id": "r", "sha256": "a" * 64, "decision": "restore"}
    return Statement.model_validate(fields | said)


@pytest.fixture
async def changed(gate: Any, keys: Keys) -> Any:
    """A gate behind which an execution left T:AO at 1."""
    assert await opens(gate, keys.approved(await gate.permit(ONE), "ann"))
    return gate


async def test_who_signs_has_it_put_back(changed: Any, machine: Any, keys: Keys) -> None:
    said = restoring()
    report = await changed.client.restore("e", None, said, keys.sign(said, "ann"))
    assert (report.complete, report.operator) == (True, "ann")
    assert await machine.value("T:AO") == 0
    started = await changed.journalled("restore_started")
    assert (started["operator"], started["assurance"]) == ("ann", "signed")


@pytest.mark.parametrize(
    ("said", "key", "says"),
    [
        (None, "ann", "The restore is not signed"),
        (restoring(), None, "The restore is not signed"),
        (restoring(), "eve", "may not sign here now"),
        (restoring(workflow_id="other"), "ann", "for something else than putting back"),
        (restoring(first_run_id="before"), "ann", "for something else than putting back"),
        (restoring(decision="approve"), "ann", "for something else than putting back"),
    ],
    ids=["nothing", "unsigned", "key", "execution", "run", "approve"],
)
async def test_what_does_not_count_puts_nothing_back(
    changed: Any, machine: Any, keys: Keys, said: Statement | None, key: str | None, says: str
) -> None:
    signature = keys.sign(said or restoring(), key) if key else None
    puts = await machine.value("T:AO:PUTS")
    with pytest.raises(DecisionRefusedError, match=says) as error:
        await changed.client.restore("e", "ann", said, signature)
    assert await machine.value("T:AO:PUTS") == puts
    reason = error.value.message.removeprefix("The gate refused: ")
    assert await changed.journalled("restore_refused", reason=reason, operator="ann")


async def test_what_was_left_as_it_is_stays_whoever_had_signed_before(
    changed: Any, machine: Any, keys: Keys
) -> None:
    said = restoring()
    signature = keys.sign(said, "ann")
    await changed.client.leave("e", "ann")
    with pytest.raises(DecisionRefusedError, match="said that the machine stays as it is"):
        await changed.client.restore("e", None, said, signature)
    assert await machine.value("T:AO") == 1


async def test_once_it_is_back_a_signature_that_was_kept_puts_nothing_back(
    changed: Any, machine: Any, keys: Keys
) -> None:
    said = restoring()
    signature = keys.sign(said, "ann")
    assert (await changed.client.restore("e", None, said, signature)).complete
    await machine.set("T:AO", 1)  # as it was left, but by somebody else
    (channel,) = (await changed.client.restore("e", None, said, signature)).channels
    assert channel.outcome == "another_hand"
    assert await machine.value("T:AO") == 1


async def test_a_gate_that_is_started_again_knows_what_was_left_and_what_was_written_since(
    machine: Any, keys: Keys
) -> None:
    said = restoring()
    signature = keys.sign(said, "ann")
    with gate_for(machine, serve=False, enforced=True, approval=RULE) as gate:
        allow(gate, keys.line("ann"))
        with gate.serving():
            assert await opens(gate, keys.approved(await gate.permit(ONE), "ann"))
            await gate.client.leave("e", "ann")
        await machine.set("T:AO", 0)
        with gate.serving():
            with pytest.raises(DecisionRefusedError, match="said that the machine stays as it is"):
                await gate.client.restore("e", None, said, signature)
            assert await opens(gate, keys.approved(await gate.permit(ONE), "ann"))
        with gate.serving():
            assert (await gate.client.restore("e", None, said, signature)).complete
    assert await machine.value("T:AO") == 0


async def test_the_gate_tells_who_signed(gate: Any, keys: Keys) -> None:
    said = restoring()
    signer = await gate.client.signer(said, keys.sign(said, "ann"))
    fingerprint = run("ssh-keygen", "-l", "-f", str(keys.private("ann"))).split()[1]
    assert (signer.name, signer.key) == ("ann", fingerprint)
    with pytest.raises(DecisionRefusedError, match="may not sign here now") as error:
        await gate.client.signer(said, keys.sign(said, "eve"))
    assert error.value.reason == "its key may not sign"
