"""A reset execution replays what was said and done: no approval writes twice, and it always ends.

Where it is asked anew, it rehearses anew, and no answer from before is one to that question. Where
the approval stands, the gate finds its permit used, and its journal tells what was written.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.service import RPCError

from runpermit.errors import PythonExecutorException, WorkflowError
from runpermit.failures import unwrap
from runpermit.models import PendingApproval, PythonServiceResult, Stage, Verdict

AS_IT_IS = 'write_channel("SR:HCM2:SP", read_channel("SR:HCM2:SP"))\nresults = {}\n'
LONG_WRITE = AS_IT_IS + "import time\nfor _ in range(3000):\n    time.sleep(0.1)\n"


async def plainly(handle: WorkflowHandle[Any, Any], _pending: PendingApproval) -> None:
    await handle.signal("approve")


async def by_revision(handle: WorkflowHandle[Any, Any], pending: PendingApproval) -> None:
    await handle.signal(f"approve-{pending.revision}")


async def by_update(handle: WorkflowHandle[Any, Any], pending: PendingApproval) -> None:
    await handle.execute_update("decide", {"decision": "approve", "sha256": pending.sha256})


Answer = Callable[[WorkflowHandle[Any, Any], PendingApproval], Awaitable[None]]
ANSWERS = [plainly, by_revision, pytest.param(by_update, marks=pytest.mark.soak)]


async def events(handle: WorkflowHandle[Any, Any]) -> list[Any]:
    return [event async for event in handle.fetch_history_events()]


async def finished_tasks(handle: WorkflowHandle[Any, Any]) -> list[int]:
    """Every point to which Temporal can reset."""
    return [
        event.event_id
        for event in await events(handle)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]


async def reset(house: Any, handle: WorkflowHandle[Any, Any], point: int) -> Any:
    """The run that Temporal starts from `point` of this one's history."""
    answer = await house.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=house.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=handle.run_id),
            reason="a test of resets",
            request_id=str(uuid.uuid4()),
            workflow_task_finish_event_id=point,
        )
    )
    return house.client.get_workflow_handle(
        handle.id, run_id=answer.run_id, result_type=PythonServiceResult
    )


async def run_of(house: Any, handle: WorkflowHandle[Any, Any]) -> Any:
    """This very run: an id alone means the newest."""
    description = await handle.describe()
    return house.client.get_workflow_handle(handle.id, run_id=description.run_id)


async def rejecting(handle: WorkflowHandle[Any, Any], _pending: PendingApproval) -> None:
    await handle.signal("reject")


async def end_of(
    house: Any, run: WorkflowHandle[Any, Any], answer: Answer
) -> PythonServiceResult | PythonExecutorException:
    """How a run ends where every question gets this answer."""
    async with asyncio.timeout(30):
        while (await run.describe()).status is WorkflowExecutionStatus.RUNNING:
            state = await house.state(run)
            if state.current_stage is Stage.AWAITING_APPROVAL:
                # It may have ended, or taken an answer of the first run, meanwhile.
                with contextlib.suppress(RPCError, WorkflowUpdateFailedError):
                    await answer(run, state.approval_interrupt_data)
            await asyncio.sleep(0.1)
    # Its own handle: the id alone would mean whatever run is the newest.
    try:
        result: PythonServiceResult = await run.result()
    except WorkflowFailureError as failure:
        return unwrap(failure)
    return result


async def failed_task_causes(run: WorkflowHandle[Any, Any]) -> set[int]:
    return {
        event.workflow_task_failed_event_attributes.cause
        for event in await events(run)
        if event.HasField("workflow_task_failed_event_attributes")
    }


# Temporal itself records a reset as a failed task.
OF_THE_RESET = {WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW}


@pytest.mark.slow
@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_finished_write_is_not_done_again_wherever_it_is_reset(
    house: Any, ring: Any, answer: Answer
) -> None:
    handle = await house.start(AS_IT_IS)
    pending = await house.question(handle)
    await answer(handle, pending)
    await house.result(handle)
    first = await run_of(house, handle)
    points = await finished_tasks(first)
    before = ring.puts()
    asked_anew = told_again = 0

    for point in points:
        run = await reset(house, first, point)
        # Temporal sends the answer again; it was to another question than one asked now.
        end = await end_of(house, run, rejecting)
        assert ring.puts() == before, f"reset to event {point} wrote again"
        assert await failed_task_causes(run) == OF_THE_RESET
        if isinstance(end, PythonServiceResult):
            assert end.writes is not None
            assert end.writes.forwarded == 1
            assert end.plan == pending.plan
            told_again += 1
        else:
            assert isinstance(end, WorkflowError)
            assert end.stage == Stage.REJECTED
            asked_anew += 1

    assert asked_anew
    assert told_again


@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_waiting_question_that_is_reset_still_waits_and_is_applied_once(
    house: Any, ring: Any, answer: Answer
) -> None:
    before = ring.puts()[1]
    handle = await house.start(AS_IT_IS)
    pending = await house.question(handle)
    first = await run_of(house, handle)
    run = await reset(house, first, (await finished_tasks(first))[-1])
    assert (await house.question(run)).sha256 == pending.sha256
    assert ring.puts()[1] == before
    end = await end_of(house, run, answer)
    again = await reset(house, run, (await finished_tasks(run))[-1])
    told = await end_of(house, again, answer)

    for ended in (end, told):
        assert isinstance(ended, PythonServiceResult)
        assert ended.writes is not None
        assert ended.writes.forwarded == 1
    assert ring.puts()[1] == before + 1
    assert await failed_task_causes(run) == OF_THE_RESET


@pytest.mark.slow
async def test_a_reset_while_it_writes_ends_the_program_and_runs_it_no_more(
    house: Any, ring: Any, eventually: Any
) -> None:
    before = ring.puts()[1]
    handle = await house.start(LONG_WRITE)
    await by_revision(handle, await house.question(handle))
    await eventually(lambda: ring.puts()[1] == before + 1)
    first = await run_of(house, handle)
    run = await reset(house, first, (await finished_tasks(first))[-1])
    end = await end_of(house, run, by_revision)

    assert isinstance(end, WorkflowError)
    assert end.technical_details["verdict"] == Verdict.PARTIAL
    assert end.technical_details["forwarded"] == 1
    await eventually(lambda: not house.kernels(), within=10)
    assert ring.puts()[1] == before + 1
    assert await failed_task_causes(run) == OF_THE_RESET


@pytest.mark.slow
async def test_a_finished_read_runs_again_wherever_it_is_reset(
    house: Any, ring: Any, read_current: str
) -> None:
    before = ring.puts()
    handle = await house.start(read_current)
    await house.result(handle)
    first = await run_of(house, handle)

    for point in await finished_tasks(first):
        run = await reset(house, first, point)
        end = await end_of(house, run, plainly)
        assert isinstance(end, PythonServiceResult)
        assert end.execution_result.results["current"] > 0
        assert await failed_task_causes(run) == OF_THE_RESET
    assert ring.puts() == before


@pytest.mark.slow
async def test_in_a_reset_run_an_approval_must_name_what_it_is_for(
    open_house: Any, worker_of: Any, read_current: str, fresh: str
) -> None:
    house = await open_house(fresh.lower(), {"approval": {"mode": "all_code"}})
    async with worker_of(house):
        handle = await house.start(read_current)
        await plainly(handle, await house.question(handle))
        await house.result(handle)
        first = await run_of(house, handle)
        run = await reset(house, first, (await finished_tasks(first))[0])
        pending = await house.question(run)
        await plainly(run, pending)
        refused = await house.state(run)
        await by_revision(run, pending)
        end = await end_of(house, run, by_revision)

    assert not any(record.accepted for record in refused.decisions)
    assert "it must name what it is for" in refused.decisions[-1].reason
    assert isinstance(end, PythonServiceResult)
