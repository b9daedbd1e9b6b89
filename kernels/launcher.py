"""What starts a kernel's process: in a sandbox, or as a plain process."""

from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from kernels.cgroup import MIB
from kernels.process import KernelProcess
from runpermit.config import KernelsSettings
from runpermit.models import Isolation

_OPEN_FILES = 1024


class Launched(NamedTuple):
    """A process that has begun to start a kernel, and the places as they are called in there.

    port: where its listener shall be, 0 where any free one will do.
    limits: of the kernel's resources, named as in `resource`.
    """

    process: KernelProcess
    runtime: str
    serialization: str
    port: int
    limits: dict[str, int]


class Launcher(Protocol):
    """Starts processes that run `inside/launch.py`."""

    @property
    def isolation(self) -> Isolation:
        """What stands between the code and the host."""
        ...

    def launch(
        self, handover: int, words: int, *, in_advance: bool
    ) -> AbstractAsyncContextManager[Launched]:
        """Start a process that inherits the open files `handover`, and `words` for what it says.

        At a low priority if `in_advance`, until `step_forward` of the process. On leaving,
        nothing of it is left. Raises OSError where it can't be started.
        """
        ...


def resource_limits(settings: KernelsSettings) -> dict[str, int]:
    """The limits of each of a kernel's processes, and of their number."""
    return {
        "RLIMIT_AS": settings.memory * MIB,
        "RLIMIT_CPU": settings.cpu_seconds,
        "RLIMIT_FSIZE": settings.file_size * MIB,
        "RLIMIT_NPROC": settings.processes,
        "RLIMIT_NOFILE": _OPEN_FILES,
        "RLIMIT_CORE": 0,
    }
