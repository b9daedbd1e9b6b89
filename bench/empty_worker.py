"""What Temporal alone costs: a worker of a workflow with activities, one signal, one update."""

import asyncio
import os
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

QUEUE = "empty"
ACTIVITIES = 3


@activity.defn
async def nothing() -> None:
    """Do nothing."""


@workflow.defn
class Empty:
    """Some activities, then a signal, then some more."""

    def __init__(self) -> None:
        self._signalled = False

    @workflow.run
    async def run(self, before: int = ACTIVITIES, after: int = 0) -> None:
        """Run `before`, wait, and run `after`."""
        await self._activities(before)
        await workflow.wait_condition(lambda: self._signalled)
        await self._activities(after)

    async def _activities(self, count: int) -> None:
        for _ in range(count):
            await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=10))

    @workflow.signal
    def go(self) -> None:
        """Let it go on."""
        self._signalled = True

    @workflow.update
    def decide(self) -> str:
        """The same, with an answer."""
        self._signalled = True
        return "accepted"


async def main() -> None:
    """Serve until killed."""
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
    print("ready", flush=True)
    await Worker(client, task_queue=QUEUE, workflows=[Empty], activities=[nothing]).run()


if __name__ == "__main__":
    asyncio.run(main())
