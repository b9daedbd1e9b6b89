"""Control groups, which bound a kernel and all its children together, where they can be made."""

import asyncio
import contextlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from runpermit.config import KernelsSettings

CONTROLLERS = ("memory", "pids", "cpu")
MIB = 1 << 20

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_PREFIX, _ASIDE = "runpermit-", "worker"
_PERIOD = 100_000  # µs, over which `cpus` is measured
_REMOVAL = 50  # tries, 20 ms apart, until Linux has buried the last process
_numbers = itertools.count()


@dataclass(frozen=True)
class Cgroups:
    """Where this process may make control groups: a folder for each controller, or one for all."""

    parents: dict[str, Path]
    unified: bool

    def create(self, settings: KernelsSettings) -> "Cgroup":
        """Make a group with the limits of `settings`. Raises OSError."""
        name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
        group = Cgroup({kind: folder / name for kind, folder in self.parents.items()}, self.unified)
        try:
            for folder in set(group.folders.values()):
                folder.mkdir()
            for kind, folder in group.folders.items():
                for file, value in _limits(kind, settings, unified=self.unified).items():
                    (folder / file).write_text(value)
                if kind == "memory":
                    _count_swap(folder, settings, unified=self.unified)
        except OSError:
            group.try_to_remove()
            raise
        return group

    def remove_stale(self) -> None:
        """Remove the groups of workers that are gone."""
        for folder in set(self.parents.values()):
            for group in folder.glob(f"{_PREFIX}*-*"):
                worker = group.name.removeprefix(_PREFIX).partition("-")[0]
                if not Path("/proc", worker).exists():
                    with contextlib.suppress(OSError):
                        group.rmdir()


@dataclass(frozen=True)
class Cgroup:
    """One kernel's group."""

    folders: dict[str, Path]
    unified: bool

    @property
    def entrances(self) -> list[Path]:
        """The files that a process writes 0 to in order to join."""
        return [folder / "cgroup.procs" for folder in sorted(set(self.folders.values()))]

    def out_of_memory(self) -> bool:
        """Whether a process in it was killed for want of memory."""
        folder = self.folders.get("memory")
        if folder is None:
            return False
        try:
            text = (
                folder / ("memory.events" if self.unified else "memory.oom_control")
            ).read_text()
        except OSError:
            return False
        counts = dict(line.split() for line in text.splitlines())
        return counts.get("oom_kill", "0") != "0"

    def set_idle(self, *, idle: bool) -> None:
        """Let it have only processor time that nobody else wants, or no longer so."""
        folder = self.folders.get("cpu")
        if folder is not None:
            # Linux before 5.15 has no such file.
            with contextlib.suppress(OSError):
                (folder / "cpu.idle").write_text(str(int(idle)))

    async def remove(self) -> None:
        """Remove it, after its processes ended."""
        for _ in range(_REMOVAL):
            if self.try_to_remove():
                return
            await asyncio.sleep(0.02)

    def try_to_remove(self) -> bool:
        """Whether it is gone."""
        for folder in set(self.folders.values()):
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not any(folder.exists() for folder in self.folders.values())


def find_cgroups() -> Cgroups | None:
    """Where groups can be made, found by making one; None where that is nowhere."""
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:
        return None
    own = {kinds: path.lstrip("/") for _, kinds, path in (line.split(":", 2) for line in lines)}
    unified = (_ROOT / "cgroup.controllers").exists()
    if unified:
        parents = _unified(_ROOT / own.get("", ""))
    else:
        parents = {
            kind: _ROOT / kinds / path
            for kinds, path in own.items()
            for kind in kinds.split(",")
            if kind in CONTROLLERS and _allows(_ROOT / kinds / path)
        }
    return Cgroups(parents, unified) if parents else None


def _unified(own: Path) -> dict[str, Path]:
    """Version 2: beside this process, since nobody joins a group below one with processes."""
    try:
        if own.name == _ASIDE:
            parent, is_free = own.parent, not _processes(own.parent)
        else:
            parent, is_free = own, _stepped_aside(own)
        usable = _enable(parent) if is_free else []
    except OSError:
        return {}
    return dict.fromkeys(usable, parent) if _allows(parent) else {}


def _stepped_aside(own: Path) -> bool:
    """Leave this process's group for one below it, as systemd's DelegateSubgroup= does since 254.

    Only where nobody else is in it but our parent, the doctor for one. Raises OSError.
    """
    here = _processes(own)
    if not here <= {os.getpid(), os.getppid()}:
        return False
    aside = own / _ASIDE
    aside.mkdir(exist_ok=True)
    for process in here:
        (aside / "cgroup.procs").write_text(str(process))
    return True


def _processes(group: Path) -> set[int]:
    return {int(process) for process in (group / "cgroup.procs").read_text().split()}


def _enable(parent: Path) -> list[str]:
    """Give groups below `parent` all controllers; which they have then. Raises OSError."""
    there = (parent / "cgroup.controllers").read_text().split()
    control = parent / "cgroup.subtree_control"
    enabled = control.read_text().split()
    for kind in CONTROLLERS:
        if kind in there and kind not in enabled:
            with contextlib.suppress(OSError):
                control.write_text(f"+{kind}")
    return [kind for kind in CONTROLLERS if kind in control.read_text().split()]


def _allows(parent: Path) -> bool:
    trial = parent / f"{_PREFIX}{os.getpid()}-trial"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return False
    return os.access(parent / "cgroup.procs", os.W_OK)


def _limits(kind: str, settings: KernelsSettings, *, unified: bool) -> dict[str, str]:
    memory, quota = str(settings.memory * MIB), str(round(settings.cpus * _PERIOD))
    match kind, unified:
        case "memory", True:
            return {"memory.max": memory}
        case "memory", False:
            return {"memory.limit_in_bytes": memory}
        case "cpu", True:
            return {"cpu.max": f"{quota} {_PERIOD}"}
        case "cpu", False:
            return {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": quota}
        case _:
            return {"pids.max": str(settings.processes)}


def _count_swap(folder: Path, settings: KernelsSettings, *, unified: bool) -> None:
    """Have what lies in swap count as memory: else a program fills the host's swap."""
    # Linux has the file only where it counts swap.
    with contextlib.suppress(OSError):
        if unified:
            (folder / "memory.swap.max").write_text("0")
        else:
            memory = str(settings.memory * MIB)
            (folder / "memory.memsw.limit_in_bytes").write_text(memory)
