"""What is written under a permit: the plan, nothing beside it, and nothing after a refusal."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from gate.channel_access.values import Dbr, encode
from gate.permits.enforcement import Enforcement
from runpermit.limits import Condition, LimitsDatabase, LimitsValidator, ViolationType
from runpermit.models import Plan, PlanKind, PlannedChannel, PlannedWrite
from tests.gate.giving_permits import declared, planned
from tests.gate.punctual import Span, in_time

OUTSIDE, LATCHED = ViolationType.OUTSIDE_PLAN, ViolationType.NOT_ALLOWED
RAMP = planned([("T:AO", 1.0), ("T:AO2", 5.0), ("T:AO", 2.0)])


@pytest.fixture
async def at_rest(enforcing: Any, machine: Any) -> None:
    enforcing.set_limits({"T:AO": {}, "T:AO2": {}})
    for name in ("T:AO", "T:AO2", "T:AI"):
        await machine.set(name, 0)


class Program:
    """Puts numbers, each on a channel that it opens when it needs it."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self._channels: dict[str, Any] = {}

    async def put(self, name: str, number: float) -> Any:
        """None where it was written, else why it was not."""
        if not self._channels:
            self.client = await self.kernel.circuit()
        if name not in self._channels:
            self._channels[name] = await self.client.open(name)
        return (await self.client.put_number(self._channels[name], number)).violation


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_the_plan_is_written_and_told_with_its_permit(enforcing: Any, machine: Any) -> None:
    permit = await enforcing.permit(RAMP)
    async with enforcing.session(permit=permit) as kernel:
        program = Program(kernel)
        for name, number in (("T:AO", 1.0), ("T:AO2", 5.3), ("T:AO", 2.0)):
            assert await program.put(name, number) is None
        assert await program.put("T:AO", 2.0) == OUTSIDE  # twice were planned
        report = await kernel.session.close(completed=True)
    assert (report.forwarded, report.refused, report.ended) == (3, 1, "")
    assert (await machine.value("T:AO"), await machine.value("T:AO2")) == (2.0, 5.3)
    closed = await enforcing.journalled("session_closed", permit=permit.id)
    assert closed["completed"] is False  # something was refused
    of_permit = [r["event"] for r in enforcing.journal() if r.get("permit") == permit.id]
    assert sorted(of_permit) == sorted(
        ["permit_consumed", "session_opened", *["write", "confirmed"] * 3, "refused",
         "session_closed"]
    )  # fmt: skip


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
@pytest.mark.parametrize(
    ("name", "number", "kind"),
    [
        ("T:AO", 2.6, OUTSIDE),
        ("T:AO", -0.6, OUTSIDE),
        ("T:LO", 1, OUTSIDE),
        ("T:AO.DRVH", 1, OUTSIDE),
    ],
)
async def test_after_the_first_refusal_nothing_is_forwarded_not_even_what_is_planned(
    enforcing: Any, machine: Any, name: str, number: float, kind: ViolationType
) -> None:
    async with enforcing.session(plan=RAMP) as kernel:
        program = Program(kernel)
        assert await program.put("T:AO", 1.0) is None
        puts = await machine.value("T:AO:PUTS")
        assert await program.put(name, number) == kind
        assert await program.put("T:AO", 2.0) == LATCHED
        assert await program.put("T:AO2", 5.0) == LATCHED
        report = await kernel.session.close(completed=True)
    assert [refusal.violation_type for refusal in report.refusals] == [kind, LATCHED, LATCHED]
    assert "nothing more is forwarded after" in report.refusals[1].reason
    assert name.partition(".")[0] in report.refusals[1].reason
    assert await machine.value("T:AO:PUTS") == puts
    assert await machine.value("T:AO2") == 0


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
@pytest.mark.parametrize(
    ("moved", "number", "kind"),
    [
        (None, 9.0, ViolationType.MAX_EXCEEDED),
        (None, 2.3, ViolationType.MAX_STEP_EXCEEDED),
        (7.0, 1.0, OUTSIDE),
    ],
)
async def test_of_several_reasons_the_one_that_explains_most_is_told(
    enforcing: Any, machine: Any, moved: float | None, number: float, kind: ViolationType
) -> None:
    enforcing.set_limits({"T:AO": {"max_value": 5, "max_step": 1.5}})
    if moved is not None:
        await machine.set("T:AO", moved)
    async with enforcing.session(plan=RAMP) as kernel:
        assert await Program(kernel).put("T:AO", number) == kind
    assert await machine.value("T:AO") == (moved or 0)


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_any_refusal_is_the_last_write_on_every_circuit(enforcing: Any) -> None:
    enforcing.set_limits({"T:AO": {"max_value": 1.5}, "T:AO2": {}})
    async with enforcing.session(plan=RAMP) as kernel:
        one, other = Program(kernel), Program(kernel)
        assert await one.put("T:AO", 2.0) == ViolationType.MAX_EXCEEDED
        assert await other.put("T:AO2", 5.0) == LATCHED
    async with enforcing.session(plan=RAMP) as kernel:
        program = Program(kernel)
        await program.put("T:AO", 1)
        answer = await program.client.put(await program.client.open("T:AO2"), 35, 1, bytes(8))
        assert answer.violation == ViolationType.INVALID_VALUE
        assert await program.put("T:AO2", 5.0) == LATCHED


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_a_channel_that_moved_since_the_plan_is_not_written(
    enforcing: Any, machine: Any
) -> None:
    await machine.set("T:AO2", 0.4)  # within its tolerance
    async with enforcing.session(plan=RAMP) as kernel:
        program = Program(kernel)
        assert await program.put("T:AO2", 5.0) is None
        await machine.set("T:AO", 0.7)
        assert await program.put("T:AO", 1.0) == OUTSIDE
        report = await kernel.session.close()
    assert report.forwarded == 1
    (refusal,) = report.refusals
    assert (refusal.channel, refusal.current_value) == ("T:AO", 0.7)
    assert "reads 0.7" in refusal.reason
    assert await machine.value("T:AO") == 0.7


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_what_moves_after_its_first_write_is_no_drift(enforcing: Any, machine: Any) -> None:
    async with enforcing.session(plan=RAMP) as kernel:
        program = Program(kernel)
        assert await program.put("T:AO", 1.0) is None
        await machine.set("T:AO", 90)
        assert await program.put("T:AO", 2.0) is None


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_declared_ranges_and_counts_bind(enforcing: Any, machine: Any) -> None:
    async with enforcing.session(plan=declared("T:AO", 0, -1, 1, 2)) as kernel:
        program = Program(kernel)
        assert await program.put("T:AO", 1) is None
        assert await program.put("T:AO", -1) is None
        assert await program.put("T:AO", 0) == OUTSIDE
    async with enforcing.session(plan=declared("T:AO", -1, -1, 1, 2)) as kernel:
        assert await Program(kernel).put("T:AO", 1.001) == OUTSIDE
    assert await machine.value("T:AO") == -1


@pytest.mark.parts
async def test_a_state_comes_exactly_as_planned(enforcing: Any, machine: Any) -> None:
    enforcing.set_limits({"T:MODE": {}})
    await machine.set("T:MODE", 2)
    plan = Plan(
        kind=PlanKind.COMPLETE,
        writes=[PlannedWrite(channel="T:MODE", new=new) for new in (1, 0)],
        channels=[PlannedChannel(channel="T:MODE", live=2, writes=2, exact=True)],
    )
    for sent, violations in (((1, 0), (None, None)), ((0, 1), (OUTSIDE, LATCHED))):
        await machine.set("T:MODE", 2)
        async with enforcing.session(plan=plan) as kernel:
            program = Program(kernel)
            assert tuple([await program.put("T:MODE", one) for one in sent]) == violations


@pytest.mark.parts
async def test_a_state_whose_number_has_another_name_by_now_is_not_the_one_approved(
    enforcing: Any, machine: Any
) -> None:
    enforcing.set_limits({"T:MODE": {}})
    await machine.set("T:MODE", 2)
    plan = Plan(
        kind=PlanKind.COMPLETE,
        writes=[PlannedWrite(channel="T:MODE", new=1, state="Injection")],
        channels=[PlannedChannel(channel="T:MODE", live=2, state="User", writes=1, exact=True)],
    )
    try:
        await rename_state(machine, "T:MODE.ONST", "Full power")
        async with enforcing.session(plan=plan) as kernel:
            assert await Program(kernel).put("T:MODE", 1) == OUTSIDE
            report = await kernel.session.close()
        assert "Full power (1) now, and the plan has Injection (1)" in report.refusals[0].reason
        assert await machine.value("T:MODE") == 2
    finally:
        await rename_state(machine, "T:MODE.ONST", "Injection")
    async with enforcing.session(plan=plan) as kernel:
        assert await Program(kernel).put("T:MODE", 1) is None
    await machine.set("T:MODE", 2)


async def rename_state(machine: Any, field: str, name: str) -> None:
    async with machine.direct() as client:
        channel = await client.open(field)
        payload = encode(Dbr.STRING, (name,))
        assert (await client.put(channel, Dbr.STRING, 1, payload)).error is None


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_limits_that_change_before_the_first_write_void_the_permit(
    enforcing: Any, machine: Any
) -> None:
    async with enforcing.session(plan=RAMP) as kernel:
        program = Program(kernel)
        await asyncio.to_thread(enforcing.set_limits, {"T:AO": {"max_value": 50}, "T:AO2": {}})
        assert await program.put("T:AO", 1.0) == OUTSIDE
        report = await kernel.session.close()
    assert "no longer the one under which this was approved" in report.refusals[0].reason
    assert await machine.value("T:AO") == 0


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
@pytest.mark.parametrize(
    ("then", "now", "violation"),
    [
        ({"max_value": 3}, {"max_value": 50}, None),
        ({"max_value": 1.5}, {"max_value": 50}, ViolationType.MAX_EXCEEDED),
        ({"max_value": 50}, {"max_value": 1.5}, ViolationType.MAX_EXCEEDED),
        ({"max_step": 0.5}, {}, ViolationType.MAX_STEP_EXCEEDED),
        ({"conditions": [{"channel": "T:AI", "op": "<", "value": 5}]}, {},
         ViolationType.CONDITION_FAILED),
    ],
)  # fmt: skip
async def test_after_the_first_write_old_and_new_limits_bind(
    enforcing: Any,
    machine: Any,
    then: dict[str, Any],
    now: dict[str, Any],
    violation: ViolationType | None,
) -> None:
    enforcing.set_limits({"T:AO": then, "T:AO2": {}})
    async with enforcing.session(plan=RAMP) as kernel:
        program = Program(kernel)
        assert await program.put("T:AO2", 5.0) is None
        await machine.set("T:AI", 9)
        await asyncio.to_thread(enforcing.set_limits, {"T:AO": now, "T:AO2": {}})
        assert await program.put("T:AO", 2.0) == violation


@pytest.mark.parts
@pytest.mark.alone
@pytest.mark.usefixtures("at_rest")
async def test_a_guard_ends_the_session_also_where_it_only_waits(
    enforcing: Any, machine: Any
) -> None:
    guards = [Condition.model_validate({"channel": "T:AI", "op": "<", "value": 5})]

    async def ending() -> Span:
        for name in ("T:AI", "T:AO"):
            await machine.set(name, 0)
        async with enforcing.session(plan=RAMP, guards=guards) as kernel:
            program = Program(kernel)
            assert await program.put("T:AO", 1.0) is None
            begun = time.monotonic()
            await machine.set("T:AI", 6)
            report = await asyncio.wait_for(kernel.session.closed_by_gate, 30)
            ended = time.monotonic()
        assert "guard T:AI < 5 does not hold" in report.ended
        assert (report.forwarded, report.refused) == (1, 0)
        return begun, ended

    await in_time(ending, 0.5)


def limits(text: str) -> LimitsValidator:
    return LimitsValidator(LimitsDatabase.from_bytes(text.encode(), Path("l.json")))


class Guarding:
    why: str | None = None

    def refusal(self) -> str | None:
        return self.why


def test_a_guard_is_asked_with_each_write() -> None:
    guards = Guarding()
    enforcement = Enforcement("p", RAMP, limits("{}"), guards)
    assert enforcement.standing() is None
    guards.why = "it is hot"
    assert enforcement.standing() == (ViolationType.CONDITION_FAILED, "it is hot")


def test_limits_are_the_same_where_they_say_the_same() -> None:
    enforcement = Enforcement("p", RAMP, limits('{"A": {}}'), Guarding())
    same, other = limits('{"A": {"_comment": 1}}'), limits('{"A": {"max_value": 1}}')
    unavailable = LimitsValidator(None)
    assert enforcement.limits(same) == (same,)
    assert enforcement.limits(other) is enforcement.limits(unavailable) is None
    enforcement.forwarded("T:AO", 1.0)
    bound = enforcement.limits(other)
    assert bound is not None
    assert [b is other for b in bound] == [True, False]


def test_the_first_refusal_is_the_one_that_is_named() -> None:
    enforcement = Enforcement("p", RAMP, limits("{}"), Guarding())
    enforcement.latch("A", "is too high")
    enforcement.latch("B", "is too low")
    standing = enforcement.standing()
    assert standing is not None
    assert "A is too high" in standing[1]
