"""Kernels as plain processes of this host, one fresh process per run, with no isolation."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from jupyter_client.connect import write_connection_file

from kernels.conversation import Conversation
from kernels.environment import INSIDE, kernel_environment
from kernels.folder import snapshot
from kernels.interface import RunOutcome
from kernels.outcome import outcome_of
from kernels.output import LastWords
from runpermit import serialization
from runpermit.errors import ContainerConnectivityError
from runpermit.models import ExecutionMode, Isolation

START_TIMEOUT = 60.0  # s
# Whatever TMPDIR says: the path of a unix socket has 107 bytes.
RUNTIME_ROOT = "/tmp"  # noqa: S108  (each session makes a folder of mode 0700 in it)


class LocalKernels:
    """Starts each kernel when it is needed, under the worker's own user.

    `name_servers` (`host:port`) are the only Channel Access servers that the code can reach by
    name; `kernel_python` is the interpreter, which needs ipykernel and pyepics.
    """

    isolation = Isolation.NONE

    def __init__(
        self, *, name_servers: Sequence[str] = (), kernel_python: str = sys.executable
    ) -> None:
        self._name_servers = tuple(name_servers)
        self._python = kernel_python

    @contextlib.asynccontextmanager
    async def session(self, mode: ExecutionMode, work: Path) -> AsyncIterator["LocalKernel"]:
        """Start a kernel of its own process group in `work`; see `kernels.interface.Kernels`."""
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(
                tempfile.TemporaryDirectory(
                    prefix="runpermit-", dir=RUNTIME_ROOT, ignore_cleanup_errors=True
                )
            )
            runtime = Path(directory)
            home = runtime / "home"
            home.mkdir()
            connection_file, _ = write_connection_file(
                str(runtime / "connection.json"), transport="ipc", ip=str(runtime / "k")
            )
            words = LastWords()
            stack.callback(words.close)
            process = await self._start(connection_file, mode, work, home, words)
            ended = asyncio.ensure_future(process.wait())
            try:
                conversation = Conversation(Path(connection_file), ended)
                try:
                    if not await conversation.ready(START_TIMEOUT):
                        raise _not_started(process.returncode, words)
                    yield LocalKernel(conversation, process, work)
                finally:
                    conversation.close()
            finally:
                _kill_group(process.pid)
                await ended

    async def _start(
        self, connection_file: str, mode: ExecutionMode, work: Path, home: Path, words: LastWords
    ) -> asyncio.subprocess.Process:
        arguments = (INSIDE / "launch.py", connection_file, mode.value, serialization.__file__)
        try:
            return await asyncio.create_subprocess_exec(
                self._python,
                *map(str, arguments),
                cwd=work,
                env=kernel_environment(self._python, home, self._name_servers),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=words.write_end,
                stderr=words.write_end,
                start_new_session=True,
            )
        except OSError as error:
            raise ContainerConnectivityError(
                f"The kernel {self._python} can't be started in {work}: {error}",
                host=socket.gethostname(),
                port=0,
            ) from error


class LocalKernel:
    """A running kernel process that waits for its one program."""

    def __init__(
        self, conversation: Conversation, process: asyncio.subprocess.Process, work: Path
    ) -> None:
        self._conversation = conversation
        self._process = process
        self._work = work
        self._used = False

    async def run(
        self,
        code: str,
        *,
        timeout: float,
        attempt: int,
        on_stdout: Callable[[str], None],
    ) -> RunOutcome:
        """Run `code`; see `kernels.interface.Kernel`."""
        if self._used:
            raise RuntimeError("A kernel runs one program: open a new session for the next.")
        self._used = True
        if self._process.returncode is not None:
            raise ContainerConnectivityError(
                f"The kernel ended ({_exit(self._process.returncode)}) before the code began.",
                host=socket.gethostname(),
                port=0,
            )
        before = await asyncio.to_thread(snapshot, self._work)
        try:
            run = await self._conversation.execute(code, timeout, on_stdout)
        finally:
            # The program has had its run: nothing of it may go on while its folder is read.
            _kill_group(self._process.pid)
        how = _exit(self._process.returncode) if self._process.returncode is not None else "killed"
        return await asyncio.to_thread(
            outcome_of, run, self._work, before, timeout=timeout, attempt=attempt, kernel_end=how
        )


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _exit(returncode: int) -> str:
    if returncode >= 0:
        return f"exit status {returncode}"
    return f"signal {-returncode}, {signal.strsignal(-returncode)}"


def _not_started(returncode: int | None, words: LastWords) -> ContainerConnectivityError:
    how = (
        f"gave no answer within {START_TIMEOUT:g} s"
        if returncode is None
        else f"ended ({_exit(returncode)}) before it was ready"
    )
    return ContainerConnectivityError(
        f"The kernel {how}. It said: {words.text or 'nothing'}",
        host=socket.gethostname(),
        port=0,
    )
