"""What a program may use at most, and what it is told where it wanted more."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kernels.cgroup import Cgroups, find_cgroups
from kernels.interface import RunOutcome
from runpermit.config import KernelsSettings
from runpermit.errors import CodeRuntimeError

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
