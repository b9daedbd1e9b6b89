"""A kernel's process on this host: how it ends, and that nothing of it is left."""

import asyncio
import contextlib
import os
import signal

from kernels.cgroup import Cgroup

_SHELL_SIGNAL = 128  # a process that a signal ended, as its parent in the sandbox reports it


class KernelProcess:
    """A started kernel. `kill` ends it with all its children; see `SandboxedProcess`."""

    def __init__(self, process: asyncio.subprocess.Process, group: Cgroup | None = None) -> None:
        self._process = process
        self._group = group
        self.ended: asyncio.Future[int] = asyncio.ensure_future(process.wait())

    def step_forward(self) -> None:
        """End what kept it at a low priority."""
        if self._group is not None:
            self._group.set_idle(idle=False)

    def kill(self) -> None:
        """End the process and what it started in its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def dead(self) -> None:
        """Wait until nothing of it runs any more."""
        await asyncio.wait({self.ended})

    @property
    def end(self) -> str:
        """How it ended."""
        status = self._process.returncode
        if status is None:
            return "killed"
        number = -status if status < 0 else status - _SHELL_SIGNAL
        if self._group is not None and self._group.out_of_memory():
            return "killed, for it needed more memory than kernels.memory allows"
        if number == signal.SIGXCPU:
            return "killed, for it took more processor time than kernels.cpu_seconds allows"
        if number in set(signal.Signals):
            return f"signal {number}, {signal.strsignal(number)}"
        return f"exit status {status}"


class SandboxedProcess(KernelProcess):
    """A kernel in bubblewrap, whose process is killed from the inside out.

    With the first process of its namespace all others die, and bubblewrap reports that last.
    """

    _first: int | None = None

    def know_first(self, pid: int | None) -> None:
        """Take the id of the sandbox's first process, as bubblewrap tells it."""
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                self._first = os.pidfd_open(pid)

    def kill(self) -> None:
        """End all that is in the sandbox."""
        if self._first is None:
            super().kill()
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first, signal.SIGKILL)

    async def dead(self) -> None:
        """Wait until nothing of it runs any more, also where bubblewrap itself was killed."""
        await super().dead()
        if self._first is None:
            return
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(self._first, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(self._first)

    def close(self) -> None:
        """Forget the sandbox."""
        if self._first is not None:
            os.close(self._first)
            self._first = None
