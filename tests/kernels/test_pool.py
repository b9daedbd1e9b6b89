"""Kernels that wait: how they are taken, replaced and ended."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from kernels import pool as pool_module
from kernels import scratch
from kernels.interface import RunOutcome
from kernels.live import LiveKernel, start_kernel
from kernels.pool import KernelPool
from runpermit.errors import ContainerConfigurationError, ContainerConnectivityError
from runpermit.models import Isolation

OpenKernels = Callable[..., AbstractAsyncContextManager[KernelPool]]
RunProgram = Callable[..., Awaitable[RunOutcome]]
Processes = Callable[[], set[int]]


@pytest.fixture(params=["full", "none"])
def isolation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the folders of this test's workers alone."""
    with tempfile.TemporaryDirectory(prefix="rp-", dir="/tmp") as folder:
        path = Path(folder)
        path.chmod(0o711)
        monkeypatch.setattr(scratch, "ROOT", path)
        yield path


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(150):
        while not happened():  # noqa: ASYNC110  (another process does it)
            await asyncio.sleep(0.02)


def kill(processes: set[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


async def run(kernel: LiveKernel, code: str, **values: Any) -> RunOutcome:
    known = {"timeout": 30, "attempt": 1, "on_stdout": lambda _: None}
    return (await kernel.run(code, **known | values)).collect(keep_files=True)


async def test_a_kernel_that_waits_is_taken_at_once_and_replaced(
    kernels: OpenKernels, work: Path
) -> None:
    async with kernels(pool=1, preload=["decimal", "no_such_module"]) as pool:
        assert pool.isolation in {Isolation.FULL, Isolation.NONE}
        for _ in range(3):
            await until(lambda: pool.ready == 1)
            async with pool.session(work) as kernel:
                # None was started for it: another one is ready only once it has been.
                assert pool.ready == 0
                outcome = await run(
                    kernel, "import os, sys; results = {'d': 'decimal' in sys.modules}"
                )
            assert outcome.results == {"d": True}


async def test_where_none_waits_one_is_started_without_what_it_may_not_need(
    kernels: OpenKernels, work: Path
) -> None:
    async with kernels(pool=0) as pool, pool.session(work) as kernel:
        outcome = await run(
            kernel, "import sys; results = {n: n in sys.modules for n in ('numpy', 'epics')}"
        )
        assert outcome.results == {"numpy": False, "epics": False}
        with pytest.raises(RuntimeError, match="one program"):
            await run(kernel, "results = {}")


async def test_an_idle_kernel_that_died_is_replaced(
    kernels: OpenKernels, work: Path, processes: Processes
) -> None:
    async with kernels(pool=1, preload=[]) as pool:
        await until(lambda: pool.ready == 1)
        before = processes()
        kill(before)
        await until(lambda: pool.ready == 1 and not before & processes() and bool(processes()))
        async with pool.session(work) as kernel:
            assert (await run(kernel, "results = {}")).error is None


async def test_a_kernel_that_waited_too_long_is_renewed(
    kernels: OpenKernels, processes: Processes
) -> None:
    async with kernels(pool=1, preload=[], max_idle=1.5) as pool:
        await until(lambda: pool.ready == 1)
        before = processes()
        await until(lambda: not before & processes())
        await until(lambda: pool.ready == 1)


async def test_closing_leaves_nothing(
    kernels: OpenKernels,
    work: Path,
    processes: Processes,
    place: Path,
) -> None:
    before = processes()
    async with kernels(pool=1, preload=[]) as pool:
        session = pool.session(work)
        await session.__aenter__()
        await until(lambda: pool.ready == 1)
        assert processes() != before
        assert len(os.listdir(place)) == 1  # noqa: PTH208  (asyncio's own way is a thread)
    assert processes() == before
    assert not os.listdir(place)  # noqa: PTH208


@pytest.mark.slow
async def test_nothing_outlives_a_worker_that_is_killed(
    isolation: str, work: Path, processes: Processes, place: Path
) -> None:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, str(work), isolation, str(place)),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"begun\n"
    below = processes() - {worker.pid}
    assert len(below) > 1
    worker.kill()
    await worker.wait()
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
    (stale,) = place.iterdir()  # noqa: ASYNC240
    with scratch.scratch_folder() as fresh:
        assert not stale.exists()
        assert fresh.exists()
    assert not fresh.exists()


WORKER = """
import asyncio, sys
from pathlib import Path
from kernels import pool as pool_module
from kernels import scratch
from kernels.opening import open_kernels
from runpermit.config import KernelsSettings
scratch.ROOT = Path(sys.argv[3])
async def main():
    settings = KernelsSettings(isolation=sys.argv[2], pool=1, preload=[])
    async with open_kernels(settings) as pool:
        while pool.ready == 0:
            await asyncio.sleep(0.02)
        async with pool.session(Path(sys.argv[1])) as kernel:
            while pool.ready == 0:
                await asyncio.sleep(0.02)
            code = "print('begun')\\nwhile True: pass"
            said = lambda text: print(text, end='', flush=True)
            await kernel.run(code, timeout=60, attempt=1, on_stdout=said)
asyncio.run(main())
"""


async def test_cancelling_ends_the_kernel(run_program: RunProgram, processes: Processes) -> None:
    before = processes()
    begun = asyncio.Event()
    task = asyncio.create_task(
        run_program("print('begun')\nwhile True: pass", on_stdout=lambda _: begun.set())
    )
    await asyncio.wait_for(begun.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes() == before


async def test_an_error_of_the_listener_is_raised_and_ends_the_kernel(
    run_program: RunProgram, processes: Processes
) -> None:
    def listen(_: str) -> None:
        raise LookupError("no listener")

    before = processes()
    with pytest.raises(LookupError):
        await run_program("print(1, flush=True)\nimport time\ntime.sleep(60)", on_stdout=listen)
    assert processes() == before


async def test_a_kernel_that_dies_before_the_code_began_is_an_infrastructure_error(
    kernels: OpenKernels, work: Path, processes: Processes
) -> None:
    async with kernels() as pool, pool.session(work) as kernel:
        kill(processes())
        await asyncio.wait({kernel.ended})
        with pytest.raises(ContainerConnectivityError, match="before the code began"):
            await run(kernel, "results = {}")


async def test_a_kernel_that_cannot_start_says_why(
    kernels: OpenKernels, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kernels() as pool:
        monkeypatch.setattr(pool._launcher, "_limits", {"RLIMIT_NO": 1}, raising=False)
        monkeypatch.setattr("kernels.sandbox.resource_limits", lambda _: {"RLIMIT_NO": 1})
        with pytest.raises(ContainerConnectivityError) as failure:
            async with pool.session(work):
                pass
    assert "before it was ready" in failure.value.message
    assert "RLIMIT_NO" in failure.value.message


async def test_no_error_ends_the_keeping_of_the_pool(
    kernels: OpenKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    async def fail(*how: Any, **also: Any) -> LiveKernel:
        tried.append(asyncio.get_running_loop().time())
        if len(tried) < 3:
            raise KeyError("nobody foresaw it")
        return await start_kernel(*how, **also)

    monkeypatch.setattr(pool_module, "start_kernel", fail)
    monkeypatch.setattr(pool_module, "_AGAIN_AT_FIRST", 0.1)
    async with kernels(pool=1) as pool:
        await until(lambda: pool.ready == 1)
    assert tried[1] - tried[0] >= 0.1
    assert tried[2] - tried[1] >= 0.2


async def test_an_environment_that_is_none_is_refused_by_its_setting(
    kernels: OpenKernels, tmp_path: Path
) -> None:
    with pytest.raises(ContainerConfigurationError, match=r"kernels\.environment = "):
        async with kernels(environment=tmp_path):
            pass


async def test_an_idle_kernel_holds_no_circuit_and_a_program_s_arrives_at_the_listener(
    kernels: OpenKernels, work: Path
) -> None:
    async with kernels(pool=1, preload=["epics"]) as pool:
        await until(lambda: pool.ready == 1)
        async with pool.session(work) as kernel:
            kernel.listener.settimeout(0)
            with pytest.raises(BlockingIOError):
                kernel.listener.accept()
            running = asyncio.create_task(
                run(kernel, "import epics; epics.PV('X').wait_for_connection(1); results = {}")
            )
            kernel.listener.settimeout(20)
            circuit, _ = await asyncio.to_thread(kernel.listener.accept)
            with circuit:
                assert circuit.recv(2) == b"\x00\x00"  # CA_PROTO_VERSION
            assert (await running).error is None
