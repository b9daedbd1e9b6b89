"""Apply: run what was approved, once, while Temporal and gate both stand by it."""

import asyncio

from temporalio import activity

from activities.collection import collect
from activities.drafting import take_stock
from activities.execution import NOTES, program
from activities.folder import write_whole
from activities.gated_run import GatedRun, run_gated, to_the_end
from activities.heartbeat import Lifeline, StdoutTail
from activities.house import House
from activities.journal_copy import copy_journal
from activities.openings import opening
from activities.settling import Applied
from gate.client import Opening, SessionMode
from runpermit.errors import (
    ContainerConfigurationError,
    PlanOutdatedError,
    PythonExecutorException,
    WorkflowError,
)
from runpermit.models import Isolation, Verdict, write_warnings
from workflows.steps import ApplyTask, Executed, InForce, Stock


class Apply:
    """Runs code that writes. At most once: one attempt, and a permit that the gate takes once."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="apply")
    async def apply(self, task: ApplyTask) -> None:
        """Run an approved program; what it left waits in the folder for `settle`.

        The worker that applies asks its own settings: the question may have waited for days.
        Raises ContainerConfigurationError where writes are not possible any more, PlanOutdatedError
        where what was approved is not what would run, WorkflowError where this is not the one time,
        and ChannelLimitsViolationError for the first refused write, whatever the code made of it.
        """
        self._refuse_writes()
        if activity.info().attempt > 1:
            raise WorkflowError(
                "An apply was to be repeated, as nothing of ours ever asks: it writes nothing.",
                "applying",
                technical_details={"verdict": Verdict.NOT_OPENED},
            )
        about = opening(
            self._house,
            SessionMode.APPLY,
            task.attempt,
            permit=task.permit,
            guards=task.guards,
        )
        tail = StdoutTail()
        lifeline = Lifeline(tail)
        async with lifeline.beating():
            now = await self._look(task)
            run = await run_gated(self._house, program(task), about, tail.add, lifeline)
            finishing = asyncio.ensure_future(self._finish(task, about, run, now))
            # Of what could write Temporal hears as of its end.
            await to_the_end(finishing)
        finishing.result()

    def _refuse_writes(self) -> None:
        if not self._house.settings.control_system.writes_enabled:
            setting = "control_system.writes_enabled = false"
        elif self._house.kernels.isolation is Isolation.NONE:
            setting = 'kernels.isolation = "none", which never writes'
        else:
            return
        raise ContainerConfigurationError(
            f"The settings of this worker do not allow writes any more: {setting}.",
            {"verdict": Verdict.NOT_OPENED},
        )

    async def _look(self, task: ApplyTask) -> InForce:
        """What is in force now. Raises PlanOutdatedError where it is not what was approved."""
        try:
            stock = await take_stock(self._house, task.folder)
            _refuse_changes(task, stock)
        except PythonExecutorException as error:
            error.technical_details["verdict"] = Verdict.NOT_OPENED
            raise
        return InForce(gate=stock.gate, limits=stock.limits)

    async def _finish(self, task: ApplyTask, about: Opening, run: GatedRun, now: InForce) -> None:
        """Write down what was written, then all the rest."""
        told = run.report
        await asyncio.to_thread(copy_journal, task.folder.journal, about, told)
        success = await asyncio.to_thread(collect, task, run.outcome())
        executed = Executed(
            success=success,
            isolation=about.isolation,
            in_force=now,
            warnings=[*write_warnings(told.writes, told.outcomes), *told.notes[:NOTES]],
        )
        applied = Applied(permit=task.permit.id, executed=executed)
        await asyncio.to_thread(write_whole, task.folder.applied, applied.model_dump_json())


def _refuse_changes(task: ApplyTask, now: Stock) -> None:
    """Raise PlanOutdatedError where inputs, limits or packages are not those approved."""
    approved = task.permit.revision
    same = {
        "input files": now.inputs == approved.inputs,
        "limits": now.gate.limits_sha256 == approved.limits_sha256,
        "kernel packages": now.kernel_environment == approved.kernel_environment,
    }
    changed = [name for name, unchanged in same.items() if not unchanged]
    if changed:
        raise PlanOutdatedError(
            f"Not run: since the approval of revision {approved.sha256[:6]} these changed: "
            f"{', '.join(changed)}.",
            [f"The {name} are others now" for name in changed],
        )
