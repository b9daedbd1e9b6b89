"""When a permit opens a session, and when not: what is refused before has used nothing."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runpermit.errors import (
    ContainerConfigurationError,
    PlanOutdatedError,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.gate_control import ask
from runpermit.limits import Condition
from runpermit.models import MachineState, Permit, Plan, PlanKind
from tests.gate.giving_permits import planned
from tests.gate.sessions.test_session import exhaust

pytestmark = pytest.mark.parts
ONE = planned([("T:AO", 1.0)])


@pytest.fixture(autouse=True)
async def at_rest(enforcing: Any, machine: Any) -> None:
    enforcing.set_limits({"T:AO": {}, "T:AO2": {}})
    for name in ("T:AO", "T:AO2"):
        await machine.set(name, 0)


async def refused(gate: Any, permit: Permit, kind: type[Exception], says: str, **more: Any) -> Any:
    """The error by which a permit is refused. Nothing was used or opened by it."""
    used = _used(gate)
    with pytest.raises(kind, match=says) as error:
        async with gate.session(permit=permit, **more):
            pass
    await asyncio.sleep(0.05)
    assert _used(gate) == used
    assert type(error.value) is kind
    assert error.value.technical_details["verdict"] == "not_opened"  # type: ignore[attr-defined]
    return error.value


def _used(gate: Any) -> list[str]:
    events = ("permit_consumed", "permit_void", "session_opened")
    return [r["event"] for r in gate.journal() if r["event"] in events]


async def opens(gate: Any, permit: Permit, **more: Any) -> bool:
    async with gate.session(permit=permit, **more) as kernel:
        client = await kernel.circuit()
        answer = await client.put_number(await client.open("T:AO"), 1)
        await kernel.session.close()
        return bool(answer.status == 1)


async def test_a_permit_is_used_once(enforcing: Any, machine: Any) -> None:
    permit = await enforcing.permit(ONE)
    assert await opens(enforcing, permit)
    puts = await machine.value("T:AO:PUTS")
    consumed = await enforcing.journalled("permit_consumed", permit=permit.id)
    assert consumed == consumed | {
        "execution": "e", "run_id": "r", "attempt": 1, "revision": permit.revision.sha256,
        "number": 1, "issue": 1, "channels": {"T:AO": ""},
        "approvals": [{"operator": "jd", "assurance": "claimed"}],
    }  # fmt: skip
    says = rf"used at \S+, in session {consumed['session']}: nothing is written again"
    await refused(enforcing, permit, WorkflowError, says)
    assert await machine.value("T:AO:PUTS") == puts


async def test_not_even_by_two_at_the_same_time(enforcing: Any, machine: Any) -> None:
    permit = await enforcing.permit(ONE)
    before = await machine.value("T:AO:PUTS")
    done = await asyncio.gather(
        *(opens(enforcing, permit) for _ in range(5)), return_exceptions=True
    )
    assert sorted(str(type(one)) for one in done) == sorted([str(bool), *[str(WorkflowError)] * 4])
    assert await machine.value("T:AO:PUTS") == before + 1
    consumed = [r for r in enforcing.journal("permit_consumed") if r["permit"] == permit.id]
    assert len(consumed) == 1


async def test_nor_after_the_gate_was_killed_and_started_again(
    machine: Any, start_gate: Any
) -> None:
    with start_gate(machine, serve=False, enforced=True) as gate:
        with gate.serving():
            permit = await gate.permit(ONE)
            async with gate.session(permit=permit):
                gate.running.kill()
        with gate.serving():
            await refused(gate, permit, WorkflowError, "This permit was used at")


async def test_a_permit_whose_verdict_was_asked_for_before_it_came_is_void(
    machine: Any, start_gate: Any
) -> None:
    with start_gate(machine, serve=False, enforced=True) as gate:
        with gate.serving():
            permit = await gate.permit(ONE)
            for _ in range(2):
                said = await gate.client.verdict(permit.id, "e")
                assert (said.verdict, said.forwarded, said.session) == ("not_opened", 0, "")
            assert len(gate.journal("permit_void")) == 1
            await refused(gate, permit, WorkflowError, "This permit is void since")
            gate.running.kill()
        with gate.serving():
            await refused(gate, permit, WorkflowError, "This permit is void since")


async def test_while_writes_are_inhibited_a_permit_opens_nothing_and_is_kept(
    enforcing: Any,
) -> None:
    permit = await enforcing.permit(ONE)
    turn = {"do": "inhibit", "operator": "mk", "reason": "vacuum"}
    await asyncio.to_thread(ask, enforcing.control, turn | {"on": True})
    try:
        says = "inhibited by mk since .*: vacuum"
        error = await refused(enforcing, permit, WorkflowError, says)
        assert "runpermit inhibit off" in error.message
    finally:
        await asyncio.to_thread(ask, enforcing.control, turn | {"on": False})
    assert await opens(enforcing, permit)


@pytest.mark.parametrize(
    ("fields", "kind", "says"),
    [
        ({"decided_at": datetime.now(UTC) - timedelta(hours=1)}, PlanOutdatedError,
         r"3\d+ s old, and is good for 600 s \(approval.permit_max_age\)"),
        ({"decided_at": datetime.now(UTC) + timedelta(hours=1)}, PlanOutdatedError,
         "ahead of the gate's clock"),
        ({"decided_at": datetime.now(UTC).replace(tzinfo=None)}, WorkflowError, "say when it"),
        ({"issue": 2}, PlanOutdatedError, "does not know its first issue"),
        ({"issue": 3}, PlanOutdatedError, "no issue 3"),
        ({"issue": 0}, PlanOutdatedError, "no issue 0"),
    ],
)  # fmt: skip
async def test_age_and_issue_of_a_permit_are_bounded(
    enforcing: Any, fields: dict[str, Any], kind: type[Exception], says: str
) -> None:
    permit = await enforcing.permit(ONE, **fields)
    error = await refused(enforcing, permit, kind, says)
    assert kind is WorkflowError or error.changed


async def test_a_permit_is_one_executions(enforcing: Any) -> None:
    permit = await enforcing.permit(ONE, "another")
    await refused(enforcing, permit, WorkflowError, "another execution's")
    await opens(enforcing, permit, execution="another")


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (Plan(), "no writes"),
        (ONE.model_copy(update={"kind": PlanKind.INCOMPLETE}), "incomplete"),
    ],
)
async def test_a_plan_that_nobody_can_approve_opens_nothing(
    enforcing: Any, plan: Plan, says: str
) -> None:
    await refused(enforcing, await enforcing.permit(plan), WorkflowError, says)


async def test_other_limits_than_those_approved_are_told(enforcing: Any) -> None:
    permit = await enforcing.permit(ONE)
    enforcing.set_limits({"T:AO": {"max_value": 5}, "T:AO2": {}})
    error = await refused(enforcing, permit, PlanOutdatedError, "limits database is not the one")
    assert len(error.changed) == 1
    enforcing.set_limits("{")
    await refused(enforcing, permit, PlanOutdatedError, "limits database is not the one")
    enforcing.set_limits({"T:AO": {}, "T:AO2": {}})
    assert await opens(enforcing, permit)


def state(value: str, *, holds: bool, channel: str = "T:MODE") -> MachineState:
    return MachineState(channel=channel, op="==", value=value, reads="", holds=holds)


@pytest.mark.parametrize(
    ("then", "says"),
    [
        (state("User", holds=True), r"T:MODE == 'User' held when .*; T:MODE reads 1 \(Injection\)"),
        (state("Injection", holds=False), "T:MODE == 'Injection' did not hold when"),
        (state("User", holds=False, channel="T:NO:SUCH"), "can't be judged"),
        (state("User", holds=False, channel="T:NOREAD"), "can't be judged"),
        (state("", holds=True, channel="no name"), "no condition that can be judged"),
    ],
)
async def test_the_machine_must_be_in_the_plans_state(
    enforcing: Any, machine: Any, then: MachineState, says: str
) -> None:
    permit = await enforcing.permit(planned([("T:AO", 1.0)], machine=[then]))
    await machine.set("T:MODE", 1)
    await refused(enforcing, permit, PlanOutdatedError, says)


async def test_a_state_that_is_as_it_was_opens_also_where_it_does_not_hold(
    enforcing: Any, machine: Any
) -> None:
    await machine.set("T:MODE", 2)
    then = [state("User", holds=True), state("Injection", holds=False)]
    assert await opens(enforcing, await enforcing.permit(planned([("T:AO", 1.0)], machine=then)))


async def test_conditions_of_planned_channels_must_hold(enforcing: Any, machine: Any) -> None:
    conditions = [{"channel": "T:AI", "op": "<", "value": 5}]
    enforcing.set_limits({"T:AO": {"conditions": conditions}})
    await machine.set("T:AI", 6)
    permit = await enforcing.permit(ONE)
    await refused(enforcing, permit, PlanOutdatedError, "T:AI < 5 does not hold: it reads 6")
    await machine.set("T:AI", 4)
    assert await opens(enforcing, permit)


async def test_guards_must_hold(enforcing: Any, machine: Any) -> None:
    await machine.set("T:AI", 6)
    guards = [Condition.model_validate({"channel": "T:AI", "op": "<", "value": 5})]
    permit = await enforcing.permit(ONE)
    await refused(enforcing, permit, PlanOutdatedError, "guard T:AI < 5", guards=guards)
    await machine.set("T:AI", 4)
    assert await opens(enforcing, permit, guards=guards)


async def test_a_second_issue_needs_the_proof_that_the_first_wrote_nothing(enforcing: Any) -> None:
    plan = planned([("T:AO", 1.0)], tolerance=5)
    never, unused, used = [await enforcing.permit(plan) for _ in range(3)]
    await enforcing.client.verdict(never.id, "e")
    assert await opens(enforcing, never.model_copy(update={"issue": 2}))
    second = unused.model_copy(update={"issue": 2})
    async with enforcing.session(permit=unused) as kernel:
        await refused(enforcing, second, PlanOutdatedError, "Its first issue is in use")
        await kernel.session.close()
    assert await opens(enforcing, second)
    assert await opens(enforcing, used)
    second = used.model_copy(update={"issue": 2})
    await refused(enforcing, second, PlanOutdatedError, "says of its first issue: partial")


async def test_a_stopped_execution_writes_no_more_also_after_a_restart(
    machine: Any, start_gate: Any
) -> None:
    with start_gate(machine, serve=False, enforced=True) as gate:
        with gate.serving():
            permit = await gate.permit(ONE)
            assert await gate.client.stop("e", "jd", "smoke") == []
            await refused(gate, permit, WorkflowError, "was stopped at .* by jd: smoke")
            assert await opens(gate, await gate.permit(ONE, "f"), execution="f")
            gate.running.kill()
        with gate.serving():
            error = await refused(gate, permit, WorkflowError, "was stopped at .* by jd: smoke")
            assert error.stage == "stopped"


async def test_a_later_execution_of_the_same_id_is_not_stopped(
    machine: Any, start_gate: Any
) -> None:
    with start_gate(machine, serve=False, enforced=True) as gate:
        with gate.serving():
            await gate.client.stop("e", "jd", "smoke", "an-earlier-one")
            assert await opens(gate, await gate.permit(ONE))
            await gate.client.stop("e", "jd", "beam lost", "r")  # as tests give permits
            gate.running.kill()
        with gate.serving():
            await refused(gate, await gate.permit(ONE), WorkflowError, "by jd: beam lost")


async def test_who_writes_a_record_holds_it_and_the_next_one_is_told(
    machine: Any, start_gate: Any
) -> None:
    with start_gate(machine, enforced=True, gate={"claim_wait": 0.3}) as gate:
        second = await gate.permit(planned([("T:AO2", 1.0), ("T:AO.DRVH", 1.0)]), "second")
        async with gate.session(execution="first", plan=ONE):
            error = await refused(
                gate, second, ServiceUnavailableError,
                r"T:AO is being written by the execution first, .* 0\.3 s \(gate.claim_wait\)",
                execution="second",
            )  # fmt: skip
            assert error.technical_details["holder"] == "first"
            async with gate.session(execution="third", plan=planned([("T:AO2", 1.0)])):
                pass
        async with gate.session(execution="second", permit=second):
            pass


async def test_the_next_one_waits_its_turn(machine: Any, start_gate: Any) -> None:
    """Longer than the gate may be silent: it says that it is at work."""
    with start_gate(machine, enforced=True, gate={"claim_wait": 20}) as gate:
        permit = await gate.permit(ONE, "second")
        async with gate.session(execution="first", plan=ONE) as first:
            waiting = asyncio.create_task(opens(gate, permit, execution="second"))
            await asyncio.sleep(5.5)
            assert not waiting.done()
            assert gate.journal("permit_consumed")[-1]["execution"] == "first"
            await first.session.close()
        assert await asyncio.wait_for(waiting, 30)


@pytest.mark.parametrize("change", ["stopped", "limits", "inhibited", "void"])
async def test_what_changes_while_it_waits_counts(
    machine: Any, start_gate: Any, change: str
) -> None:
    with start_gate(machine, enforced=True, gate={"claim_wait": 20}) as gate:
        permit = await gate.permit(ONE, "second")
        async with gate.session(execution="first", plan=ONE):
            waiting = asyncio.create_task(opens(gate, permit, execution="second"))
            await asyncio.sleep(0.2)
            if change == "stopped":
                await gate.client.stop(None, "jd", "")
            elif change == "limits":
                await asyncio.to_thread(gate.set_limits, {"T:AO": {"max_value": 9}})
            elif change == "inhibited":
                await asyncio.to_thread(ask, gate.control, {"do": "inhibit", "on": True})
            else:
                await gate.client.verdict(permit.id, "second")
        with pytest.raises((WorkflowError, PlanOutdatedError)):
            await asyncio.wait_for(waiting, 30)
        assert len(gate.journal("permit_consumed")) == 1


async def test_who_gives_up_waiting_leaves_nothing_behind(machine: Any, start_gate: Any) -> None:
    with start_gate(machine, enforced=True, gate={"claim_wait": 20}) as gate:
        permit = await gate.permit(ONE, "second")
        async with gate.session(execution="first", plan=ONE):
            waiting = asyncio.create_task(opens(gate, permit, execution="second"))
            await asyncio.sleep(0.2)
            waiting.cancel()
            await asyncio.wait({waiting})
            await asyncio.sleep(0.1)
        assert len(gate.journal("permit_consumed")) == 1
        assert await opens(gate, permit, execution="second")


async def test_without_a_permit_nothing_opens_for_writing_and_reading_takes_none(
    enforcing: Any,
) -> None:
    with pytest.raises(ContainerConfigurationError, match="needs a permit"):
        async with enforcing.session(permit=None):
            pass
    for mode in ("read_only", "rehearse"):
        with pytest.raises(ContainerConfigurationError, match="takes no permit"):
            async with enforcing.session(mode, permit=await enforcing.permit(ONE)):
                pass


async def test_no_permit_is_used_without_a_journal(machine: Any, start_gate: Any) -> None:
    with start_gate(machine, enforced=True) as gate:
        permit = await gate.permit(ONE)
        exhaust(gate)
        before = await machine.value("T:AO:PUTS")
        with pytest.raises(ServiceUnavailableError, match="journal"):
            await opens(gate, permit)
        with pytest.raises(ServiceUnavailableError, match="journal"):
            await gate.client.verdict((await gate.permit(ONE)).id, "e")
        assert await machine.value("T:AO:PUTS") == before


async def test_a_plan_of_more_than_a_record_holds_uses_nothing(enforcing: Any) -> None:
    plan = planned([("T:AO", 1.0)], restorable=False, why_not="x" * 1024 * 1024)
    permit = await enforcing.permit(plan)
    with pytest.raises(ServiceUnavailableError, match="Plan fewer channels"):
        await opens(enforcing, permit)
    said = await enforcing.client.verdict(permit.id, "e")
    assert said.verdict == "not_opened"
    events = [r["event"] for r in enforcing.journal() if r.get("permit") == permit.id]
    assert set(events) <= {"verdict"}


def test_the_files_that_do_not_tell_of_permits_keep_the_gate_from_starting(
    start_gate: Any,
) -> None:
    with start_gate(serve=False) as gate:
        for _ in range(2):
            with gate.serving():
                pass
        (file,) = gate.journal_folder.glob("*.jsonl")
        file.write_bytes(b'{"event": "permit_consumed"}\n' + file.read_bytes())
        with pytest.raises(AssertionError, match="does not tell which permits"), gate.serving():
            pass
