"""Stop and Temporal's cancel end the work at every stage, and nothing follows."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import CancelledError

from runpermit.errors import CodeRuntimeError, ContainerConfigurationError, WorkflowError
from runpermit.models import Stage

# What holds at each stage, and the activities that may follow a stop there: none but the notebook.
STAGES = {
    Stage.PREPARING: "preparations",
    Stage.GENERATING: "programs",
    Stage.REHEARSING: "rehearsals",
    Stage.EXECUTING: "runs",
}


async def _held(lab: Any, stage: Stage, gate: Any) -> Any:
    if stage is Stage.REHEARSING:
        lab.script.programs = [lab.programs.write]
    setattr(lab.script, STAGES[stage], [gate])
    running = await lab.start()
    await asyncio.wait_for(gate.entered.wait(), 5)
    await running.until(stage)
    return running


@pytest.mark.parametrize("stage", [Stage.GENERATING, Stage.REHEARSING, Stage.EXECUTING])
async def test_a_stop_interrupts_a_running_step(lab: Any, stage: Stage) -> None:
    running = await _held(lab, stage, lab.hold())
    await running.signal("stop", {"operator": "jd", "comment": "beam lost"})

    error = await running.failure()
    assert isinstance(error, WorkflowError)
    assert error.stage == Stage.STOPPED
    assert error.message == "Stopped by jd: beam lost."
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.stage == Stage.STOPPED
    assert (await running.state()).current_stage == Stage.STOPPED


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_nothing_follows_where_the_step_ended_all_the_same(
    lab: Any, stage: Stage, way: str
) -> None:
    answer = {Stage.GENERATING: lab.programs.read, Stage.EXECUTING: {"done": True}}.get(stage)
    gate = lab.hold(deaf=True, answer=answer)
    running = await _held(lab, stage, gate)
    before = [name for name, _ in lab.script.calls]
    await (running.signal("stop") if way == "stop" else running.handle.cancel())
    await asyncio.sleep(0.2)
    gate.open.set()

    if way == "stop":
        error = await running.failure()
        assert isinstance(error, WorkflowError)
        assert error.stage == Stage.STOPPED
    else:
        assert isinstance(await running.cause(), CancelledError)
    after = [name for name, _ in lab.script.calls][len(before) :]
    assert after in ([], ["conclude"])
    state = await running.state()
    assert state.current_stage == Stage.STOPPED
    assert not state.is_successful


@pytest.mark.parametrize(
    "fault",
    [
        CodeRuntimeError("KeyboardInterrupt", "…", 1),
        WorkflowError("Unforeseen error", "failed"),
    ],
)
async def test_a_step_that_fails_as_it_is_stopped_is_not_repeated(
    lab: Any, fault: Exception
) -> None:
    gate = lab.hold(deaf=True, answer=fault)
    running = await _held(lab, Stage.EXECUTING, gate)
    await running.signal("stop")
    await asyncio.sleep(0.2)
    gate.open.set()

    error = await running.failure()
    assert isinstance(error, WorkflowError)
    assert error.stage == Stage.STOPPED
    assert len(lab.script.tasks("generate")) == 1
    assert len(lab.script.tasks("execute")) == 1


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_a_stop_while_the_revision_is_written_down_asks_nobody(lab: Any, way: str) -> None:
    gate = lab.hold(deaf=True)
    lab.script.programs, lab.script.drafts = [lab.programs.write], [gate]
    running = await lab.start()
    await asyncio.wait_for(gate.entered.wait(), 5)
    await (running.signal("stop") if way == "stop" else running.handle.cancel())
    await asyncio.sleep(0.2)
    gate.open.set()

    await running.cause()
    stages = [change.stage for change in (await running.state()).stages]
    assert Stage.AWAITING_APPROVAL not in stages
    assert stages[-1] == Stage.STOPPED


async def test_a_stop_ends_the_waiting_for_an_approval(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    running = await lab.start()
    await running.pending()
    await running.signal("approve", {"sha256": "0" * 64})
    assert "Did not count" in (await running.metadata()).current_details
    await running.signal("stop")
    await running.signal("stop")

    error = await running.failure()
    assert isinstance(error, WorkflowError)
    assert error.stage == Stage.STOPPED
    assert lab.script.tasks("apply") == []
    state = await running.state()
    assert state.current_stage == Stage.STOPPED
    assert [record.accepted for record in state.decisions][:2] == [False, True]
    assert state.approval_interrupt_data is None
    page = (await running.metadata()).current_details
    assert "## stopped" in page
    assert "Approve?" not in page


async def test_a_stop_that_comes_with_the_start_prevents_everything(lab: Any) -> None:
    running = await lab.start_with({"start_signal": "stop", "start_signal_args": []})

    error = await running.failure()
    assert isinstance(error, WorkflowError)
    assert error.stage == Stage.STOPPED
    assert lab.script.calls == []


@pytest.mark.parametrize("stage", [Stage.GENERATING, Stage.REHEARSING, Stage.EXECUTING])
async def test_a_cancel_ends_canceled_and_concludes(lab: Any, stage: Stage) -> None:
    running = await _held(lab, stage, lab.hold())
    await running.handle.cancel()

    assert isinstance(await running.cause(), CancelledError)
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.stage == Stage.STOPPED
    assert (await running.state()).current_stage == Stage.STOPPED


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_nothing_follows_an_analysis_that_outlasts_its_task(lab: Any, way: str) -> None:
    gate = lab.hold(deaf=True)
    lab.script.programs, lab.script.analyses = [lab.programs.write], [gate]
    running = await lab.start_with({"task_timeout": timedelta(seconds=2)})
    await asyncio.wait_for(gate.entered.wait(), 5)
    await running.until(Stage.ANALYSING)
    await (running.signal("stop") if way == "stop" else running.handle.cancel())
    cause = await running.cause()
    gate.open.set()

    assert isinstance(cause, CancelledError) is (way == "cancel")
    assert lab.script.tasks("rehearse", "draft") == []
    assert (await running.state()).current_stage == Stage.STOPPED


async def test_a_cancel_while_an_approval_waits_concludes(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    running = await lab.start()
    await running.pending()
    await running.handle.cancel()

    assert isinstance(await running.cause(), CancelledError)
    assert lab.script.tasks("apply") == []
    assert [task.stage for task in lab.script.tasks("conclude")] == [Stage.STOPPED]


async def test_a_stop_after_the_run_takes_no_result_away(lab: Any) -> None:
    gate = lab.hold(deaf=True)
    lab.script.conclusions = [gate, None]
    running = await lab.start()
    await asyncio.wait_for(gate.entered.wait(), 5)
    await running.signal("stop")
    await asyncio.sleep(0.2)
    gate.open.set()

    result = await running.result()
    assert result.execution_result.results
    (stop,) = (await running.state()).decisions
    assert not stop.accepted
    assert "has ended" in stop.reason


async def test_a_notebook_that_can_not_be_written_takes_no_result_away(lab: Any) -> None:
    lab.script.conclusions = [ContainerConfigurationError("the disk is read-only")]
    running = await lab.start()

    result = await running.result()
    assert any("the disk is read-only" in warning for warning in result.analysis_warnings)
    assert (await running.state()).current_stage is Stage.SUCCEEDED


async def test_a_second_cancel_while_it_concludes_does_not_jam_the_workflow(lab: Any) -> None:
    held, gate = lab.hold(), lab.hold(deaf=True)
    lab.script.conclusions = [gate]
    running = await _held(lab, Stage.EXECUTING, held)
    await running.signal("stop")
    await asyncio.wait_for(gate.entered.wait(), 5)
    await running.handle.cancel()
    await asyncio.sleep(0.2)
    gate.open.set()

    await running.cause()
    assert (await running.state()).current_stage == Stage.STOPPED
    assert await running.failed_tasks() == 0
