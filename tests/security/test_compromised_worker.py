"""A worker under an attacker's control, where approvals must be signed: the IOC sees no put of its.

It has all rights on the gate's control socket, every signature that operators made for something
else, and a key of its own.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from gate.client import Opening, SessionMode
from runpermit.errors import PythonExecutorException
from runpermit.gate_control import GateRefusedError, ask
from runpermit.models import Assurance, Isolation, Permit, Statement, Verb
from runpermit.models.permit import Yes
from tests.gate.conftest import Gate, Ioc, gate_for, serving_ioc
from tests.gate.giving_permits import planned
from tests.signing import Keys, statement_of

pytestmark = pytest.mark.parts
CHANNEL = "T:AO"
WANTED = planned([(CHANNEL, 5.0)])
HARMLESS = planned([("T:AO2", 1.0)])
RULE = {"assurance": "signed", "allowed_signers": "allowed_signers"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def machine() -> Iterator[Ioc]:
    """One whose counters of puts are at 0."""
    with serving_ioc() as ioc:
        yield ioc


@pytest.fixture
async def gate(machine: Ioc, keys: Keys) -> AsyncIterator[Gate]:
    with gate_for(machine, enforced=True, approval=RULE) as gate:
        file = gate.folder / "allowed_signers"
        file.write_text(keys.line("operator"))
        file.chmod(0o644)
        yield gate


async def puts(machine: Ioc) -> dict[str, Any]:
    return {name: await machine.value(f"{name}:PUTS") for name in (CHANNEL, "T:AO2")}


async def tries(gate: Gate, permit: Permit | None, mode: str = "apply", **about: Any) -> None:
    """Open a session and put the value wanted, whatever that is answered with."""
    with suppress(PythonExecutorException):
        execution = about.pop("execution", "e")
        async with gate.session(mode, execution, permit=permit, **about) as kernel:
            client = await kernel.circuit()
            await client.put_number(await client.open(CHANNEL), 5.0)


def given(permit: Permit, *approvals: Yes) -> Permit:
    return permit.model_copy(update={"approvals": list(approvals)})


async def test_no_session_that_writes_opens_for_it(gate: Gate, machine: Ioc, keys: Keys) -> None:
    permit, other = await gate.permit(WANTED), await gate.permit(HARMLESS)
    signed = keys.sign(statement_of(other), "operator")
    another = Statement(
        workflow_id="e", first_run_id="r", sha256=permit.revision.sha256, decision=Verb.REJECT
    )
    told = Yes(operator="operator", assurance=Assurance.SIGNED)
    forged = (
        permit,
        given(permit, told),
        given(permit, told, told),
        given(permit, Yes(operator="operator", signature=signed)),
        given(permit, Yes(signature=signed), told),
        given(permit, Yes(signature=keys.sign(another, "operator"))),
        given(permit, Yes(signature=keys.sign(statement_of(permit, Verb.RESTORE), "operator"))),
        given(permit, Yes(signature=keys.sign(statement_of(permit), "operator", "file"))),
        keys.approved(permit, "attacker"),
        keys.approved(permit, "attacker", operators=("operator",)),
        keys.approved(permit, "operator", workflow_id="e2"),
        keys.approved(permit, "operator", first_run_id="r2"),
        # What was approved, with something else in it.
        keys.approved(other, "operator").model_copy(update={"revision": permit.revision}),
        keys.approved(permit, "attacker").model_copy(update={"issue": 2}),
        given(permit.model_copy(update={"issue": 2}), told),
    )
    for one in forged:
        await tries(gate, one)
    moved = permit.revision.model_copy(update={"workflow_id": "e2"})
    await tries(gate, keys.approved(permit, "operator").model_copy(update={"revision": moved}),
                execution="e2")  # fmt: skip
    await tries(gate, None)
    for mode in ("read_only", "rehearse"):
        await tries(gate, None, mode)
        await tries(gate, keys.approved(permit, "attacker"), mode)
    assert await puts(machine) == {CHANNEL: 0, "T:AO2": 0}
    assert gate.journal("permit_consumed") == []
    assert [r for r in gate.journal("session_opened") if r["mode"] == "apply"] == []
    # It was not the gate that was broken.
    await tries(gate, keys.approved(permit, "operator"))
    assert await puts(machine) == {CHANNEL: 1, "T:AO2": 0}


async def test_nor_by_words_that_no_client_of_ours_says(
    gate: Gate, machine: Ioc, keys: Keys
) -> None:
    permit = await gate.permit(WANTED)
    about = Opening(
        execution="e", run_id="r", attempt=1, mode=SessionMode.APPLY, isolation=Isolation.FULL,
        permit=keys.approved(permit, "attacker"),
    ).model_dump(mode="json")  # fmt: skip
    yes = about["permit"]["approvals"][0]
    for approvals in (
        [], None, [{}], [yes] * 3, [yes | {"assurance": "verified"}], [yes | {"key": "SHA256:x"}],
        [yes | {"signature": "x" * 100_000}], [yes | {"signature": ["x"]}],
        [yes | {"operator": "operator\noperator"}], [yes | {"operator": "-r/dev/null"}],
    ):  # fmt: skip
        session = about | {"permit": about["permit"] | {"approvals": approvals}}
        await _says(gate, {"do": "open", "session": session})
    rule = {"rule": {"assurance": "claimed"}, "assurance": "claimed", "signer": "operator"}
    await _says(gate, {"do": "open", "session": about, **rule})
    await _says(gate, {"do": "open", "session": about | rule})
    for verb in ("approve", "sign", "settings", "signer"):
        await _says(gate, {"do": verb, "execution": "e", "operator": "operator", **rule})
    assert await puts(machine) == {CHANNEL: 0, "T:AO2": 0}
    assert gate.journal("permit_consumed") == []
    status = await asyncio.to_thread(ask, gate.control, {"do": "status"})
    assert (status["approval"]["assurance"], status["approval"]["problem"]) == ("signed", None)


async def _says(gate: Gate, request: dict[str, Any]) -> None:
    """Say it with a listening socket beside it; it must be refused."""
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as control:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        control.connect(str(gate.control))
        socket.send_fds(control, [json.dumps(request).encode() + b"\n"], [listener.fileno()])
        lines, answer = control.makefile(), "\n"
        while answer == "\n":
            answer = await asyncio.to_thread(lines.readline)
        assert "error" in json.loads(answer or '{"error": "hung up"}'), request


async def test_it_puts_nothing_back_either(gate: Gate, machine: Ioc, keys: Keys) -> None:
    approved = keys.approved(await gate.permit(WANTED), "operator")
    (yes,) = approved.approvals
    said = statement_of(approved, Verb.RESTORE)
    elsewhere = said.model_copy(update={"workflow_id": "e2"})
    earlier = said.model_copy(update={"first_run_id": "r0"})
    forged = (
        (None, None),
        (said, None),
        (None, yes.signature),
        (said, yes.signature),
        (statement_of(approved), yes.signature),
        (said, keys.sign(said, "attacker")),
        (elsewhere, keys.sign(elsewhere, "operator")),
        (said, keys.sign(elsewhere, "operator")),
        (earlier, keys.sign(earlier, "operator")),
        (said, keys.sign(said, "operator", "git")),
    )
    for name in ("e", "e2"):  # before anything was written
        for statement, signature in forged:
            with pytest.raises(PythonExecutorException):
                await gate.client.restore(name, "operator", statement, signature)
    await tries(gate, approved)
    assert await puts(machine) == {CHANNEL: 1, "T:AO2": 0}
    for statement, signature in forged:
        for operator in ("operator", None):
            with pytest.raises(PythonExecutorException):
                await gate.client.restore("e", operator, statement, signature)
    raw = {"do": "restore", "execution": "e", "operator": "operator", "signature": "x"}
    for more in ({}, {"statement": {}}, {"statement": "x"}, {"assurance": "claimed"}):
        with pytest.raises(GateRefusedError):
            await asyncio.to_thread(ask, gate.control, raw | more)
    assert await puts(machine) == {CHANNEL: 1, "T:AO2": 0}
    assert gate.journal("restore_started") == []
    report = await gate.client.restore("e", None, said, keys.sign(said, "operator"))
    assert (report.complete, report.operator) == (True, "operator")
    assert await puts(machine) == {CHANNEL: 2, "T:AO2": 0}
