"""The pool's cost: a claim of a waiting kernel, and a start, beside a bare ipykernel's start."""

import asyncio
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from bench.report import Row
from kernels.interface import Kernels
from kernels.opening import open_kernels
from kernels.pool import KernelPool
from runpermit.config import KernelsSettings

ROUNDS = 7
CLAIM_BUDGET_SECONDS = 0.025
COLD_BUDGET = 1.1


async def bare() -> tuple[float, float]:
    """An ipykernel, started and asked for 1+1: seconds until it answers, and of the answer."""
    manager: Any = AsyncKernelManager(kernel_name="python3")
    begun = time.perf_counter()
    await manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=60)
        started = time.perf_counter() - begun
        begun = time.perf_counter()
        await client.execute_interactive("1+1", timeout=60, output_hook=lambda _: None)
        return started, time.perf_counter() - begun
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def ours(kernels: Kernels, work: Path) -> tuple[float, float]:
    """One of our kernels: seconds until it is ours, and of a trivial program."""
    begun = time.perf_counter()
    async with kernels.session(work) as kernel:
        claimed = time.perf_counter() - begun
        begun = time.perf_counter()
        ended = await kernel.run("results = {}", timeout=60, attempt=1, on_stdout=lambda _: None)
        outcome = await asyncio.to_thread(ended.collect, keep_files=True)
        if outcome.error is not None:
            raise outcome.error
        return claimed, time.perf_counter() - begun


async def filled(pool: KernelPool) -> None:
    """Wait until a kernel waits."""
    while not pool.ready:  # noqa: ASYNC110  (a pool tells nobody)
        await asyncio.sleep(0.05)
    # What it took to start it must not meet what is measured next.
    await asyncio.sleep(0.3)


async def measure() -> list[Row]:
    """Cold and warm, the rounds of ours and the bare one in turns."""
    with tempfile.TemporaryDirectory(prefix="rp-bench-", dir="/tmp") as name:
        work = Path(name)
        async with open_kernels(KernelsSettings(pool=0)) as kernels:
            cold = [((await bare())[0], (await ours(kernels, work))[0]) for _ in range(ROUNDS)]
        warm = []
        async with open_kernels(KernelsSettings(pool=1)) as kernels:
            for _ in range(ROUNDS):
                await filled(kernels)
                warm.append((await ours(kernels, work), await bare()))
    return [
        Row(
            "kernel: start, pool empty",
            median(cold_ours for _, cold_ours in cold),
            median(cold_bare for cold_bare, _ in cold),
            budget=COLD_BUDGET,
        ),
        Row(
            "kernel: claim of a waiting one",
            median(claimed for (claimed, _), _ in warm),
            CLAIM_BUDGET_SECONDS,
            budget=1.0,
        ),
        Row(
            "kernel: a trivial program",
            median(ran for (_, ran), _ in warm),
            median(ran for _, (_, ran) in warm),
        ),
    ]
