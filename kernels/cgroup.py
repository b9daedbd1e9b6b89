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

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "runpermit-"
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
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    own = {kinds: path.lstrip("/") for _, kinds, path in (line.split(":", 2) for line in lines)}
    if (_ROOT / "cgroup.controllers").exists():
        parents = _unified(_ROOT / own.get("", ""))
    else:
        parents = {
            kind: _ROOT / kinds / path
            for kinds, path in own.items()
            for kind in kinds.split(",")
            if kind in CONTROLLERS and _allows(_ROOT / kinds / path)
        }
    unified = (_ROOT / "cgroup.controllers").exists()
    return Cgroups(parents, unified) if parents else None


def _unified(own: Path) -> dict[str, Path]:
    """Version 2: beside this process, since a group with processes has none below it."""
    for parent in (own, own.parent):
        try:
            there = (parent / "cgroup.controllers").read_text().split()
            control = parent / "cgroup.subtree_control"
            for kind in set(CONTROLLERS) & set(there) - set(control.read_text().split()):
                with contextlib.suppress(OSError):
                    control.write_text(f"+{kind}")
            usable = [kind for kind in CONTROLLERS if kind in control.read_text().split()]
        except OSError:
            continue
        if usable and _allows(parent):
            return dict.fromkeys(usable, parent)
    return {}


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
