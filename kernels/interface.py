"""What every way of running code offers: sandbox, remote endpoint, or the plain process."""

import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from runpermit.errors import PythonExecutorException
from runpermit.models import Isolation
from runpermit.models.plan import Declaration


class Figure(NamedTuple):
    """One image: a plain file name, unique in its run, and PNG or JPEG content."""

    name: str
    content: bytes


@dataclass(frozen=True)
class RunOutcome:
    """What came of one run of one program.

    stdout: what it printed to stdout and stderr, head and tail where it was much.
    results: its `results`, as JSON; None where it failed.
    execution_time: seconds, of the code alone.
    error: None is success; otherwise the error that the execution goes on with.
    left_out: what could not be collected, one sentence each.
    declared: what the program said with `plan`, by channel; only a rehearsal tells it.
    waits: for each put in order the seconds of waiting that were cut short before it, in all; only
        a rehearsal tells it, and of the first puts alone where there were very many.
    waited: the seconds that were cut short in all; of a killed program those before its last put.

    These three are the program's word, told while it ran, however it ended.
    """

    stdout: str
    results: dict[str, Any] | None
    figures: tuple[Figure, ...]
    execution_time: float
    error: PythonExecutorException | None
    left_out: tuple[str, ...] = ()
    declared: tuple[Declaration, ...] = ()
    waits: tuple[float, ...] = ()
    waited: float = 0.0


class FinishedRun(Protocol):
    """A run that is over, and its processes dead; its files wait inside the kernel.

    `succeeded`: whether the kernel says that the program came to its end without an error.
    """

    @property
    def succeeded(self) -> bool:
        """Known before anything is collected."""
        ...

    def collect(self, *, keep_files: bool) -> RunOutcome:
        """What came of it; with `keep_files` those of a success are copied back to `work`.

        It blocks, while the kernel's session is open. Raises ServiceUnavailableError where the
        files can't be stored.
        """
        ...


class Kernel(Protocol):
    """A fresh Python process for one program.

    listener: where its Channel Access circuits arrive. Who opens a session of the gate hands it
    over; without one, the kernel reaches no channel.
    """

    listener: socket.socket

    async def run(
        self,
        code: str,
        *,
        timeout: float,
        attempt: int,
        on_stdout: Callable[[str], None],
        rehearse: bool = False,
    ) -> FinishedRun:
        """Run `code` for at most `timeout` seconds; `on_stdout` gets its output as it comes.

        To `rehearse` means that `time.sleep` and `asyncio.sleep` are cut short once the program has
        written, with clocks that agree; `timeout` is real time.
        When it returns or raises nothing of the program runs any more, and nothing is collected
        yet: who opened a session of the gate closes that first. A failure of the code, and of the
        kernel meanwhile, is the outcome's `error`. Cancelling kills the kernel. Raises
        ContainerConnectivityError where the kernel ended before the code began,
        InvalidRequestError where its input files can't be handed over, ServiceUnavailableError
        where they can't be read, and RuntimeError at a second call: a kernel runs one program.
        """
        ...


class Kernels(Protocol):
    """Where kernels come from."""

    @property
    def isolation(self) -> Isolation:
        """What stands between the code and the host."""
        ...

    def session(self, work: Path) -> AbstractAsyncContextManager[Kernel]:
        """Open a kernel; on leaving it and its children end.

        The program works in a copy of the files in `work`, and what it leaves or changes there is
        copied back where it succeeds and its run is collected so. Raises
        ContainerConnectivityError where none can be started.
        """
        ...
