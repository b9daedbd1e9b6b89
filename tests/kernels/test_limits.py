"""What a program may use at most, and what it is told where it wanted more."""

import asyncio
import os
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kernels.cgroup import Cgroups, find_cgroups
from kernels.interface import RunOutcome
from runpermit.config import KernelsSettings
from runpermit.errors import CodeRuntimeError
from tests.kernels.conftest import OpenKernels

RunProgram = Callable[..., Awaitable[RunOutcome]]
WITHOUT_CGROUP = pytest.mark.skipif(find_cgroups() is None, reason="this host gives no cgroup")


async def test_memory_of_a_process(run_program: RunProgram) -> None:
    outcome = await run_program("results = {'x': len(bytes(2**31))}", memory=1024)
    assert isinstance(outcome.error, CodeRuntimeError)
    assert outcome.error.message.startswith("MemoryError")


@WITHOUT_CGROUP
async def test_memory_of_all_processes_and_files_together(run_program: RunProgram) -> None:
    fill = "open(f'/dev/shm/{n}', 'wb').write(bytes(2**26))"
    outcome = await run_program(
        f"for n in range(40): {fill}\nresults = {{}}", memory=1024, tmp_size=4000
    )
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "kernels.memory" in outcome.error.message


async def test_a_fork_bomb_ends_itself(run_program: RunProgram) -> None:
    outcome = await run_program(
        "import os, time\ncount = 0\ntry:\n    while True:\n"
        "        if os.fork() == 0:\n            time.sleep(60); os._exit(0)\n        count += 1\n"
        "except BlockingIOError:\n    results = {'count': count}",
        processes=64,
    )
    assert outcome.error is None, outcome.error
    assert outcome.results is not None
    assert 10 < outcome.results["count"] < 64


FILES_ON_THEIR_WAY = """\
import array, os, socket, time
sent = array.array("i", [os.open("/dev/null", os.O_RDONLY)] * 250)
kept = []
try:
    while True:
        kept.append(socket.socketpair())
        for _ in range(40):
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, sent)]
            kept[-1][0].sendmsg([b"x"], rights, socket.MSG_DONTWAIT)
except OSError as error:
    print(error.strerror, flush=True)
while not os.path.exists("end"):
    time.sleep(0.02)
results = {}
"""


async def test_open_files_on_their_way_keep_no_other_kernel_from_starting(
    kernels: OpenKernels, work: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "input").write_text("1")
    full = asyncio.Event()
    async with kernels() as pool, pool.session(work) as rogue:
        running = asyncio.create_task(
            rogue.run(FILES_ON_THEIR_WAY, timeout=60, attempt=1, on_stdout=lambda _: full.set())
        )
        async with asyncio.timeout(50):
            await full.wait()
        async with pool.session(other) as kernel:
            code = "results = {'x': open('input').read()}"
            ended = await kernel.run(code, timeout=30, attempt=1, on_stdout=lambda _: None)
            outcome = await asyncio.to_thread(ended.collect, keep_files=False)
        running.cancel()
        await asyncio.wait({running})
    assert outcome.results == {"x": "1"}


async def test_whoever_opens_kernels_may_have_as_many_open_files_as_the_host_allows(
    kernels: OpenKernels,
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    try:
        async with kernels():
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            assert soft == hard == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("isolation", ["full", "none"])
async def test_size_of_a_file(run_program: RunProgram) -> None:
    outcome = await run_program(
        "open('large', 'wb').write(bytes(3 * 2**20)); results = {}", file_size=2
    )
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "File too large" in outcome.error.message


@pytest.mark.parametrize(
    ("place", "setting"),
    [("/sandbox/work", "work_size"), ("/tmp", "tmp_size"), ("/dev/shm", "tmp_size")],  # noqa: S108
)
async def test_size_of_what_can_be_written(
    run_program: RunProgram, place: str, setting: str
) -> None:
    outcome = await run_program(
        f"open('{place}/large', 'wb').write(bytes(3 * 2**20)); results = {{}}", **{setting: 2}
    )
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "No space left" in outcome.error.message


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["full", "none"])
async def test_processor_time(run_program: RunProgram) -> None:
    outcome = await run_program("while True: pass", cpu_seconds=4)
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "kernels.cpu_seconds" in outcome.error.message


@WITHOUT_CGROUP
async def test_a_control_group_goes_with_its_kernel(run_program: RunProgram) -> None:
    groups = find_cgroups()
    assert groups is not None
    outcome = await run_program("results = {}")
    assert outcome.error is None
    assert [
        f for folder in groups.parents.values() for f in folder.glob(f"*-{os.getpid()}-*")
    ] == []


def test_groups_of_workers_that_are_gone_are_removed(tmp_path: Path) -> None:
    groups = Cgroups({"memory": tmp_path}, unified=True)
    (tmp_path / "runpermit-4194305-0").mkdir()
    own = groups.create(KernelsSettings(memory=1100))
    assert (own.folders["memory"] / "memory.max").read_text() == str(1100 * 2**20)
    groups.remove_stale()
    assert [folder.name for folder in tmp_path.iterdir()] == [own.folders["memory"].name]
