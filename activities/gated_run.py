"""One run of one program: a kernel, its session at the gate, and what the gate says of it."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from temporalio import activity

from activities.heartbeat import Lifeline
from activities.house import House
from gate.client import GateSession, Opening, SessionMode, SessionReport
from kernels.interface import FinishedRun, Kernel, RunOutcome
from kernels.output import Output
from runpermit.errors import (
    ExecutionTimeoutError,
    PythonExecutorException,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.limits import ViolationType
from runpermit.models import Verdict


@dataclass(frozen=True)
class Program:
    """What runs: `code`, for `timeout` seconds at most, in a copy of the files in `work`."""

    code: str
    work: Path
    attempt: int
    timeout: float


@dataclass(frozen=True)
class GatedRun:
    """A run that is over: killed, fenced, told by the gate, and only then collected.

    writes: whether it could write, so that it is never simply done again.
    refused: whether a write was refused while it ran, and not by the fence alone.
    interruption: the cancellation that ended it, where one did.
    printed: what came of its output, head and tail where it was much; a killed one has no other.
    """

    ended: "asyncio.Future[RunOutcome]"
    writes: bool
    refused: bool
    report: SessionReport
    interruption: asyncio.CancelledError | None
    printed: str

    def outcome(self) -> RunOutcome:
        """What came of the program. A refusal is its error, even where the code swallowed it.

        Raises what the kernel raised.
        """
        outcome = self._killed() if self.ended.cancelled() else self.ended.result()
        if self._was_ended_by_the_gate():
            return replace(outcome, results=None, error=self._why_ended())
        cut_short = self.ended.cancelled() or isinstance(outcome.error, ExecutionTimeoutError)
        # What the fence refuses of a run that was cut short is no fault of the code.
        if self.report.refused > 0 and (self.refused or not cut_short):
            return replace(outcome, results=None, error=self._refusal())
        return outcome

    def _was_ended_by_the_gate(self) -> bool:
        """Whether the gate ended it, and refused nothing but what came behind that."""
        return bool(self.report.ended) and all(
            refusal.violation_type == ViolationType.NOT_ALLOWED for refusal in self.report.refusals
        )

    def _why_ended(self) -> PythonExecutorException:
        why = f"The gate ended it: {self.report.ended}."
        if self.writes:
            return WorkflowError(why, "applying")
        return ServiceUnavailableError(why, "gate")

    def _refusal(self) -> PythonExecutorException:
        for refusal in self.report.refusals:
            return refusal.error()
        return WorkflowError(
            f"{self.report.refused} writes were refused, and the gate does not tell which. Its "
            "journal does.",
            "applying",
        )

    def _killed(self) -> RunOutcome:
        error: PythonExecutorException = WorkflowError("Stopped before its end.", "applying")
        if self.interruption is not None and activity.is_worker_shutdown():
            error = ServiceUnavailableError("Its worker ended before it.", "worker")
        return RunOutcome(self.printed, results=None, figures=(), execution_time=0, error=error)


async def run_gated(
    house: House,
    program: Program,
    opening: Opening,
    on_stdout: Callable[[str], None],
    lifeline: Lifeline | None = None,
) -> GatedRun:
    """Run `program` with `opening`'s rights, and fence it however it ends.

    In a read-only session the first refused write ends the run. With a `lifeline` the session lives
    by the heartbeats that Temporal acknowledged, and ends where it is cut. Raises
    ServiceUnavailableError where the gate is lost, and what kernel or gate raise at opening with
    the verdict NOT_OPENED.
    """
    async with AsyncExitStack() as stack:
        try:
            kernel = await stack.enter_async_context(house.kernels.session(program.work))
            session = await stack.enter_async_context(
                house.gate.session(opening, kernel.listener, self_renewing=lifeline is None)
            )
        except PythonExecutorException as error:
            error.technical_details["verdict"] = Verdict.NOT_OPENED
            raise
        if lifeline is not None:
            lifeline.acknowledged = session.renew
            lifeline.wrote = lambda: session.wrote
        return await _run(kernel, session, program, opening.mode, on_stdout, lifeline)


async def _run(
    kernel: Kernel,
    session: GateSession,
    program: Program,
    mode: SessionMode,
    on_stdout: Callable[[str], None],
    lifeline: Lifeline | None,
) -> GatedRun:
    output = Output()

    def printed(text: str) -> None:
        output.add(text)
        on_stdout(text)

    run = asyncio.ensure_future(
        kernel.run(
            program.code,
            timeout=program.timeout,
            attempt=program.attempt,
            on_stdout=printed,
            rehearse=mode is SessionMode.REHEARSE,
        )
    )
    ends: set[asyncio.Future[Any]] = {run, session.lost, session.closed_by_gate}
    if mode is SessionMode.READ_ONLY:
        ends.add(session.refused)
    if lifeline is not None:
        ends.add(lifeline.cut)
    interruption = None
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError as cancelled:
        # What it wrote must be known all the same: it is raised again once that is written down.
        interruption = cancelled
    run.cancel()
    interruption = await to_the_end(run) or interruption
    refused = session.refused.done()
    closing = asyncio.ensure_future(session.close(completed=not refused and _succeeded(run)))
    interruption = await to_the_end(closing) or interruption
    report = closing.result()
    # Of a rehearsal nothing is kept; what is refused or done again must not find its own files
    # among its inputs.
    again = mode is SessionMode.READ_ONLY and interruption is not None
    keep_files = mode is not SessionMode.REHEARSE and not report.refused and not again
    ended = asyncio.ensure_future(_collect(run, keep_files=keep_files))
    interruption = await to_the_end(ended) or interruption
    writes = mode is SessionMode.APPLY
    return GatedRun(ended, writes, refused, report, interruption, output.text)


def _succeeded(run: asyncio.Future[FinishedRun]) -> bool:
    return not run.cancelled() and run.exception() is None and run.result().succeeded


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
