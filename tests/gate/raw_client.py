"""A Channel Access client that says exactly what it is told to, and hears every frame."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gate.channel_access.frames import (
    PROTOCOL,
    Command,
    Frame,
    FrameReader,
    pack,
    text_of,
    text_payload,
)
from gate.channel_access.values import Dbr, Target, Value, decode, encode

SECONDS = 30.0


class EndedError(ConnectionError):
    """The other side has ended the circuit."""


@dataclass(frozen=True)
class RawChannel:
    cid: int
    sid: int
    dtype: int
    count: int

    @property
    def target(self) -> Target:
        return Target(Dbr(self.dtype), self.count)


@dataclass(frozen=True)
class Answer:
    """What was heard of a write: the status of its callback, and the text of an error."""

    status: int | None
    error: str | None

    @property
    def refusal(self) -> dict[str, Any] | None:
        if self.error is None or not self.error.startswith("{"):
            return None
        refusal = json.loads(self.error)["runpermit"]
        assert isinstance(refusal, dict)
        return refusal

    @property
    def violation(self) -> str | None:
        return self.refusal["violation_type"] if self.refusal else None


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(port: int, serve: Serve) -> AsyncIterator[None]:
    """`serve` each connection at `port`, in the place of an IOC; none of them is left."""
    tasks: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        # A cancelled one is an error for asyncio's streams.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.transport.abort()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


class RawClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._frames = FrameReader(2**27)
        self._heard: deque[Frame] = deque()
        self._next = 100

    @classmethod
    async def connect(cls, port: int) -> "RawClient":
        client = cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**24))
        client.send(pack(Command.VERSION, count=PROTOCOL))
        return client

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    def new_id(self) -> int:
        self._next += 1
        return self._next

    async def hear(self, *commands: int, within: float = SECONDS) -> Frame:
        """The next frame with one of `commands`; others are dropped. Raises EndedError."""
        async with asyncio.timeout(within):
            while True:
                while self._heard:
                    frame = self._heard.popleft()
                    if frame.command in commands:
                        return frame
                try:
                    data = await self._reader.read(2**20)
                except ConnectionError:
                    data = b""
                if not data:
                    raise EndedError
                self._frames.feed(data)
                self._heard += self._frames.frames(2**30)

    async def open(self, name: str, cid: int | None = None, within: float = SECONDS) -> RawChannel:
        """Raises LookupError where the channel is refused."""
        cid = cid or self.new_id()
        self.send(pack(Command.CREATE_CHAN, p1=cid, p2=PROTOCOL, payload=text_payload(name)))
        while True:
            frame = await self.hear(
                Command.CREATE_CHAN, Command.CREATE_CH_FAIL, Command.SERVER_DISCONN, within=within
            )
            if frame.p1 == cid:
                break
        if frame.command != Command.CREATE_CHAN:
            raise LookupError(name)
        return RawChannel(cid, frame.p2, frame.dtype, frame.count)

    def ask(self, channel: RawChannel, dtype: int | None = None, count: int = 0) -> int:
        ioid = self.new_id()
        kind = channel.dtype if dtype is None else dtype
        self.send(pack(Command.READ_NOTIFY, kind, count, channel.sid, ioid))
        return ioid

    async def read(
        self,
        channel: RawChannel,
        dtype: int | None = None,
        count: int = 0,
        within: float = SECONDS,
    ) -> Frame:
        ioid = self.ask(channel, dtype, count)
        while (frame := await self.hear(Command.READ_NOTIFY, within=within)).p2 != ioid:
            pass
        return frame

    async def value(self, channel: RawChannel, within: float = SECONDS) -> Value:
        frame = await self.read(channel, within=within)
        assert frame.p1 == 1, f"read refused with {frame.p1}"
        return decode(channel.target, frame.count, frame.payload)

    async def put(
        self,
        channel: RawChannel,
        dtype: int,
        count: int,
        payload: bytes,
        *,
        callback: bool = True,
        within: float = SECONDS,
    ) -> Answer:
        """Write, and wait until it has been judged."""
        ioid = self.new_id()
        command = Command.WRITE_NOTIFY if callback else Command.WRITE
        self.send(pack(command, dtype, count, channel.sid, ioid, payload))
        end = ioid if callback else self.ask(channel, Dbr.STRING, 1)
        error = None
        while True:
            frame = await self.hear(
                Command.WRITE_NOTIFY, Command.READ_NOTIFY, Command.ERROR, within=within
            )
            if frame.command == Command.ERROR:
                error = text_of(frame.payload[16:]).decode(errors="replace")
            elif frame.p2 == end:
                return Answer(frame.p1 if callback else None, error)

    async def put_number(
        self, channel: RawChannel, number: float, *, callback: bool = True, within: float = SECONDS
    ) -> Answer:
        payload = encode(Dbr.DOUBLE, (number,))
        return await self.put(channel, Dbr.DOUBLE, 1, payload, callback=callback, within=within)

    async def subscribe(self, channel: RawChannel, identity: int | None = None) -> int:
        """Subscribe to value and alarm, in the channel's own type."""
        identity = identity or self.new_id()
        mask = b"\0" * 12 + b"\0\5\0\0"
        self.send(pack(Command.EVENT_ADD, channel.dtype, 0, channel.sid, identity, mask))
        return identity

    async def monitored(self, channel: RawChannel, within: float = SECONDS) -> Value:
        """The value that the next event brings."""
        while not (frame := await self.hear(Command.EVENT_ADD, within=within)).payload:
            pass
        return decode(channel.target, frame.count, frame.payload)

    async def all_monitored(self, channel: RawChannel) -> list[Value]:
        """The values of all events that have come."""
        found = []
        with contextlib.suppress(TimeoutError):
            while True:
                found.append(await self.monitored(channel, within=0.2))
        return found

    async def ended(self, within: float = SECONDS) -> bool:
        """Whether the other side ends the circuit."""
        try:
            await self.hear(within=within)
        except EndedError:
            return True
        except TimeoutError:
            pass
        return False

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
