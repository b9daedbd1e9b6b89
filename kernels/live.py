"""A kernel from its start to its end: one process, one program."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from kernels.cgroup import MIB
from kernels.conversation import Conversation, Ending, Run
from kernels.copying import copy_out
from kernels.handover import Given, Handover
from kernels.inputs import send_inputs
from kernels.interface import RunOutcome
from kernels.launcher import Launched, Launcher
from kernels.outcome import outcome_of
from kernels.output import LastWords
from kernels.process import KernelProcess
from kernels.told import Told
from kernels.tree import Stamps
from runpermit.config import KernelsSettings
from runpermit.errors import ContainerConnectivityError, ServiceUnavailableError

START_TIMEOUT = 60.0  # s
# Started in advance it has only the time that nobody else wants.
START_IN_ADVANCE_TIMEOUT = 600.0
_LAST_WORDS = 5.0  # s, from a closed socket to the end of its process

_PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}
_T = TypeVar("_T")


class LiveKernel:
    """A running kernel that waits for its one program; see `kernels.interface.Kernel`."""

    def __init__(
        self,
        settings: KernelsSettings,
        process: KernelProcess,
        given: Given,
        handover: Handover,
        conversation: Conversation,
        resources: contextlib.AsyncExitStack,
    ) -> None:
        self.listener = given.listener
        self.born = asyncio.get_running_loop().time()
        self.work = Path()
        self._settings = settings
        self._process = process
        self._given = given
        self._handover = handover
        self._conversation = conversation
        self._resources = resources
        self._used = False

    @property
    def ended(self) -> asyncio.Future[int]:
        """Done when its process has ended."""
        return self._process.ended

    async def close(self) -> None:
        """End it and all its children, and give back what it held."""
        await self._resources.aclose()

    async def run(
        self,
        code: str,
        *,
        timeout: float,
        attempt: int,
        on_stdout: Callable[[str], None],
        rehearse: bool = False,
    ) -> "LiveRun":
        """Run `code`; see `kernels.interface.Kernel`."""
        if self._used:
            raise RuntimeError("A kernel runs one program: open a new session for the next.")
        self._used = True
        if self.ended.done():
            raise _lost(f"ended ({self._process.end}) before the code began.")
        told = Told()
        with self._handover.listening(told.take) if rehearse else contextlib.nullcontext():
            run, before = await self._execute(code, timeout, on_stdout, rehearse=rehearse)
        return LiveRun(
            run=run,
            before=before,
            told=told,
            timeout=timeout,
            attempt=attempt,
            kernel_end=self._process.end,
            inside=self._given.work,
            work=self.work,
            settings=self._settings,
        )

    async def _execute(
        self, code: str, timeout: float, on_stdout: Callable[[str], None], *, rehearse: bool
    ) -> tuple[Run, Stamps]:
        """Hand the inputs over, for whose end the kernel waits before it begins the code."""
        feeding = asyncio.create_task(asyncio.to_thread(self._feed, rehearse=rehearse))
        running = asyncio.create_task(self._conversation.execute(code, timeout, on_stdout))
        both: set[asyncio.Task[Any]] = {feeding, running}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not feeding.done():
                self._process.kill()
            before = await feeding
            return await running, before
        finally:
            # The program has had its run: nothing of it may go on while its folder is read.
            self._process.kill()
            running.cancel()
            await asyncio.wait(both)
            await self._process.dead()

    def _feed(self, *, rehearse: bool) -> Stamps:
        try:
            room = self._settings.work_size * MIB
            return send_inputs(self._handover, self.work, room, rehearse=rehearse)
        except (ConnectionError, TimeoutError) as error:
            raise _lost(f"took no input files: {error}.") from error
        except OSError as error:
            raise ServiceUnavailableError(
                f"The input files in {self.work} can't be read: {error}", "disk"
            ) from error


@dataclass(frozen=True)
class LiveRun:
    """A program's end; see `kernels.interface.FinishedRun`."""

    run: Run
    before: Stamps
    told: Told
    timeout: float
    attempt: int
    kernel_end: str
    inside: int
    work: Path
    settings: KernelsSettings

    @property
    def succeeded(self) -> bool:
        """See `kernels.interface.FinishedRun`."""
        return self.run.ending is Ending.REPLIED and self.run.reply.get("status") == "ok"

    def collect(self, *, keep_files: bool) -> RunOutcome:
        """Judge it, and bring its files; see `kernels.interface.FinishedRun`."""
        outcome = outcome_of(
            self.run,
            self.inside,
            self.before,
            timeout=self.timeout,
            attempt=self.attempt,
            kernel_end=self.kernel_end,
        )
        told = self.told
        outcome = replace(outcome, declared=told.declared, waits=told.waits, waited=told.waited)
        if outcome.error is not None or not keep_files:
            return outcome
        return replace(outcome, left_out=(*outcome.left_out, *self._copy_out()))

    def _copy_out(self) -> list[str]:
        try:
            return copy_out(
                self.inside,
                self.work,
                self.before,
                largest=self.settings.file_size * MIB,
                room=self.settings.work_size * MIB,
            )
        except OSError as error:
            raise ServiceUnavailableError(
                f"The files of the program can't be stored in {self.work}: {error}", "disk"
            ) from error


async def start_kernel(
    launcher: Launcher, settings: KernelsSettings, *, in_advance: bool
) -> LiveKernel:
    """Start a kernel, with its modules imported and at the lowest priority if `in_advance`.

    Raises ContainerConnectivityError where it can't be started.
    """
    async with contextlib.AsyncExitStack() as stack:
        words = LastWords()
        stack.callback(words.close)
        handover = Handover()
        stack.callback(handover.close)
        try:
            async with asyncio.timeout(START_IN_ADVANCE_TIMEOUT if in_advance else START_TIMEOUT):
                launched = await stack.enter_async_context(
                    launcher.launch(handover.theirs, words.write_end, in_advance=in_advance)
                )
                ended = launched.process.ended
                handover.inherited()
                connection = _connection()
                _order(handover, launched, connection, settings, in_advance=in_advance)
                given = await _unless(ended, handover.given())
                stack.callback(given.close)
                await _unless(ended, handover.serving())
                launched.process.step_forward()
                conversation = Conversation(
                    connection | {"ip": f"/proc/self/fd/{given.runtime}/k"}, ended
                )
                stack.callback(conversation.close)
                await _unless(ended, conversation.greet())
        except TimeoutError:
            raise _lost(f"gave no answer within {START_TIMEOUT:g} s.", words) from None
        except ConnectionError:
            await asyncio.wait({ended}, timeout=_LAST_WORDS)
            raise _lost(f"ended ({launched.process.end}) before it was ready.", words) from None
        except OSError as error:
            raise _lost(f"can't be started: {error}.", words) from error
        return LiveKernel(
            settings, launched.process, given, handover, conversation, stack.pop_all()
        )


def _connection() -> dict[str, object]:
    return _PORTS | {
        "transport": "ipc",
        "key": secrets.token_hex(32),
        "signature_scheme": "hmac-sha256",
    }


def _order(
    handover: Handover,
    launched: Launched,
    connection: dict[str, object],
    settings: KernelsSettings,
    *,
    in_advance: bool,
) -> None:
    handover.order(
        {
            "connection": connection | {"ip": f"{launched.runtime}/k"},
            "runtime": launched.runtime,
            "serialization": launched.serialization,
            "port": launched.port,
            "limits": launched.limits,
            "in_advance": in_advance,
            "preload": settings.preload,
        }
    )


async def _unless(ended: asyncio.Future[int], step: Awaitable[_T]) -> _T:
    """Wait for `step`. Raises ConnectionError where the process ends before."""
    waiting = asyncio.ensure_future(step)
    try:
        both: set[asyncio.Future[Any]] = {waiting, ended}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ConnectionError
        return await waiting
    finally:
        waiting.cancel()


def _lost(how: str, words: LastWords | None = None) -> ContainerConnectivityError:
    said = f" It said: {words.text or 'nothing'}" if words else ""
    return ContainerConnectivityError(f"The kernel {how}{said}", host=socket.gethostname(), port=0)
