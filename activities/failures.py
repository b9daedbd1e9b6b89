"""Turns every exception of an activity into the one wire form; its category decides the retry."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import FailureError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from runpermit.errors import PythonExecutorException, ServiceUnavailableError, WorkflowError
from runpermit.failures import to_application_error

log = structlog.get_logger()

GRACE = 5.0  # s that a step has left once its worker is told to end
# Cut short they would leave the machine half changed.
_TO_THEIR_END = ("apply", "restore")


class FailureInterceptor(Interceptor):
    """Wraps every activity of a worker."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """The activity with typed failures, and its ids bound to the log."""
        return _TypedFailures(next)


class _TypedFailures(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401
        info = activity.info()
        with structlog.contextvars.bound_contextvars(
            workflow_id=info.workflow_id,
            run_id=info.workflow_run_id,
            activity=info.activity_type,
            attempt=info.attempt,
        ):
            try:
                async with _ending_with_the_worker(info.activity_type):
                    return await self.next.execute_activity(input)
            except PythonExecutorException as error:
                log.warning("activity failed", error=type(error).__name__, message=error.message)
                raise _crossing(error) from None
            except FailureError:
                raise
            except asyncio.CancelledError:
                if not activity.is_worker_shutdown():
                    raise
                shutdown = ServiceUnavailableError("The worker is shutting down.", "worker")
                raise _crossing(shutdown) from None
            except Exception as error:
                # What nobody foresaw is not repeated.
                log.exception("unforeseen error in an activity")
                unforeseen = WorkflowError(
                    f"Unforeseen error in step {info.activity_type}: "
                    f"{type(error).__name__}: {error}",
                    "failed",
                )
                # Without its cause, whose text has no bound and may have no encoding.
                raise _crossing(unforeseen) from None


@asynccontextmanager
async def _ending_with_the_worker(step: str) -> AsyncIterator[None]:
    """Cancel a step that outlives its worker's grace, unless it writes to the machine."""
    running = asyncio.current_task()

    async def end() -> None:
        await activity.wait_for_worker_shutdown()
        await asyncio.sleep(GRACE)
        if running is not None:
            running.cancel()

    if step in _TO_THEIR_END:
        yield
        return
    ending = asyncio.ensure_future(end())
    try:
        yield
    finally:
        ending.cancel()


def _crossing(error: PythonExecutorException) -> FailureError:
    return to_application_error(
        error,
        non_retryable=not error.should_retry_execution(),
        retry_after=getattr(error, "retry_after", None),
    )
