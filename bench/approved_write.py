"""From a request to the result of a write that was approved, beside what its parts take.

Ours rehearses, asks, applies, has the journal settle it, and verifies: two kernels, both waiting.
The client answers by the update `decide` as soon as it sees the question. The parts: a workflow of
as many activities that do nothing, and twice the same write in a warm kernel, at the IOC.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from uuid import uuid4

from temporalio.client import Client

from bench.empty_worker import QUEUE, Empty
from bench.report import Row
from bench.warm_kernel import WarmKernel
from demo.ring import client_environment
from demo.stack import process, running_stack
from runpermit import PythonExecutionRequest, RunpermitClient

ROUNDS = 8
PAUSE = 5.0  # s, for the pool to be filled again, with two kernels
BUDGET = 1.5
# prepare, rehearse, draft; apply, settle, verify, conclude.
ACTIVITIES = (3, 4)
LOOK = 0.01
CODE = """
write_channel("SR:OPERATOR:NOTE", "benched")
results = {}
"""
# Ours connects anew with each kernel.
PLAIN = """
import epics
epics.ca.clear_cache()
epics.pv._PVcache_.clear()
epics.caput("SR:OPERATOR:NOTE", "benched", wait=True)
"""


async def one_execution(client: RunpermitClient) -> tuple[float, float]:
    """Seconds from start to result, of which the update took the second number."""
    request = PythonExecutionRequest(
        user_query="a note",
        task_objective="leave a note",
        execution_folder_name="bench",
        approved_code=CODE,
    )
    begun = time.perf_counter()
    execution = await client.start(request)
    while (pending := await execution.pending_approval()) is None:  # noqa: ASYNC110  (a query)
        await asyncio.sleep(LOOK)
    asked = time.perf_counter()
    await execution.approve("bench", pending.sha256)
    decided = time.perf_counter() - asked
    await execution.result()
    return time.perf_counter() - begun, decided


async def one_empty_workflow(client: Client) -> tuple[float, float]:
    """The same of a workflow whose activities do nothing."""
    begun = time.perf_counter()
    handle = await client.start_workflow(
        Empty.run, args=list(ACTIVITIES), id=f"empty-{uuid4()}", task_queue=QUEUE
    )
    while (await handle.describe()).history_length < _WAITING:  # noqa: ASYNC110
        await asyncio.sleep(LOOK)
    asked = time.perf_counter()
    await handle.execute_update(Empty.decide)
    decided = time.perf_counter() - asked
    await handle.result()
    return time.perf_counter() - begun, decided


# Started, and for each activity three events of its own and three of the workflow task behind it.
_WAITING = 1 + 3 + 6 * ACTIVITIES[0]


async def measure() -> list[Row]:
    """Two rows: from request to result, and the answer to the question alone."""
    taken = []
    with tempfile.TemporaryDirectory(prefix="rp-bench-", dir="/tmp") as name:
        directory = Path(name)
        async with (
            running_stack(directory) as stack,
            process(
                "empty",
                *(sys.executable, "-m", "bench.empty_worker"),
                directory=directory,
                environment=stack.environment,
            ),
            WarmKernel(client_environment(f"127.0.0.1:{stack.ring_port}")) as kernel,
        ):
            ours = await RunpermitClient.connect(stack.address)
            bare = await Client.connect(stack.address)
            for _ in range(ROUNDS):
                await asyncio.sleep(PAUSE)
                execution, decided = await one_execution(ours)
                alone, updated = await one_empty_workflow(bare)
                twice = await kernel.run(PLAIN) + await kernel.run(PLAIN)
                taken.append((execution, alone + twice, decided, updated))
    taken = taken[1:]  # the first of each warms caches
    whole, parts, decisions, updates = (median(column) for column in zip(*taken, strict=True))
    return [
        Row("approved write: beside its parts", whole, parts, budget=BUDGET),
        Row("approval: beside an empty update", decisions, updates, budget=BUDGET),
    ]
