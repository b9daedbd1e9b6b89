"""Runs one activity as the table in `retries.py` says, and raises our own exceptions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError, is_cancelled_exception

from runpermit.errors import WorkflowError
from runpermit.failures import unwrap
from runpermit.names import host_queue
from workflows.retries import Step, step_limits
from workflows.steps import Timeouts

Task = TypeVar("Task")
Answer = TypeVar("Answer")


async def run_step(
    step: Step,
    activity: Callable[[Task], Awaitable[Answer]],
    task: Task,
    *,
    timeouts: Timeouts,
    summary: str,
    host: str | None = None,
    run_seconds: float | None = None,
) -> Answer:
    """The activity's answer. Raises PythonExecutorException; cancellation passes as it is.

    With `host` it runs on that host's own queue. A cancelled step is waited for, so that nothing
    goes on behind the workflow's back.
    """
    limits = step_limits(step, timeouts, run_seconds)
    return await _typed(
        activity,
        workflow.execute_activity(
            activity.__name__,
            task,
            result_type=RawValue,
            task_queue=host_queue(host) if host else None,
            start_to_close_timeout=limits.start_to_close,
            schedule_to_start_timeout=limits.schedule_to_start,
            schedule_to_close_timeout=limits.schedule_to_close,
            heartbeat_timeout=limits.heartbeat,
            retry_policy=limits.retry_policy,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary,
        ),
    )


async def run_local_step(
    step: Step,
    activity: Callable[[Task], Awaitable[Answer]],
    task: Task,
    *,
    timeouts: Timeouts,
    summary: str,
) -> Answer:
    """As `run_step`, for what is pure and fast: without a trip over the server."""
    limits = step_limits(step, timeouts)
    return await _typed(
        activity,
        workflow.execute_local_activity(
            activity.__name__,
            task,
            result_type=RawValue,
            start_to_close_timeout=limits.start_to_close,
            schedule_to_close_timeout=limits.schedule_to_close,
            retry_policy=limits.retry_policy,
            summary=summary,
        ),
    )


async def _typed(
    activity: Callable[[Task], Awaitable[Answer]], step: Awaitable[RawValue]
) -> Answer:
    """The answer of `step`, our own exceptions, or a cancellation though the step ended.

    It is read here: what somebody completed by hand with anything else would fail the workflow's
    task for ever, were Temporal to read it.
    """
    before = cancel_requests()
    try:
        answer = await step
    except FailureError as failure:
        if is_cancelled_exception(failure):
            raise
        if cancel_requests() == before:
            raise unwrap(failure) from failure
        raise asyncio.CancelledError from failure
    # A step that is deaf to cancellation gives its answer; whoever said stop wants no next step.
    if cancel_requests() > before:
        raise asyncio.CancelledError
    return _read(activity, answer.payload.data)


def _read(activity: Callable[[Task], Awaitable[Answer]], answer: bytes) -> Answer:
    """What the activity says. Raises WorkflowError for what it can't have said."""
    kind = get_type_hints(activity)["return"]
    if kind is type(None):  # whatever it says, nobody asked
        return cast("Answer", None)
    try:
        return cast("Answer", TypeAdapter(kind).validate_json(answer or b"null"))
    except ValidationError:
        name = activity.__name__
        raise WorkflowError(
            f"The step {name} was completed by hand, or by another version of the worker, with "
            "what is no answer of it.",
            name,
        ) from None


def cancel_requests() -> int:
    """How often this task was cancelled, those included that were taken already."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0
