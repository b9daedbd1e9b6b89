"""Rehearse: run a program whose writes go nowhere, and tell what it would write."""

import asyncio
from datetime import UTC, datetime

from temporalio import activity

from activities.declarations import known
from activities.folder import write_whole
from activities.gated_run import Program, run_gated
from activities.heartbeat import StdoutTail, heartbeating
from activities.house import House
from activities.notebook import attempt_notebook
from activities.openings import opening
from gate.client import Rehearsed, SessionMode
from kernels.interface import RunOutcome
from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeRuntimeError,
    ContainerConfigurationError,
    PythonExecutorException,
    WorkflowError,
)
from runpermit.limits import ViolationType
from runpermit.models import Plan
from runpermit.models.wire import PLAN_BYTES
from runpermit.plans import build_plan
from runpermit.text import one_line
from workflows.steps import RehearseTask

_PROBLEM = 500


class Rehearsal:
    """Repeatable: nothing reaches the machine, and no file is kept but the notebook."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="rehearse")
    async def rehearse(self, task: RehearseTask) -> Plan:
        """What the program would write.

        Raises ChannelLimitsViolationError for a write, or a declaration, that the limits do not
        allow, unless it came behind a read of what a write moves and nothing models: then the plan
        is incomplete; what went wrong with a program that had neither written nor declared
        anything; ContainerConfigurationError where the limits can't be read; and
        ServiceUnavailableError where gate or model is lost.
        """
        about = opening(self._house, SessionMode.REHEARSE, task.attempt, guards=task.guards)
        what = Program(task.code, task.folder.work, task.attempt, task.timeout)
        tail = StdoutTail()
        async with heartbeating(tail):
            run = await run_gated(self._house, what, about, tail.add)
            if run.interruption is not None:
                raise run.interruption
            outcome = run.outcome()
            if run.report.ended and outcome.error is not None:
                raise outcome.error
            if run.report.rehearsed is None:
                raise WorkflowError("The gate tells nothing of the rehearsal.", "rehearsing")
            try:
                _refuse_long(task, outcome)
                plan = await self._plan(outcome, run.report.rehearsed, refused=run.report.refused)
                _refuse_large(plan, task.attempt)
            except ChannelLimitsViolationError as refused:
                raise _blamed(refused) from None
            finally:
                await asyncio.to_thread(_write_down, task, outcome)
        return plan

    async def _plan(self, outcome: RunOutcome, told: Rehearsed, *, refused: int) -> Plan:
        error = outcome.error
        # What was computed from an orbit that nothing modelled says nothing of the code.
        blamed = refused and not (told.writes and told.unknown)
        if error is not None and (blamed or not (told.writes or outcome.declared)):
            raise error
        declared, channels = await known(self._house, outcome.declared, told.channels)
        return build_plan(
            writes=told.writes,
            left_out=told.left_out,
            channels=channels,
            reads=told.reads,
            unknown=told.unknown,
            machine=told.machine,
            upstream=told.upstream,
            declared=declared,
            problem=_problem(error),
            waits=list(outcome.waits),
            at=datetime.now(UTC),
        )


def _blamed(refused: ChannelLimitsViolationError) -> PythonExecutorException:
    """What a refusal means: where nobody could judge the write, other code is refused as well."""
    if refused.violation_type != ViolationType.LIMITS_UNAVAILABLE:
        return refused
    return ContainerConfigurationError(refused.message)


def _refuse_long(task: RehearseTask, outcome: RunOutcome) -> None:
    """Raise CodeRuntimeError for a program that would be cut off in the middle of its writes."""
    takes = outcome.execution_time + outcome.waited
    if outcome.error is None and takes > task.run_seconds:
        raise CodeRuntimeError(
            f"With all its waits the program would take {takes:.0f} s, and it may run for "
            f"{task.run_seconds:g} s (timeouts.run, or timeout_seconds of the request): wait less, "
            "or do less in one program.",
            "",
            task.attempt,
        )


def _refuse_large(plan: Plan, attempt: int) -> None:
    """Raise CodeRuntimeError for a plan that nobody could be shown, nor Temporal carry."""
    size = len(plan.model_dump_json().encode())
    if size > PLAN_BYTES:
        raise CodeRuntimeError(
            f"The plan has {size >> 10} KB, {PLAN_BYTES >> 10} KB are allowed: write fewer "
            "channels, or shorter arrays, in one program.",
            "",
            attempt,
        )


def _problem(error: PythonExecutorException | None) -> str:
    return "" if error is None else one_line(error.message, _PROBLEM)


def _write_down(task: RehearseTask, outcome: RunOutcome) -> None:
    """The notebook of the rehearsal: what was printed and drawn is evidence for its plan."""
    note = "As it was rehearsed: its writes went nowhere."
    if outcome.error is not None:
        note += f" It ended with: {outcome.error.message}"
    text = attempt_notebook(task.notebook, task.code, note, outcome=outcome)
    write_whole(task.notebook.notebook_path, text)
