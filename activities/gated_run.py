"""One run of one program: a kernel, its session at the gate, and what the gate says of it."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from activities.house import House
from gate.client import GateSession, Opening, SessionMode, SessionReport
from kernels.interface import FinishedRun, Kernel, RunOutcome
from runpermit.errors import ExecutionTimeoutError, PythonExecutorException, WorkflowError
from workflows.steps import NOT_OPENED, ExecuteTask


@dataclass(frozen=True)
class GatedRun:
    """A run that is over: killed, fenced, told by the gate, and only then collected.

    refused: whether a write was refused while it ran, and not by the fence alone.
    interruption: the cancellation that ended it, where one did.
    """

    ended: "asyncio.Future[RunOutcome]"
    refused: bool
    report: SessionReport
    interruption: asyncio.CancelledError | None

    def outcome(self) -> RunOutcome:
        """What came of the program. A refusal is its error, even where the code swallowed it.

        Raises what the kernel raised.
        """
        outcome = _killed() if self.ended.cancelled() else self.ended.result()
        cut_short = self.ended.cancelled() or isinstance(outcome.error, ExecutionTimeoutError)
        # What the fence refuses of a run that was cut short is no fault of the code.
        if self.report.refused > 0 and (self.refused or not cut_short):
            return replace(outcome, results=None, error=self._refusal())
        return outcome

    def _refusal(self) -> PythonExecutorException:
        for refusal in self.report.refusals:
            return refusal.error()
        return WorkflowError(
            f"{self.report.refused} writes were refused, and the gate does not tell which. Its "
            "journal does.",
            "applying",
        )


async def run_gated(
    house: House, task: ExecuteTask, opening: Opening, on_stdout: Callable[[str], None]
) -> GatedRun:
    """Run the task's program with `opening`'s rights, and fence it however it ends.

    In a read-only session the first refused write ends the run. Raises ServiceUnavailableError
    where the gate is lost, and what kernel or gate raise at opening with the verdict NOT_OPENED.
    """
    async with AsyncExitStack() as stack:
        try:
            kernel = await stack.enter_async_context(house.kernels.session(task.folder.work))
            session = await stack.enter_async_context(house.gate.session(opening, kernel.listener))
        except PythonExecutorException as error:
            error.technical_details["verdict"] = NOT_OPENED
            raise
        return await _run(kernel, session, task, opening.mode, on_stdout)


async def _run(
    kernel: Kernel,
    session: GateSession,
    task: ExecuteTask,
    mode: SessionMode,
    on_stdout: Callable[[str], None],
) -> GatedRun:
    run = asyncio.ensure_future(
        kernel.run(task.code, timeout=task.timeout, attempt=task.attempt, on_stdout=on_stdout)
    )
    ends: set[asyncio.Future[Any]] = {run, session.lost}
    if mode is SessionMode.READ_ONLY:
        ends.add(session.refused)
    interruption = None
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError as cancelled:
        # What it wrote must be known all the same: it is raised again once that is written down.
        interruption = cancelled
    run.cancel()
    interruption = await to_the_end(run) or interruption
    refused = session.refused.done()
    closing = asyncio.ensure_future(session.close())
    interruption = await to_the_end(closing) or interruption
    report = closing.result()
    # What is refused or done again must not find its own files among its inputs.
    again = mode is SessionMode.READ_ONLY and interruption is not None
    ended = asyncio.ensure_future(_collect(run, keep_files=not report.refused and not again))
    interruption = await to_the_end(ended) or interruption
    return GatedRun(ended, refused, report, interruption)


async def _collect(run: asyncio.Future[FinishedRun], *, keep_files: bool) -> RunOutcome:
    finished = await run
    return await asyncio.to_thread(finished.collect, keep_files=keep_files)


async def to_the_end(work: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait until `work` is over, whatever comes; the cancellation that came meanwhile."""
    interruption = None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as cancelled:
            interruption = cancelled
    return interruption


def _killed() -> RunOutcome:
    error = WorkflowError("Ended before its end: stopped, or its worker was shut down.", "applying")
    return RunOutcome(stdout="", results=None, figures=(), execution_time=0, error=error)
