"""Execute: run a program that reads, in a kernel of its own, behind the gate."""

import asyncio

from temporalio import activity

from activities.collection import collect
from activities.drafting import in_force
from activities.gated_run import Program, run_gated
from activities.heartbeat import StdoutTail, heartbeating
from activities.house import House
from activities.journal_copy import copy_journal
from activities.openings import opening
from gate.client import SessionMode
from runpermit.models import write_warnings
from workflows.steps import ApplyTask, Executed, ExecuteTask

NOTES = 10


class Execution:
    """Runs code on this host."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="execute")
    async def execute(self, task: ExecuteTask) -> Executed:
        """Run a program that reads. Repeatable: a lost worker's run is simply done again.

        Raises ChannelLimitsViolationError for the first write that it tries, with which it ends,
        ServiceUnavailableError where the gate is lost.
        """
        now = await in_force(self._house)
        about = opening(self._house, SessionMode.READ_ONLY, task.attempt)
        tail = StdoutTail()
        async with heartbeating(tail):
            run = await run_gated(self._house, program(task), about, tail.add)
        told = run.report
        await asyncio.to_thread(copy_journal, task.folder.journal, about, told)
        if run.interruption is not None:
            raise run.interruption
        success = await asyncio.to_thread(collect, task, run.outcome())
        return Executed(
            success=success,
            isolation=about.isolation,
            in_force=now,
            warnings=[*write_warnings(told.writes, told.outcomes), *told.notes[:NOTES]],
        )


def program(task: ExecuteTask | ApplyTask) -> Program:
    """What a task wants run."""
    return Program(task.code, task.folder.work, task.attempt, task.timeout)
