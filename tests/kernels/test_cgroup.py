"""Where control groups are made, and what is written there; plain folders stand for Linux's."""

import os
from pathlib import Path

import pytest

from kernels import cgroup
from kernels.cgroup import Cgroups, find_cgroups
from runpermit.config import KernelsSettings

ALL = "cpu memory pids"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hierarchy of version 2, in which this process is in /unit/worker."""
    folder = tmp_path / "cgroup"
    folder.mkdir()
    (folder / "cgroup.controllers").write_text(f"cpuset io {ALL}")
    monkeypatch.setattr(cgroup, "_ROOT", folder)
    in_group("/unit/worker", tmp_path, monkeypatch)
    return folder


def in_group(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").write_text(f"0::{path}\n")
    monkeypatch.setattr(cgroup, "_OWN", tmp_path / "own")


def group(folder: Path, *processes: int, enabled: str = ALL) -> Path:
    folder.mkdir()
    for name, text in {
        "cgroup.controllers": f"cpuset io {ALL}",
        "cgroup.subtree_control": enabled,
        "cgroup.procs": "".join(f"{process}\n" for process in processes),
    }.items():
        (folder / name).write_text(text)
    return folder


def test_groups_lie_beside_the_one_that_systemd_made_for_the_worker(root: Path) -> None:
    unit = group(root / "unit")
    worker = group(unit / "worker", os.getpid(), enabled="")
    found = find_cgroups()
    assert found == Cgroups(dict.fromkeys(["memory", "pids", "cpu"], unit), unified=True)
    # Some controllers can be given to groups below one with processes, which nobody can join then.
    assert (worker / "cgroup.subtree_control").read_text() == ""


def test_what_the_unit_does_not_have_is_not_promised(root: Path) -> None:
    group(root / "unit", enabled="pids")
    (root / "unit" / "cgroup.controllers").write_text("cpuset pids")
    group(root / "unit" / "worker", os.getpid())
    found = find_cgroups()
    assert found is not None
    assert list(found.parents) == ["pids"]


@pytest.mark.parametrize("with_its_parent", [False, True])
def test_a_process_alone_in_its_unit_makes_room_for_groups(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, with_its_parent: bool
) -> None:
    """As systemd before 254 leaves it."""
    in_group("/slice/unit", tmp_path, monkeypatch)
    group(root / "slice", 1)
    here = [os.getpid(), *([os.getppid()] if with_its_parent else [])]
    unit = group(root / "slice" / "unit", *here)
    found = find_cgroups()
    assert found is not None
    assert set(found.parents.values()) == {unit}
    assert int((unit / "worker" / "cgroup.procs").read_text()) in here


def test_where_others_are_in_the_group_nobody_is_moved(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_group("/slice/session", tmp_path, monkeypatch)
    group(root / "slice", 1)
    session = group(root / "slice" / "session", 1, os.getpid(), enabled="")
    assert find_cgroups() is None
    assert not (session / "worker").exists()
    assert (session / "cgroup.subtree_control").read_text() == ""


def test_below_a_group_with_processes_there_are_none(root: Path) -> None:
    unit = group(root / "unit", 1, enabled="")
    group(unit / "worker", os.getpid())
    assert find_cgroups() is None
    assert (unit / "cgroup.subtree_control").read_text() == ""


def test_a_group_of_somebody_else_is_left_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systemd's slices are systemd's, though root and the user of a desktop could write there."""
    in_group("/slice/session", tmp_path, monkeypatch)
    slice_ = group(root / "slice", enabled="")
    group(slice_ / "session", 1, os.getpid())
    assert find_cgroups() is None
    assert (slice_ / "cgroup.subtree_control").read_text() == ""


def test_a_group_gets_its_limits(root: Path) -> None:
    unit = group(root / "unit")
    settings = KernelsSettings(memory=1100, cpus=0.5, processes=40)
    made = Cgroups(dict.fromkeys(["memory", "pids", "cpu"], unit), unified=True).create(settings)
    folder = made.folders["memory"]
    assert {file.name: file.read_text() for file in folder.iterdir()} == {
        "memory.max": str(1100 * 2**20),
        "memory.swap.max": "0",
        "pids.max": "40",
        "cpu.max": "50000 100000",
    }


def test_the_end_for_want_of_memory_is_read_from_the_group(root: Path) -> None:
    unit = group(root / "unit")
    made = Cgroups({"memory": unit}, unified=True).create(KernelsSettings())
    events = made.folders["memory"] / "memory.events"
    assert not made.out_of_memory()
    events.write_text("low 0\nhigh 0\nmax 21\noom 1\noom_kill 0\noom_group_kill 0\n")
    assert not made.out_of_memory()
    events.write_text("low 0\nhigh 0\nmax 21\noom 1\noom_kill 1\noom_group_kill 0\n")
    assert made.out_of_memory()
