"""What a kernel takes of the machine while its program runs."""

import contextlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from tests.security.catalogue import Effect
from tests.security.findings import Finding
from tests.security.lab import SANDBOX_USER, Lab

MEMORY = 1024  # MiB
PROCESSES = 64
# More than these is more than a kernel's share, in either kernel.
MOST_MEMORY = MEMORY * 1.25
MOST_THREADS = PROCESSES + 16
MOST_CIRCUITS = 12
_SEEN = 0.5  # s after which a kernel that runs must have been seen


class Watch:
    """Sees what a kernel takes while its program runs, from a thread of its own."""

    def __init__(self, lab: Lab, roots: list[int]) -> None:
        self.peaks = Peaks()
        self._lab = lab
        self._roots = roots
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds = time.monotonic() - self._begun
        self._end.set()
        self._thread.join()
        if self._failure is not None:
            raise RuntimeError("the watch failed") from self._failure

    def findings(self, effect: Effect) -> list[Finding]:
        peaks, found = self.peaks, []
        if self._seconds > _SEEN and not peaks.processes and effect is Effect.TOOK:
            found.append(Finding(effect, "not seen at all"))
        for much, most, what in (
            (peaks.memory, MOST_MEMORY, "MiB of memory"),
            (peaks.shared, MOST_MEMORY, "MiB of shared memory"),
            (peaks.processes, PROCESSES, "processes"),
            (peaks.threads, MOST_THREADS, "threads"),
            (peaks.circuits, MOST_CIRCUITS, "circuits to the IOC"),
        ):
            if much > most:
                found.append(Finding(Effect.TOOK, f"{much:.0f} {what}"))
        return found

    def _look(self) -> None:
        try:
            while not self._end.wait(0.15):
                for processes in self._groups():
                    self.peaks.see(processes, self._lab.ioc.circuits())
        except Exception as error:  # noqa: BLE001  (raised where the watch ends)
            self._failure = error

    def _groups(self) -> list[list[psutil.Process]]:
        """The processes of each kernel."""
        if self._lab.kind == "open":
            with contextlib.suppress(psutil.Error):
                return [
                    [
                        p
                        for root in self._roots
                        for p in psutil.Process(root).children(recursive=True)
                    ]
                ]
            return [[]]
        groups: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.uids().real == SANDBOX_USER:
                    namespace = str(Path(f"/proc/{process.pid}/ns/pid").readlink())
                    groups.setdefault(namespace, []).append(process)
        own = str(Path("/proc/self/ns/pid").readlink())
        return [group for namespace, group in groups.items() if namespace != own] or [[]]


@dataclass
class Peaks:
    """The most that was seen of a kernel while its program ran. Sizes in MiB."""

    memory: float = 0
    processes: int = 0
    threads: int = 0
    shared: float = 0
    circuits: int = 0
    _shared_before: float = field(default_factory=lambda: _meminfo("Shmem"))

    def see(self, processes: list[psutil.Process], circuits: int) -> None:
        memory, threads = 0.0, 0
        for process in processes:
            with contextlib.suppress(OSError, ValueError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
                threads += int(values["Threads"])
                # A process that has ended has no memory.
                for key in ("RssAnon", "RssShmem"):
                    memory += int(values.get(key, "0 kB").split()[0]) / 1024
        if memory > self.memory:
            # What processes have in common since they forked was counted for each of them.
            self.memory = max(self.memory, sum(map(_proportional, processes)))
        self.processes = max(self.processes, len(processes))
        self.threads = max(self.threads, threads)
        self.circuits = max(self.circuits, circuits)
        self.shared = max(self.shared, _meminfo("Shmem") - self._shared_before)


def _proportional(process: psutil.Process) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0


def _meminfo(key: str) -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return 0
