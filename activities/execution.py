"""Execute and apply: run a program in a kernel of its own, behind the gate."""

import asyncio

from temporalio import activity

from activities.collection import collect
from activities.drafting import in_force, take_stock
from activities.gated_run import GatedRun, run_gated, to_the_end
from activities.heartbeat import StdoutTail, heartbeating
from activities.house import House
from activities.journal_copy import copy_journal
from gate.client import Opening, SessionMode
from runpermit.errors import (
    ContainerConfigurationError,
    PythonExecutorException,
    WorkflowError,
)
from runpermit.models import ExecutionMode, Isolation, Revision, WriteReport, write_warnings
from workflows.steps import NOT_OPENED, Executed, ExecuteTask, InForce, Stock

_NOTES = 10


class Execution:
    """Runs code on this host."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="execute")
    async def execute(self, task: ExecuteTask) -> Executed:
        """Run a program that reads. Repeatable: a lost worker's run is simply done again.

        Raises ChannelLimitsViolationError for the first write that it tries, with which it ends,
        ServiceUnavailableError where the gate is lost, WorkflowError for a mode that writes: a run
        that may be repeated never gets it.
        """
        if task.mode is not ExecutionMode.READ_ONLY:
            raise WorkflowError(f"A repeatable run may not be {task.mode}.", "executing")
        return await self._run(task, SessionMode.READ_ONLY)

    @activity.defn(name="apply")
    async def apply(self, task: ExecuteTask) -> Executed:
        """Run an approved program that writes. Scheduled with one attempt, so at most once.

        The worker that applies asks its own settings: the question may have waited for days.
        Raises ContainerConfigurationError where writes are not possible any more, WorkflowError
        where what was approved is not what would run, or where this is not the one time; and
        ChannelLimitsViolationError for the first refused write, whatever the code made of it.
        """
        self._refuse_writes()
        info = activity.info()
        if task.approved is None:
            raise _not_opened("Nothing was approved: no write.")
        if info.attempt > 1 or info.workflow_run_id != task.approved.first_run_id:
            raise _not_opened(
                "This is a reset or a repetition of a run that may have written: it writes "
                "nothing. Start a new execution."
            )
        return await self._run(task, SessionMode.APPLY)

    def _refuse_writes(self) -> None:
        if not self._house.settings.control_system.writes_enabled:
            setting = "control_system.writes_enabled = false"
        elif self._house.kernels.isolation is Isolation.NONE:
            setting = 'kernels.isolation = "none", which never writes'
        else:
            return
        raise ContainerConfigurationError(
            f"The settings of this worker do not allow writes any more: {setting}.",
            {"verdict": NOT_OPENED},
        )

    async def _look(self, task: ExecuteTask) -> InForce:
        """What is in force now. Raises WorkflowError where it is not what was approved."""
        try:
            if task.approved is None:
                return await in_force(self._house)
            stock = await take_stock(self._house, task.folder)
        except PythonExecutorException as error:
            error.technical_details["verdict"] = NOT_OPENED
            raise
        _refuse_changes(task, task.approved, stock)
        return InForce(gate=stock.gate, limits=stock.limits)

    async def _run(self, task: ExecuteTask, mode: SessionMode) -> Executed:
        """Run the program, and keep what it left. Its errors tell what it wrote."""
        now = await self._look(task)
        info = activity.info()
        opening = Opening(
            execution=info.workflow_id or "",
            run_id=info.workflow_run_id or "",
            attempt=task.attempt,
            mode=mode,
            isolation=self._house.kernels.isolation,
        )
        tail = StdoutTail()
        async with heartbeating(tail):
            run = await run_gated(self._house, task, opening, tail.add)
        finishing = asyncio.ensure_future(self._finish(task, opening, run, now))
        interruption = await to_the_end(finishing)
        # Of what could write Temporal hears as of its end, which tells what it wrote.
        if interruption is not None and mode is SessionMode.READ_ONLY:
            raise interruption
        return finishing.result()

    async def _finish(
        self, task: ExecuteTask, opening: Opening, run: GatedRun, now: InForce
    ) -> Executed:
        """Write down what was written, then all the rest."""
        mode, told, journal = opening.mode, run.report, task.folder.journal
        writes = WriteReport.of(told.writes, told.forwarded, journal)
        try:
            await asyncio.to_thread(copy_journal, journal, opening, told)
            if run.interruption is not None and mode is SessionMode.READ_ONLY:
                raise run.interruption
            success = await asyncio.to_thread(collect, task, run.outcome())
        except PythonExecutorException as error:
            if mode is SessionMode.APPLY:
                error.technical_details.update(writes.details())
            raise
        return Executed(
            success=success,
            isolation=opening.isolation,
            in_force=now,
            writes=writes if mode is SessionMode.APPLY else None,
            warnings=[*write_warnings(told.writes, told.outcomes), *told.notes[:_NOTES]],
        )


def _refuse_changes(task: ExecuteTask, approved: Revision, now: Stock) -> None:
    """Raise WorkflowError where code, inputs, limits or packages are not those approved."""
    same = {
        "code": task.code == approved.code,
        "input files": now.inputs == approved.inputs,
        "limits": now.gate.limits_sha256 == approved.limits_sha256,
        "kernel packages": now.kernel_environment == approved.kernel_environment,
    }
    changed = [name for name, unchanged in same.items() if not unchanged]
    if changed:
        raise _not_opened(
            f"Not run: since the approval of revision {approved.sha256[:6]} these changed: "
            f"{', '.join(changed)}. Start the execution again."
        )


def _not_opened(message: str) -> WorkflowError:
    return WorkflowError(message, "applying", technical_details={"verdict": NOT_OPENED})
