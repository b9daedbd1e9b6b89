"""Failures as they reach the workflow's side, through a real worker and server."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import structlog
from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.failures import FailureInterceptor
from runpermit import errors
from runpermit.failures import unwrap
from workflows.steps import AnalyseTask

ERRORS: dict[str, tuple[Any, bool]] = {
    "infrastructure": (errors.ServiceUnavailableError("No model.", "model"), True),
    "kernel": (errors.ContainerConnectivityError("No kernel.", "here", 0), True),
    "code": (errors.CodeRuntimeError("ZeroDivisionError", "trace", 1), False),
    "limits": (errors.ChannelLimitsViolationError("SR:X", 9, "MAX_EXCEEDED", "above"), False),
    "generation": (errors.CodeGenerationError("No Python.", 1, []), False),
    "timeout": (errors.ExecutionTimeoutError(5), False),
    "workflow": (errors.WorkflowError("Nobody came.", "expired"), False),
    "configuration": (errors.ContainerConfigurationError("limits.file is not set."), False),
    "request": (errors.InvalidRequestError("retries: too many", "retries"), False),
}


@pytest.fixture(autouse=True)
def log_as_the_worker_does() -> Iterator[None]:
    """In JSON: structlog's default takes minutes to draw a long message."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    yield
    structlog.reset_defaults()


@dataclass
class Steps:
    """One activity that fails as it is told, and counts how often it was tried."""

    tries: int = 0
    started: asyncio.Event = field(default_factory=asyncio.Event)

    @activity.defn(name="step")
    async def step(self, what: str) -> str:
        """Fail, or wait for the end of the worker."""
        self.tries += 1
        self.started.set()
        if what == "wait":
            await asyncio.sleep(60)
        if what == "busy":
            raise errors.ServiceUnavailableError("Busy.", "model", retry_after=37.5)
        if what == "own":
            raise ApplicationError("as it is", type="Own", non_retryable=True)
        if what == "unforeseen":
            _ = 1 / (self.tries - self.tries)
        if what == "unforeseen, with odd text":
            raise ValueError("\ud800" + "x" * 100_000)
        raise ERRORS[what][0]

    @activity.defn(name="read")
    async def read(self, task: AnalyseTask) -> str:
        """What is in its task."""
        self.tries += 1
        return task.code


@workflow.defn(name="OneStep")
class OneStep:
    @workflow.run
    async def run(self, what: str, attempts: int) -> str:
        novel = {"code": "results = {}", "novel": 1}
        step, task = ("read", novel) if what == "a newer task" else ("step", what)
        return await workflow.execute_activity(
            step,
            task,
            result_type=str,
            start_to_close_timeout=timedelta(seconds=50),
            retry_policy=RetryPolicy(
                maximum_attempts=attempts, initial_interval=timedelta(milliseconds=10)
            ),
        )


@dataclass
class Bench:
    """A worker with the interceptor, and workflows of one step."""

    client: Client
    queue: str
    steps: Steps

    async def start(self, what: str, attempts: int = 2) -> Any:
        return await self.client.start_workflow(
            "OneStep", args=[what, attempts], id=f"{self.queue}-wf", task_queue=self.queue
        )

    async def failure(self, what: str, attempts: int = 2) -> ApplicationError:
        handle = await self.start(what, attempts)
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
        activity_error = raised.value.cause
        assert isinstance(activity_error, ActivityError)
        assert isinstance(activity_error.cause, ApplicationError)
        return activity_error.cause


@asynccontextmanager
async def bench(client: Client) -> AsyncIterator[Bench]:
    steps, queue = Steps(), f"failures-{uuid.uuid4()}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[OneStep],
        activities=[steps.step, steps.read],
        interceptors=[FailureInterceptor()],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield Bench(client, queue, steps)


@pytest.mark.parametrize("what", ERRORS)
async def test_the_category_alone_decides_whether_temporal_repeats_a_step(
    what: str, client: Client
) -> None:
    error, repeated = ERRORS[what]
    async with bench(client) as here:
        failure = await here.failure(what)
    assert here.steps.tries == (2 if repeated else 1)
    assert failure.non_retryable is not repeated
    assert failure.type == type(error).__name__
    arrived = unwrap(failure)
    assert type(arrived) is type(error)
    assert arrived.message == error.message
    assert arrived.category is error.category


async def test_what_nobody_foresaw_is_told_and_not_repeated(client: Client) -> None:
    async with bench(client) as here:
        failure = await here.failure("unforeseen")
    assert here.steps.tries == 1
    arrived = unwrap(failure)
    assert isinstance(arrived, errors.WorkflowError)
    assert "Unforeseen error in step step: ZeroDivisionError" in arrived.message


async def test_a_huge_message_in_no_encoding_still_arrives(client: Client) -> None:
    async with bench(client) as here:
        arrived = unwrap(await here.failure("unforeseen, with odd text"))
    assert isinstance(arrived, errors.WorkflowError)
    assert "\\ud800xxx" in arrived.message
    assert len(arrived.message) < 10_000


async def test_a_task_of_a_newer_version_is_told_and_not_repeated(client: Client) -> None:
    async with bench(client) as here:
        failure = await here.failure("a newer task", attempts=3)
    assert failure.non_retryable
    arrived = unwrap(failure)
    assert isinstance(arrived, errors.UnreadableMessageError)
    assert arrived.field == "novel"
    assert arrived.is_workflow_error()
    assert "worker can't read" in arrived.message
    assert here.steps.tries == 0


async def test_temporal_s_own_failures_pass_as_they_are(client: Client) -> None:
    async with bench(client) as here:
        failure = await here.failure("own")
    assert (failure.type, failure.message) == ("Own", "as it is")


async def test_the_endpoint_s_retry_after_is_the_next_delay(client: Client) -> None:
    async with bench(client) as here:
        handle = await here.start("busy")
        await asyncio.wait_for(here.steps.started.wait(), 10)
        for _ in range(100):
            pending = (await handle.describe()).raw_description.pending_activities
            if pending and pending[0].HasField("last_failure"):
                break
            await asyncio.sleep(0.05)
        (step,) = pending
        delay = step.current_retry_interval.ToTimedelta()
        await handle.terminate()
    assert abs(delay.total_seconds() - 37.5) < 0.01
    assert here.steps.tries == 1


async def test_a_worker_that_shuts_down_leaves_the_step_to_the_next_one(client: Client) -> None:
    async with bench(client) as here:
        handle = await here.start("wait", attempts=2)
        await asyncio.wait_for(here.steps.started.wait(), 10)
    (step,) = (await handle.describe()).raw_description.pending_activities
    await handle.terminate()
    assert step.attempt == 2
    failure = step.last_failure.application_failure_info
    assert (failure.type, failure.non_retryable) == ("ServiceUnavailableError", False)
    assert "shutting down" in step.last_failure.message


async def test_a_cancelled_step_ends_cancelled(client: Client) -> None:
    async with bench(client) as here:
        handle = await here.start("wait")
        await asyncio.wait_for(here.steps.started.wait(), 10)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    events = [event.event_type async for event in handle.fetch_history_events()]
    assert EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED not in events


async def test_each_failure_is_logged_with_its_execution(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    async with bench(client) as here:
        await here.failure("code")
    told = capsys.readouterr().out
    assert "activity failed" in told
    assert f"{here.queue}-wf" in told
    assert "CodeRuntimeError" in told
