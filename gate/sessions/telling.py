"""What a session tells its worker while it is open: one line after the other, in their order."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from gate.control.talking import line
from gate.messages import WritesSoFar

# So often at most a worker hears of writes, however many there are.
WRITES_SECONDS = 0.25


class Telling:
    """Says what it is given on `connection`, as fast as the worker takes it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._lines: list[bytes] = []
        self._saying: asyncio.Task[None] | None = None
        self._writes: asyncio.TimerHandle | None = None

    def say(self, message: dict[str, Any]) -> None:
        """Say one thing, behind all that was given before."""
        self._lines.append(line(message))
        if self._saying is None or self._saying.done():
            self._saying = self._loop.create_task(self._say())

    def wrote(self, so_far: Callable[[], WritesSoFar]) -> None:
        """It became known what became of a write: say how many there are, a little later.

        Costs nothing on the way of a write: the next ones are told with it.
        """
        if self._writes is None:
            self._writes = self._loop.call_later(WRITES_SECONDS, self._say_writes, so_far)

    async def end(self) -> None:
        """Wait until all was said, or nobody listens any more."""
        if self._writes is not None:
            self._writes.cancel()
        if self._saying is not None:
            await self._saying

    def _say_writes(self, so_far: Callable[[], WritesSoFar]) -> None:
        self._writes = None
        # A worker that does not listen finds no heap of old counts when it comes back.
        if self._saying is None or self._saying.done():
            self.say({"wrote": so_far().model_dump(mode="json")})

    async def _say(self) -> None:
        with contextlib.suppress(OSError):
            while self._lines:
                await self._loop.sock_sendall(self._connection, self._lines.pop(0))
