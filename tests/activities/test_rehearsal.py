"""Rehearsal as a step: which plan a program makes, and what goes back to the model instead."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import nbformat
import pytest
from temporalio.testing import ActivityEnvironment

from activities.rehearsal import Rehearsal, _refuse_large
from gate.client import Rehearsed
from kernels.interface import RunOutcome
from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeRuntimeError,
    ContainerConfigurationError,
    ExecutionTimeoutError,
    PythonExecutorException,
    ServiceUnavailableError,
)
from runpermit.models import Declaration, Plan, PlanKind, PlannedChannel, PlannedWrite

HERE = "SR:HCM1:SP"
Run = Callable[..., Awaitable[Plan]]


@pytest.fixture
def rehearse(running: Any) -> Run:
    async def run(code: str, **fields: Any) -> Plan:
        task = running.rehearse_task(running.folder(), code, **fields)
        plan: Plan = await ActivityEnvironment().run(Rehearsal(running.house()).rehearse, task)
        return plan

    return run


@pytest.fixture
def still(gate: Any) -> Iterator[Any]:
    """The gate; afterwards the correctors must stand where they stood, at zero."""
    for channel in (HERE, "SR:HCM2:SP"):
        gate.put(channel, 0)
    yield gate
    assert [gate.get(channel) for channel in (HERE, "SR:HCM2:SP")] == [0, 0]


@pytest.mark.usefixtures("still")
async def test_what_a_program_would_write_is_a_complete_plan(rehearse: Run) -> None:
    before = datetime.now(UTC)
    plan = await rehearse(
        "now = read_channel('SR:HCM1:SP')\n"
        "write_channel('SR:HCM1:SP', now + 0.25)\n"
        "write_channel('SR:HCM2:SP', 2)\n"
        "assert read_channel('SR:HCM1:SP') == now + 0.25\nresults = {}"
    )

    assert plan.kind is PlanKind.COMPLETE
    assert [(w.channel, w.old, w.new) for w in plan.writes] == [
        (HERE, 0.0, 0.25),
        ("SR:HCM2:SP", 0.0, 2.0),
    ]
    [first, second] = plan.channels
    assert (first.channel, first.live, first.writes, first.last) == (HERE, 0.0, 1, 0.25)
    assert (first.min_value, first.max_value, first.max_step) == (-1, 1, 0.5)
    assert second.channel == "SR:HCM2:SP"
    assert plan.problem == ""
    assert plan.rehearsed_at is not None
    assert before < plan.rehearsed_at < datetime.now(UTC) + timedelta(seconds=1)


@pytest.mark.usefixtures("still")
async def test_a_program_that_writes_nothing_makes_a_plan_of_reading(rehearse: Run) -> None:
    plan = await rehearse("results = {'i': float(read_channel('SR:BEAM:CURRENT'))}")

    assert plan.kind is PlanKind.READS_ONLY
    assert plan.writes == []
    assert plan.reads == ["SR:BEAM:CURRENT"]


@pytest.mark.usefixtures("still")
async def test_what_a_program_declares_is_a_declared_plan_however_its_rehearsal_ended(
    rehearse: Run,
) -> None:
    plan = await rehearse(
        "plan('SR:HCM2:SP', -2, 2, 5)\nwrite_channel('SR:HCM2:SP', 1)\n1 / 0", attempt=2
    )

    assert plan.kind is PlanKind.DECLARED
    assert plan.declared == [Declaration(channel="SR:HCM2:SP", low=-2, high=2, max_writes=5)]
    assert [write.new for write in plan.writes] == [1.0]
    assert "ZeroDivisionError" in plan.problem


@pytest.mark.usefixtures("still")
async def test_a_channel_that_is_declared_and_not_written_is_known_all_the_same(
    rehearse: Run,
) -> None:
    plan = await rehearse("plan('SR:HCM1:SP', -0.5, 0.5, 3)\n1 / 0")

    assert plan.kind is PlanKind.DECLARED
    assert plan.writes == []
    [channel] = plan.channels
    assert (channel.channel, channel.live, channel.min_value) == (HERE, 0.0, -1)


@pytest.mark.usefixtures("still")
async def test_a_declaration_outside_of_the_limits_goes_back_to_the_model(rehearse: Run) -> None:
    with pytest.raises(ChannelLimitsViolationError, match=HERE) as refused:
        await rehearse("plan('SR:HCM1:SP', -5, 0.5, 3)\nresults = {}")

    assert refused.value.violation_type == "MIN_EXCEEDED"


@pytest.mark.usefixtures("still")
async def test_what_fails_after_a_write_is_an_incomplete_plan(running: Any) -> None:
    task = running.rehearse_task(
        running.folder(), "print('so far')\nwrite_channel('SR:HCM1:SP', 0.1)\n1 / 0"
    )
    plan = await ActivityEnvironment().run(Rehearsal(running.house()).rehearse, task)

    assert plan.kind is PlanKind.INCOMPLETE
    assert "ZeroDivisionError" in plan.problem
    assert not plan.may_be_approved
    notebook = nbformat.read(task.notebook.notebook_path, as_version=4)
    assert "its writes went nowhere" in notebook.cells[0].source
    assert "ZeroDivisionError" in notebook.cells[0].source
    assert notebook.cells[1].outputs[0].text == "so far\n"


@pytest.mark.usefixtures("still")
async def test_what_fails_before_any_write_goes_back_to_the_model(running: Any) -> None:
    task = running.rehearse_task(running.folder(), "1 / 0", attempt=3)
    with pytest.raises(CodeRuntimeError, match="ZeroDivisionError") as failed:
        await ActivityEnvironment().run(Rehearsal(running.house()).rehearse, task)

    assert failed.value.execution_attempt == 3
    assert task.notebook.notebook_path.exists()


@pytest.mark.usefixtures("still")
async def test_a_write_that_the_limits_refuse_goes_back_though_the_code_swallows_it(
    rehearse: Run,
) -> None:
    code = (
        "write_channel('SR:HCM1:SP', 0.1)\n"
        "try:\n    write_channel('SR:HCM1:SP', 7)\nexcept Exception:\n    pass\n"
        "results = {}"
    )
    with pytest.raises(ChannelLimitsViolationError) as refused:
        await rehearse(code)

    assert (refused.value.channel_address, refused.value.attempted_value) == (HERE, 7)
    assert refused.value.violation_type == "MAX_EXCEEDED"


@pytest.mark.usefixtures("still")
async def test_a_program_that_never_ends_is_an_incomplete_plan(rehearse: Run) -> None:
    plan = await rehearse("while True: write_channel('SR:HCM2:SP', 1)", timeout=1.5)

    assert plan.kind is PlanKind.INCOMPLETE
    assert plan.count > 1


@pytest.mark.usefixtures("still")
async def test_what_would_be_cut_off_when_it_is_applied_goes_back_to_the_model(
    rehearse: Run,
) -> None:
    code = (
        "import time\nwrite_channel('SR:HCM1:SP', 0.1)\ntime.sleep(900)\n"
        "write_channel('SR:HCM1:SP', 0)\nresults = {}"
    )
    with pytest.raises(CodeRuntimeError, match=r"timeouts\.run"):
        await rehearse(code)


@pytest.mark.usefixtures("still")
async def test_of_a_rehearsal_no_files_are_kept(running: Any) -> None:
    task = running.rehearse_task(
        running.folder(),
        "open('left.csv', 'w').close()\nwrite_channel('SR:HCM1:SP', 0.1)\nresults = {}",
    )
    await ActivityEnvironment().run(Rehearsal(running.house()).rehearse, task)

    assert list(task.folder.work.iterdir()) == []
    assert not (task.folder.path / "results.json").exists()
    assert not task.folder.figures.exists()


async def test_a_rehearsal_that_the_gate_ended_is_no_plan(running: Any, still: Any) -> None:
    code = "write_channel('SR:HCM2:SP', 1)\nprint('on', flush=True)\nwhile True: pass"
    task = running.rehearse_task(running.folder(), code)
    environment, said = ActivityEnvironment(), asyncio.Event()
    environment.info = dataclasses.replace(environment.info, workflow_id="wf-to-stop")
    environment.on_heartbeat = lambda progress: said.set() if progress.stdout_tail else None
    rehearsing = asyncio.ensure_future(environment.run(Rehearsal(running.house()).rehearse, task))
    await asyncio.wait_for(said.wait(), 20)
    still.stop("wf-to-stop", "jd", "beam lost")
    with pytest.raises(ServiceUnavailableError, match="jd"):
        await asyncio.wait_for(rehearsing, 10)


async def test_while_the_host_is_inhibited_it_is_rehearsed_all_the_same(
    rehearse: Run, still: Any
) -> None:
    try:
        still.inhibit(on=True)
        plan = await rehearse("write_channel('SR:HCM1:SP', 0.1)\nresults = {}")
    finally:
        still.inhibit(on=False)

    assert plan.kind is PlanKind.COMPLETE


async def test_limits_that_can_t_be_read_are_no_fault_of_the_program(
    rehearse: Run, gate: Any
) -> None:
    file = gate.folder / "limits.json"
    before = file.read_text()
    try:
        file.write_text("{")
        with pytest.raises(ContainerConfigurationError, match=r"limits\.json"):
            await rehearse("write_channel('SR:HCM1:SP', 0.1)\nresults = {}")
    finally:
        file.write_text(before)


async def test_without_a_gate_it_is_tried_again(running: Any, rehearse: Run) -> None:
    running.gate_socket = Path("/nowhere/gate.sock")
    with pytest.raises(ServiceUnavailableError) as raised:
        await rehearse("results = {}")

    assert raised.value.should_retry_execution()


# What is known without a kernel or a gate: how an end becomes a plan, or an error.
WRITE = PlannedWrite(channel=HERE, old=0.0, new=0.1)
CHANNEL = PlannedChannel(
    channel=HERE, live=0.0, writes=1, low=0.1, high=0.1, last=0.1, restorable=True
)
WROTE = Rehearsed(writes=[WRITE], channels=[CHANNEL])
DECLARED = (Declaration(channel=HERE, low=-0.5, high=0.5, max_writes=3),)
FAILED = CodeRuntimeError("division by zero", "", 1)
OUT_OF_TIME = ExecutionTimeoutError(120)
REFUSED = ChannelLimitsViolationError(HERE, 7, "MAX_EXCEEDED", "at most 1")

ENDS: list[tuple[Rehearsed, tuple[Declaration, ...], Exception | None, int, Any]] = [
    (Rehearsed(), (), None, 0, PlanKind.READS_ONLY),
    (WROTE, (), None, 0, PlanKind.COMPLETE),
    (WROTE, DECLARED, None, 0, PlanKind.DECLARED),
    (Rehearsed(), DECLARED, None, 0, PlanKind.DECLARED),
    (WROTE, (), FAILED, 0, PlanKind.INCOMPLETE),
    (WROTE, (), OUT_OF_TIME, 0, PlanKind.INCOMPLETE),
    (WROTE, DECLARED, FAILED, 0, PlanKind.DECLARED),
    (WROTE, DECLARED, OUT_OF_TIME, 0, PlanKind.DECLARED),
    (Rehearsed(), DECLARED, FAILED, 0, PlanKind.DECLARED),
    (Rehearsed(), (), FAILED, 0, CodeRuntimeError),
    (Rehearsed(), (), OUT_OF_TIME, 0, ExecutionTimeoutError),
    (Rehearsed(), (), REFUSED, 1, ChannelLimitsViolationError),
    (WROTE, (), REFUSED, 1, ChannelLimitsViolationError),
    (WROTE, DECLARED, REFUSED, 1, ChannelLimitsViolationError),
]


class Describing:
    """A gate that knows the corrector."""

    async def describe(self, channels: list[str]) -> list[PlannedChannel]:
        return [CHANNEL.model_copy(update={"channel": name, "writes": 0}) for name in channels]


@pytest.mark.parametrize(("told", "declared", "error", "refused", "expected"), ENDS)
async def test_how_an_end_becomes_a_plan_or_an_error(
    desk: Any,
    told: Rehearsed,
    declared: tuple[Declaration, ...],
    error: PythonExecutorException | None,
    refused: int,
    expected: Any,
    tmp_path: Path,
) -> None:
    desk.limits = tmp_path / "limits.json"
    desk.limits.write_text('{"SR:HCM1:SP": {"min_value": -1, "max_value": 1}}')
    house = dataclasses.replace(desk.house(), gate=cast("Any", Describing()))
    outcome = RunOutcome("", {}, (), 0.1, error, declared=declared)
    rehearsal = Rehearsal(house)
    if isinstance(expected, PlanKind):
        plan = await rehearsal._plan(outcome, told, refused=refused)
        assert plan.kind is expected
        assert plan.problem == ("" if error is None else error.message)
        assert [channel.channel for channel in plan.channels] == (
            [HERE] if told.channels or declared else []
        )
    else:
        with pytest.raises(expected):
            await rehearsal._plan(outcome, told, refused=refused)


def test_a_plan_that_temporal_could_not_carry_goes_back() -> None:
    large = Plan(reads=["SR:BPM" + "X" * 100] * 4000)
    with pytest.raises(CodeRuntimeError, match="384 KB are allowed"):
        _refuse_large(large, 1)
    _refuse_large(Plan(reads=["SR:BPM1:X"]), 1)
