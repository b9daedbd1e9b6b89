"""Restore: have the gate put back what an execution left changed."""

from temporalio import activity

from activities.heartbeat import heartbeating
from activities.house import House
from runpermit.models import RestoreReport
from workflows.steps import RestoreTask


class Restoring:
    """Resumable: the gate knows from its journal how far it came, and goes on there."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="restore")
    async def restore(self, task: RestoreTask) -> RestoreReport:
        """Ends with the connection: cancelled, the gate stops behind the write under way.

        Raises ServiceUnavailableError while the gate does not answer.
        """
        async with heartbeating():
            return await self._house.gate.restore(
                task.execution, task.operator, task.statement, task.signature
            )

    @activity.defn(name="leave")
    async def leave(self, task: RestoreTask) -> None:
        """Somebody decided: the gate lists the machine no more.

        Raises ServiceUnavailableError while the gate does not answer.
        """
        await self._house.gate.leave(task.execution, task.operator)
