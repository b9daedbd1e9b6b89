"""Real programs from rehearsal to verification: what is planned, and what the IOC then received."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from demo import optics
from demo.model_server import ModelServer
from demo.stack import free_port, running_ring
from runpermit.models import FollowOutcome, PlanKind, Stage, WriteOutcome
from runpermit.page import plan_warnings
from runpermit.plans import groups
from tests.system.asking import applied, approve, next_question, program, rehearsed
from tests.system.machine import COUNTERS, Machine, own_gate, to_its_start

pytestmark = pytest.mark.slow

USER, MACHINE_STUDY = 2, 3


async def test_a_corrector_ramp_is_one_line_and_happens_as_it_was_planned(
    house: Any, machine: Machine
) -> None:
    start = await machine.number("SR:HCM1:SP")
    handle, pending = await rehearsed(house, machine, program("corrector_ramp"))
    plan, before = pending.plan, await machine.counts()
    assert (plan.kind, plan.count, plan.problem) == (PlanKind.COMPLETE, 10, "")
    [ramp] = groups(plan)
    assert (ramp.channel, ramp.count, ramp.first) == ("SR:HCM1:SP", 10, pytest.approx(start))
    assert (ramp.last, ramp.step) == (pytest.approx(start + 0.2), pytest.approx(0.02))
    [channel] = plan.channels
    assert (channel.live, channel.units, channel.max_step) == (pytest.approx(start), "A", 0.5)
    assert channel.largest_step == pytest.approx(0.02)
    assert channel.restorable
    assert {"SR:HCM1:RB", "SR:BPM1:X"} <= set(plan.reads)

    result = await applied(house, handle, pending)
    assert await machine.since(before) == {"SR:HCM1:SP": 10}
    assert await machine.number("SR:HCM1:SP") == pytest.approx(start + 0.2)
    assert result.writes is not None
    assert result.writes.forwarded == 10
    assert {write.outcome for write in result.writes.writes} == {WriteOutcome.CONFIRMED}
    [verified] = result.verified
    assert (verified.accepted, verified.outcome) == (True, FollowOutcome.FOLLOWED)


async def test_an_orbit_response_that_goes_and_comes_back_is_complete(
    house: Any, machine: Machine
) -> None:
    handle, pending = await rehearsed(house, machine, program("orbit_response"))
    plan, before = pending.plan, await machine.counts()
    assert (plan.kind, plan.count) == (PlanKind.COMPLETE, 2)
    # Without a model nobody knows what the orbit would have answered.
    assert "SR:BPM1:X" in plan.unknown
    result = await applied(house, handle, pending)
    assert await machine.since(before) == {"SR:HCM3:SP": 2}
    measured = list(result.execution_result.results["response_mm_per_A"].values())
    assert measured == pytest.approx(optics.BPM_RESPONSE[:, 2].tolist(), abs=0.05)


async def _at_its_start(machine: Machine) -> None:
    """The correctors as the ring began, and an orbit that has followed them."""
    await to_its_start(machine)
    await asyncio.sleep(1)


async def test_a_flat_response_asks_for_a_declaration_and_burns_no_attempt(
    open_house: Any, worker_of: Any, machine: Machine
) -> None:
    await _at_its_start(machine)
    with ModelServer(
        replies=[program("orbit_correction"), program("declared_orbit_correction")]
    ) as model:
        house = await open_house("flat", environment={"OPENAI_BASE_URL": model.base_url})
        async with worker_of(house):
            handle, pending = await rehearsed(house, machine, None, retries=1)
            assert pending.plan.kind is PlanKind.INCOMPLETE
            assert pending.plan.problem
            assert "SR:BPM1:X" in pending.plan.unknown
            state = await house.state(handle)
            assert (state.generation_attempt, state.error_chain) == (1, [])

            await approve(handle, pending)  # which it can't be
            comment = "declare what you may write with plan(channel, low, high, max_writes)"
            await handle.signal(f"revise-{pending.revision}", {"comment": comment})
            declared = await next_question(house, handle, after=pending.number)
            assert declared.plan.kind is PlanKind.DECLARED
            assert [(d.channel, d.max_writes) for d in declared.plan.declared] == [
                ("SR:HCM2:SP", 8),
                ("SR:HCM6:SP", 8),
            ]
            assert comment in str(model.requests[-1].body)
            before = await machine.counts()
            result = await applied(house, handle, declared)
    assert await machine.since(before) == {"SR:HCM2:SP": 5, "SR:HCM6:SP": 5}
    found = result.execution_result.results
    assert found["rms_after_mm"] < found["rms_before_mm"] / 2
    assert await machine.number("SR:HCM2:SP") == pytest.approx(
        result.writes.writes[-2].new if result.writes else None
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def twin(stack: Any, open_house: Any, worker_of: Any) -> AsyncIterator[tuple[Any, Machine]]:
    """A house that rehearses on the ring's twin, and the twin."""
    port = free_port()
    settings = {"rehearsal": {"upstream": f"127.0.0.1:{port}"}}
    async with (
        running_ring(stack.directory, port, stack.environment, virtual=True),
        own_gate(stack, open_house, "twin", settings) as own,
        worker_of(own.house),
    ):
        yield own.house, Machine(port)


async def test_with_a_model_the_same_program_has_a_complete_plan(
    twin: tuple[Any, Machine], machine: Machine
) -> None:
    house, model = twin
    await _at_its_start(machine)
    # A facility's virtual accelerator follows its machine by itself.
    for channel in [name for name in COUNTERS if name.startswith("SR:HCM")]:
        await model.set(channel, await machine.number(channel))
    untouched = await model.counts()
    handle, pending = await rehearsed(house, machine, program("orbit_correction"))
    plan, before = pending.plan, await machine.counts()
    assert (plan.kind, plan.count, plan.unknown) == (PlanKind.COMPLETE, 10, [])
    assert str(model.port) in plan.upstream
    assert (await model.since(untouched))["SR:HCM2:SP"] >= 5
    modelled = await model.counts()

    result = await applied(house, handle, pending)
    assert await machine.since(before) == {"SR:HCM2:SP": 5, "SR:HCM6:SP": 5}
    assert await model.since(modelled) == {}
    truth = optics.BPM_RESPONSE[np.ix_([0, 2, 4, 6], [1, 5])]
    measured = np.array(result.execution_result.results["response_mm_per_A"])
    assert measured == pytest.approx(truth, abs=0.06)


async def test_a_loop_that_waits_for_a_readback_comes_to_its_end(
    house: Any, machine: Machine
) -> None:
    start = await machine.number("SR:HCM4:SP")
    handle, pending = await rehearsed(house, machine, program("step_and_settle"))
    plan, before = pending.plan, await machine.counts()
    assert (plan.kind, plan.count) == (PlanKind.COMPLETE, 1)
    assert plan.channels[0].follows[0] == "SR:HCM4:RB"
    result = await applied(house, handle, pending)
    assert await machine.since(before) == {"SR:HCM4:SP": 1}
    assert result.execution_result.results["settled_A"] == pytest.approx(start + 0.1, abs=0.006)


async def test_an_array_is_planned_and_written_element_by_element(
    house: Any, machine: Machine
) -> None:
    (start,) = await machine.read("SR:RF:RAMP")
    handle, pending = await rehearsed(house, machine, program("rf_ramp"))
    before = await machine.counts()
    [write] = pending.plan.writes
    assert pending.plan.kind is PlanKind.COMPLETE
    assert write.new == pytest.approx([round(value * 1.05, 4) for value in start], abs=2e-4)
    [state] = pending.plan.machine
    assert (state.channel, state.holds) == ("SR:INTERLOCK", True)
    assert "OK" in state.reads
    await applied(house, handle, pending)
    (end,) = await machine.read("SR:RF:RAMP")
    assert list(end) == write.new
    assert await machine.since(before) == {"SR:RF:RAMP": 1}


async def test_an_enum_is_written_exactly_as_planned_and_is_not_put_back(
    house: Any, machine: Machine
) -> None:
    await machine.set("SR:MODE", USER)
    handle, pending = await rehearsed(house, machine, program("machine_mode"))
    before = await machine.counts()
    [channel] = pending.plan.channels
    assert pending.plan.kind is PlanKind.COMPLETE
    assert (channel.state, channel.last_state) == ("User", "Machine Study")
    assert channel.exact
    assert not channel.restorable
    assert channel.why_not
    result = await applied(house, handle, pending)
    assert result.execution_result.results == {"before": USER, "after": MACHINE_STUDY}
    assert await machine.number("SR:MODE") == MACHINE_STUDY
    assert await machine.since(before) == {"SR:MODE": 1}
    await machine.set("SR:MODE", USER)


async def test_a_tuner_that_a_feedback_moves_is_told_as_such(house: Any, machine: Machine) -> None:
    handle, pending = await rehearsed(house, machine, program("tuner_scan"))
    plan, before = pending.plan, await machine.counts()
    assert (plan.kind, plan.count) == (PlanKind.COMPLETE, 3)
    [channel] = plan.channels
    assert channel.moved_by
    assert any("SR:TUNER:SP" in warning for warning in plan_warnings(plan))
    result = await applied(house, handle, pending)
    assert await machine.since(before) == {"SR:TUNER:SP": 3}
    scan = result.execution_result.results["scan"]
    assert all(point["reads_mm"] < point["set_mm"] for point in scan)


async def test_a_slow_device_is_waited_for_when_it_is_real(house: Any, machine: Machine) -> None:
    start = await machine.number("SR:SLIT:POS")
    handle, pending = await rehearsed(house, machine, program("slit_scan"))
    plan, before = pending.plan, await machine.counts()
    assert (plan.kind, plan.count) == (PlanKind.COMPLETE, 2)
    [channel] = plan.channels
    assert channel.stoppable
    result = await applied(house, handle, pending)
    assert await machine.since(before) == {"SR:SLIT:POS": 2}
    assert await machine.number("SR:SLIT:RB") == pytest.approx(start + 2)
    scan = [point["position_mm"] for point in result.execution_result.results["scan"]]
    assert scan == pytest.approx([start + 1, start + 2])
    assert result.verified[0].outcome is FollowOutcome.FOLLOWED


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hasty(open_house: Any, worker_of: Any) -> AsyncIterator[Any]:
    """A house whose rehearsals and plans do not last."""
    settings = {"rehearsal": {"timeout": 6}, "approval": {"plan_max_age": 1}}
    house = await open_house("hasty", settings)
    async with worker_of(house):
        yield house


@pytest.mark.parametrize("name", ["orbit_feedback", "broken_ramp"])
async def test_what_does_not_come_to_its_end_can_only_be_sent_back(
    hasty: Any, machine: Machine, name: str
) -> None:
    before = await machine.counts()
    handle, pending = await rehearsed(hasty, machine, program(name))
    assert pending.plan.kind is PlanKind.INCOMPLETE
    assert pending.plan.problem
    assert pending.plan.count >= 1
    await approve(handle, pending)
    await handle.signal("approve")
    state = await hasty.state(handle)
    assert not any(record.accepted for record in state.decisions)
    await handle.signal(f"reject-{pending.revision}")
    error = await hasty.failure(handle)
    assert error.stage == Stage.REJECTED
    assert await machine.since(before) == {}


async def test_an_old_plan_that_still_stands_is_applied_without_another_question(
    hasty: Any, machine: Machine
) -> None:
    handle, pending = await rehearsed(hasty, machine, program("step_and_settle"))
    before = await machine.counts()
    await asyncio.sleep(1.2)  # plan_max_age
    await approve(handle, pending)
    result = await hasty.result(handle)
    assert await machine.since(before) == {"SR:HCM4:SP": 1}
    assert [record.accepted for record in result.decisions] == [True]
    stages = [change.stage for change in (await hasty.state(handle)).stages]
    assert stages.count(Stage.REHEARSING) == 2
    assert stages.count(Stage.AWAITING_APPROVAL) == 1


async def test_a_machine_that_another_hand_moved_is_asked_about_again(
    house: Any, machine: Machine
) -> None:
    start = await machine.number("SR:HCM4:SP")
    handle, first = await rehearsed(house, machine, program("step_and_settle"))
    await machine.set("SR:HCM4:SP", start - 0.3)
    before = await machine.counts()
    await approve(handle, first)
    second = await next_question(house, handle, after=1)
    assert await machine.since(before) == {}
    assert any("SR:HCM4:SP" in change for change in second.changed)
    assert second.plan.writes[0].new == pytest.approx(start - 0.2)
    await approve(handle, first)  # a stale page
    result = await applied(house, handle, second)
    assert await machine.since(before) == {"SR:HCM4:SP": 1}
    assert result.writes is not None
    assert result.writes.writes[0].new == pytest.approx(start - 0.2)


async def test_a_program_that_decides_otherwise_when_it_is_real_writes_nothing_unasked(
    house: Any, machine: Machine
) -> None:
    start = await machine.number("SR:HCM2:SP")
    await machine.set("SR:MODE", USER)
    handle, first = await rehearsed(house, machine, program("mode_dependent_step"))
    assert first.plan.writes[0].new == pytest.approx(start + 0.02)
    await machine.set("SR:MODE", MACHINE_STUDY)
    before = await machine.counts()
    try:
        await approve(handle, first)
        second = await next_question(house, handle, after=1)
        assert await machine.since(before) == {}
        assert second.plan.writes[0].new == pytest.approx(start + 0.3)
        await applied(house, handle, second)
        assert await machine.since(before) == {"SR:HCM2:SP": 1}
    finally:
        await machine.set("SR:MODE", USER)


async def test_two_executions_write_one_channel_one_after_the_other(
    house: Any, machine: Machine
) -> None:
    first, asked_first = await rehearsed(house, machine, program("slow_ramp"))
    second, asked_second = await rehearsed(house, machine, program("slow_ramp"))
    before = await machine.counts()
    await approve(first, asked_first)
    async with asyncio.timeout(30):
        while (await machine.since(before)).get("SR:HCM5:SP", 0) < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await approve(second, asked_second)
    await house.result(first)
    # What it was rehearsed on has changed meanwhile.
    again = await next_question(house, second, after=1)
    assert await machine.since(before) == {"SR:HCM5:SP": 15}
    await applied(house, second, again)
    assert await machine.since(before) == {"SR:HCM5:SP": 30}
