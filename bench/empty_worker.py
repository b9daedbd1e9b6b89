"""What Temporal alone costs: a worker of a workflow with three activities and one signal."""

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
    """Three activities, then a signal."""

    def __init__(self) -> None:
        self._signalled = False

    @workflow.run
    async def run(self) -> None:
        """Run them, and wait."""
        for _ in range(ACTIVITIES):
            await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=10))
        await workflow.wait_condition(lambda: self._signalled)

    @workflow.signal
    def go(self) -> None:
        """End it."""
        self._signalled = True


async def main() -> None:
    """Serve until killed."""
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
    print("ready", flush=True)
    await Worker(client, task_queue=QUEUE, workflows=[Empty], activities=[nothing]).run()


if __name__ == "__main__":
    asyncio.run(main())
