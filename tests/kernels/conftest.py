import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kernels.interface import RunOutcome
from kernels.live import LiveKernel
from kernels.opening import open_kernels
from kernels.pool import KernelPool
from runpermit.config import KernelsSettings

RunProgram = Callable[..., Awaitable[RunOutcome]]
OpenKernels = Callable[..., AbstractAsyncContextManager[KernelPool]]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def isolation() -> str:
    """How the tests' kernels are isolated; a module that runs both parametrises it."""
    return "full"


@pytest.fixture
def kernels(isolation: str) -> OpenKernels:
    """Opens kernels of this `isolation`, none in advance, with the settings given."""

    @asynccontextmanager
    async def opened(**values: Any) -> AsyncIterator[KernelPool]:
        known: dict[str, Any] = {"isolation": isolation, "pool": 0}
        async with open_kernels(KernelsSettings.model_validate(known | values)) as pool:
            yield pool

    return opened


@pytest.fixture
def run_program(kernels: OpenKernels, work: Path) -> RunProgram:
    """Runs code in a fresh kernel with the files in `work`."""

    async def run(
        code: str,
        *,
        timeout: float = 30,
        on_stdout: Callable[[str], None] = lambda _: None,
        begun: Callable[[LiveKernel], None] = lambda _: None,
        rehearse: bool = False,
        **settings: Any,
    ) -> RunOutcome:
        async with kernels(**settings) as pool, pool.session(work) as kernel:
            begun(kernel)
            ended = await kernel.run(
                code, timeout=timeout, attempt=2, on_stdout=on_stdout, rehearse=rehearse
            )
            return await asyncio.to_thread(ended.collect, keep_files=True)

    return run


@pytest.fixture
def processes() -> Callable[[], set[int]]:
    """The ids of all processes below this one."""

    def below() -> set[int]:
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    status = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if status[0] != "Z":
                    parents[int(entry.name)] = int(status[1])
        found = {os.getpid()}
        while new := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= new
        return found - {os.getpid()}

    return below
