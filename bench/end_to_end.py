"""From a request to its result, beside an empty workflow with a warm kernel, and beside nbclient.

Ours starts no kernel on the way: the pool has done so before. nbclient starts one each time.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from uuid import uuid4

import nbformat
from nbclient import NotebookClient
from temporalio.client import Client

from bench.empty_worker import QUEUE, Empty
from bench.report import Row
from bench.warm_kernel import WarmKernel
from demo.stack import Stack, process, running_stack
from runpermit import PythonExecutionRequest, RunpermitClient

ROUNDS = 10
PAUSE = 1.5  # s, for the pool to be filled again
BUDGET = 1.5
AGAINST_NBCLIENT = 1 / 8


async def one_execution(client: RunpermitClient) -> float:
    """Trivial code that is given, from start to result."""
    request = PythonExecutionRequest(
        user_query="1+1",
        task_objective="1+1",
        execution_folder_name="bench",
        approved_code="results = {'sum': 1 + 1}",
    )
    begun = time.perf_counter()
    await client.execute(request)
    return time.perf_counter() - begun


async def one_empty_workflow(client: Client) -> float:
    """An empty workflow, signalled as soon as it runs."""
    begun = time.perf_counter()
    handle = await client.start_workflow(Empty.run, id=f"empty-{uuid4()}", task_queue=QUEUE)
    await handle.signal(Empty.go)
    await handle.result()
    return time.perf_counter() - begun


async def one_notebook(directory: Path) -> float:
    """The same code as a notebook, by nbclient, which starts its kernel."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("results = {'sum': 1 + 1}")]
    )
    begun = time.perf_counter()
    runner = NotebookClient(notebook, kernel_name="python3", resources={"path": str(directory)})
    await runner.async_execute()
    return time.perf_counter() - begun


async def rounds(stack: Stack, directory: Path) -> list[tuple[float, float, float]]:
    """Ours, Temporal and a warm kernel alone, nbclient; in turns."""
    ours = await RunpermitClient.connect(stack.address)
    bare = await Client.connect(stack.address)
    taken = []
    async with WarmKernel() as kernel:
        for _ in range(ROUNDS):
            await asyncio.sleep(PAUSE)
            execution = await one_execution(ours)
            alone = await one_empty_workflow(bare) + await kernel.run("1+1")
            taken.append((execution, alone, await one_notebook(directory)))
    return taken[1:]  # the first of each warms caches


async def measure() -> list[Row]:
    """Two rows: against the parts alone, and against nbclient."""
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
        ):
            taken = await rounds(stack, directory)
    ours = median(execution for execution, _, _ in taken)
    return [
        Row(
            "end to end: beside its parts",
            ours,
            median(alone for _, alone, _ in taken),
            budget=BUDGET,
        ),
        Row(
            "end to end: beside nbclient",
            ours,
            median(notebook for _, _, notebook in taken),
            budget=AGAINST_NBCLIENT,
        ),
    ]
