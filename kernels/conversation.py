"""One program's run, spoken over Jupyter's protocol with a kernel that may be hostile."""

import asyncio
import base64
import binascii
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import structlog
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient

from kernels.folder import MAX_ALL_FIGURES_BYTES, MAX_FIGURES
from kernels.interface import Figure
from kernels.output import Output

INTERRUPT_GRACE = 2.0  # s between asking the code to end and killing it
DRAIN = 2.0  # s for the output that follows the reply
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
WAITING_MESSAGES = 16
NO_SECOND_CONNECTION = 1_000_000_000  # ms; with -1 closing takes a second

_log = structlog.get_logger()


class Ending(Enum):
    """How a run ended."""

    REPLIED = auto()
    TIMED_OUT = auto()
    KERNEL_ENDED = auto()


@dataclass
class Run:
    """What the host saw of a run; `reply` is the execute reply's content."""

    output: Output = field(default_factory=Output)
    figures: list[Figure] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    ending: Ending = Ending.KERNEL_ENDED
    reply: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class Conversation:
    """The host's end of a kernel's sockets, as named in its `connection`.

    `ended` completes when the kernel's process does.
    """

    def __init__(self, connection: dict[str, Any], ended: asyncio.Future[Any]) -> None:
        # Bounds what a kernel can make the host hold, whatever it sends.
        self._context = zmq.asyncio.Context()
        self._context.maxmsgsize = MAX_MESSAGE_BYTES
        self._context.rcvhwm = WAITING_MESSAGES
        # Code may have shut its end for good: waiting for it would stop everything else here.
        self._context.sndtimeo = 0
        # The kernel's sockets lie where the code may put links instead, to sockets of the host.
        self._context.reconnect_ivl = NO_SECOND_CONNECTION
        self._client = AsyncKernelClient(context=self._context)
        self._client.load_connection_info(connection)
        self._client.start_channels(stdin=False, hb=False)
        self._ended = ended
        self._malformed = 0

    def close(self) -> None:
        """Close all sockets, dropping what was not sent."""
        # The client itself would wait a second for a kernel that is gone.
        self._context.destroy(linger=0)

    async def greet(self) -> None:
        """Wait until the kernel answers on both channels."""
        # Output counts only once the subscription is in place, which the first status proves.
        while True:
            await self._reply(self._client.kernel_info())
            try:
                await self._next(lambda: self._client.get_iopub_msg(timeout=0.2))
            except asyncio.QueueEmpty:
                continue
            return

    async def execute(self, code: str, limit: float, on_stdout: Callable[[str], None]) -> Run:
        """Run `code` verbatim as one cell for at most `limit` seconds.

        After TIMED_OUT the caller must kill the kernel. What `on_stdout` raises is raised.
        """
        run = Run()
        begun = time.monotonic()
        message_id = self._client.execute(code, allow_stdin=False)
        watching = asyncio.create_task(self._watch(message_id, run, on_stdout))
        reply = asyncio.create_task(self._reply(message_id))
        try:
            await self._first_of(limit, reply, watching)
            run.seconds = time.monotonic() - begun
            if not reply.done() and not self._ended.done():
                run.ending = Ending.TIMED_OUT
                self._interrupt()
                await self._first_of(INTERRUPT_GRACE, reply, watching)
            elif not reply.done():
                # A last word may still lie in the socket of a process that is gone.
                await asyncio.wait({reply}, timeout=0.1)
            if reply.done() and run.ending is not Ending.TIMED_OUT:
                run.ending, run.reply = Ending.REPLIED, reply.result()
            await asyncio.wait({watching}, timeout=DRAIN if reply.done() else 0.1)
            if watching.done():
                watching.result()
        finally:
            await _cancel(reply)
            await _cancel(watching)
        return run

    async def _first_of(
        self, limit: float, reply: asyncio.Task[Any], watching: asyncio.Task[None]
    ) -> None:
        """Wait for the reply or the end; an error of `on_stdout` ends the wait and is raised."""
        await asyncio.wait(
            {reply, self._ended, watching}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
        )
        if watching.done() and not reply.done() and not self._ended.done():
            watching.result()
            await asyncio.wait(
                {reply, self._ended}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )

    def _interrupt(self) -> None:
        message = self._client.session.msg("interrupt_request", content={})
        with contextlib.suppress(zmq.Again):
            self._client.control_channel.send(message)

    async def _reply(self, message_id: str) -> dict[str, Any]:
        while True:
            message = await self._next(self._client.get_shell_msg)
            if message["parent_header"].get("msg_id") == message_id:
                return _dict(message["content"])

    async def _watch(self, message_id: str, run: Run, on_stdout: Callable[[str], None]) -> None:
        while True:
            message = await self._next(self._client.get_iopub_msg)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            content = _dict(message["content"])
            match message["header"].get("msg_type"):
                case "stream" if isinstance(text := content.get("text"), str):
                    run.output.add(text)
                    on_stdout(text)
                case "display_data":
                    _add_figure(run, _dict(content.get("data")))
                case "status" if content.get("execution_state") == "idle":
                    return

    async def _next(self, receive: Callable[[], Coroutine[Any, Any, Any]]) -> dict[str, Any]:
        """Receive the next well-formed message. Raises QueueEmpty where `receive` times out."""
        while True:
            try:
                message = await receive()
                if isinstance(message["parent_header"], dict) and isinstance(
                    message["header"], dict
                ):
                    return dict(message)
            except zmq.ZMQError:
                raise
            except Exception as error:
                if type(error).__name__ == "Empty":
                    raise asyncio.QueueEmpty from error
                self._malformed += 1
                if self._malformed == 1:
                    _log.warning("malformed message from a kernel", error=type(error).__name__)


def _add_figure(run: Run, data: dict[str, Any]) -> None:
    suffix, text = next(
        ((s, data[k]) for k, s in (("image/png", "png"), ("image/jpeg", "jpg")) if k in data),
        ("", None),
    )
    if not isinstance(text, str):
        return
    held = sum(len(figure.content) for figure in run.figures)
    if len(run.figures) >= MAX_FIGURES or held + len(text) > MAX_ALL_FIGURES_BYTES:
        if not run.left_out:
            run.left_out.append(f"Figures after the first {len(run.figures)} were not collected.")
        return
    with contextlib.suppress(binascii.Error, ValueError):
        name = f"figure_{len(run.figures) + 1:02}.{suffix}"
        run.figures.append(Figure(name, base64.b64decode(text)))


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
