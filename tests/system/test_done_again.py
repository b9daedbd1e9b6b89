"""Resets, retries, forged ends: what Temporal does again, the machine does not receive again."""

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import RetryPolicy
from temporalio.service import RPCError

from runpermit.models import PythonServiceResult, Stage
from tests.system.asking import applied, program, rehearsed
from tests.system.machine import Machine, Own, forwarded
from tests.system.ramps import PLANNED, RAMP, SETPOINT, Ramp, begun, fragile_house

pytestmark = pytest.mark.slow

Begin = Callable[[], Awaitable[Ramp]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fragile(stack: Any, open_house: Any) -> AsyncIterator[Own]:
    async with fragile_house(stack, open_house, "again") as own:
        yield own


@pytest.fixture
def begin(fragile: Own, machine: Machine) -> Begin:
    return lambda: begun(fragile, machine)


async def applying(ramp: Ramp) -> Any:
    """The apply that runs, as Temporal knows it."""
    description = await ramp.handle.describe()
    (activity,) = description.raw_description.pending_activities
    return activity


@pytest.mark.parametrize("verb", ["complete", "fail", "reset"])
async def test_an_apply_that_somebody_ends_by_hand(
    fragile: Own, worker_of: Any, begin: Begin, temporal: Any, verb: str
) -> None:
    async with worker_of(fragile.house):
        ramp = await begin()
        await ramp.reaches(3)
        activity = await applying(ramp)
        said = {
            "complete": ("--result", "null"),
            "fail": ("--reason", "by hand"),
            "reset": (),
        }[verb]
        done = temporal(
            *("activity", verb, "--activity-id", activity.activity_id),
            *("--workflow-id", ramp.handle.id, "--namespace", fragile.house.client.namespace),
            *said,
        )
        assert done.returncode == 0, done.stderr
        stage = await ramp.answered()
        stood = await ramp.stands()
        assert await ramp.agrees() == stood
        if stood == PLANNED:  # a reset of an activity is noticed with its next heartbeat
            assert stage is not Stage.FAILED
        if stage is Stage.AWAITING_RESTORE:
            await ramp.left()
        else:
            # What it tells is what the journal tells, and the journal tells of all.
            assert verb == "reset"
            result: PythonServiceResult = await fragile.house.result(ramp.handle)
            assert result.writes is not None
            assert result.writes.forwarded == stood == PLANNED


async def test_a_retry_policy_of_the_caller_is_refused(
    fragile: Own, worker_of: Any, machine: Machine, fresh: str
) -> None:
    before = await machine.counts()
    async with worker_of(fragile.house):
        handle = await fragile.house.client.start_workflow(
            "PythonExecution",
            {
                "user_query": "q",
                "task_objective": "t",
                "execution_folder_name": "retried",
                "approved_code": RAMP,
            },
            id=fresh,
            task_queue="runpermit",
            retry_policy=RetryPolicy(maximum_attempts=3),
        )
        error = await fragile.house.failure(handle)
    assert "retry" in str(error)
    assert await machine.since(before) == {}


async def reset_points(house: Any, handle: Any) -> tuple[str, list[int]]:
    """This very run, and every point to which Temporal can reset it."""
    run_id = (await handle.describe()).run_id
    run = house.client.get_workflow_handle(handle.id, run_id=run_id)
    kind = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    return run_id, [e.event_id async for e in run.fetch_history_events() if e.event_type == kind]


async def reset(house: Any, workflow_id: str, run_id: str, point: int) -> Any:
    """The run that begins at `point` of another one's history."""
    answer = await house.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=house.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            reason="a test of resets",
            request_id=str(uuid.uuid4()),
            workflow_task_finish_event_id=point,
        )
    )
    return house.client.get_workflow_handle(
        workflow_id, run_id=answer.run_id, result_type=PythonServiceResult
    )


async def to_its_end(house: Any, run: Any) -> None:
    """Nobody approves anything any more; what is to be put back is put back."""
    async with asyncio.timeout(60):
        while (await run.describe()).status is WorkflowExecutionStatus.RUNNING:
            with contextlib.suppress(RPCError):
                state = await house.state(run)
                if state.approval_interrupt_data is not None:
                    await run.signal("reject")
                if state.pending_restore is not None:
                    await run.signal(f"restore-{state.pending_restore.revision}")
            await asyncio.sleep(0.2)


async def test_a_stopped_and_restored_ramp_is_neither_repeated_nor_restored_again_wherever_reset(
    fragile: Own, worker_of: Any, begin: Begin
) -> None:
    house = fragile.house
    async with worker_of(house):
        ramp = await begin()
        await ramp.reaches(3)
        await ramp.handle.signal("stop", {"operator": "jd"})
        assert await ramp.answered() is Stage.AWAITING_RESTORE
        state = await house.state(ramp.handle)
        await ramp.handle.signal(f"restore-{state.pending_restore.revision}")
        await house.failure(ramp.handle)
        assert await ramp.machine.number(SETPOINT) == pytest.approx(ramp.start)
        stood = await ramp.count()
        run_id, points = await reset_points(house, ramp.handle)
        for point in points:
            run = await reset(house, ramp.handle.id, run_id, point)
            await to_its_end(house, run)
            assert await ramp.count() == stood, f"reset to event {point} wrote again"


async def test_a_reset_while_it_asks_what_to_restore_writes_nothing_but_what_restores(
    fragile: Own, worker_of: Any, begin: Begin
) -> None:
    house = fragile.house
    async with worker_of(house):
        ramp = await begin()
        await ramp.reaches(3)
        for kernel in house.kernels():
            os.kill(kernel, signal.SIGKILL)
        assert await ramp.answered() is Stage.AWAITING_RESTORE
        stood = await ramp.count()
        run_id, points = await reset_points(house, ramp.handle)
        run = await reset(house, ramp.handle.id, run_id, points[-1])
        async with asyncio.timeout(30):
            while (state := await house.state(run)).pending_restore is None:
                assert not state.current_stage.is_final, state.failure_reason
                await asyncio.sleep(0.1)
        assert await ramp.count() == stood
        await run.signal(f"restore-{state.pending_restore.revision}")
        await house.failure(run)
        assert await ramp.machine.number(SETPOINT) == pytest.approx(ramp.start)
        assert await ramp.count() == stood + 1


async def test_a_reset_while_it_rehearses_needs_an_approval_of_its_own(
    fragile: Own, worker_of: Any, machine: Machine
) -> None:
    house = fragile.house
    async with worker_of(house):
        before = await machine.counts()
        handle = await house.start(RAMP)
        await house.reach(handle, Stage.REHEARSING)
        run_id, points = await reset_points(house, handle)
        run = await reset(house, handle.id, run_id, points[-1])
        pending = await house.question(run)
        await run.signal("approve")  # one that names no revision
        state = await house.state(run)
        assert state.approval_interrupt_data is not None
        assert state.approval_interrupt_data.sha256 == pending.sha256
        await to_its_end(house, run)
        assert await machine.since(before) == {}


async def test_a_reset_while_it_applies_ends_the_ramp_and_begins_none(
    fragile: Own, worker_of: Any, begin: Begin
) -> None:
    house = fragile.house
    async with worker_of(house):
        ramp = await begin()
        await ramp.reaches(3)
        run_id, points = await reset_points(house, ramp.handle)
        run = await reset(house, ramp.handle.id, run_id, points[-1])
        await to_its_end(house, run)
        stood = await ramp.stands()
        assert stood < PLANNED
        assert await ramp.machine.number(SETPOINT) == pytest.approx(ramp.start)
        assert forwarded(fragile.journal, ramp.handle.id) == {SETPOINT: stood}


async def test_what_is_finished_is_not_repeated_wherever_it_is_reset(
    fragile: Own, worker_of: Any, machine: Machine
) -> None:
    house = fragile.house
    async with worker_of(house):
        # It ends where it began: only that its permit is used up tells it from one to be applied.
        handle, pending = await rehearsed(house, machine, program("there_and_back"))
        before = await machine.counts()
        await applied(house, handle, pending)
        assert await machine.since(before) == {SETPOINT: 4}
        run_id, points = await reset_points(house, handle)
        for point in points:
            run = await reset(house, handle.id, run_id, point)
            await to_its_end(house, run)
            assert await machine.since(before) == {SETPOINT: 4}, f"reset to event {point}"
        assert forwarded(fragile.journal, handle.id) == {SETPOINT: 4}
