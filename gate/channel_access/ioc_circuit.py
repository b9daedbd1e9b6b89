"""One circuit to an IOC: a client's traffic passes, and the gate asks its own questions on it."""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import structlog

from gate.channel_access.frames import (
    ECA_NORMAL,
    OWN_IDS,
    PROTOCOL,
    BadFrameError,
    Command,
    Frame,
    FrameReader,
    pack,
    text_payload,
)

Address = tuple[str, int]

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 1.0
FRAMES_PER_TURN = 500
UNSENT_BYTES = 256 * 1024
# A silent IOC is asked whether it lives; without an answer its channels count as lost, as they
# would for a client of its own.
LOOK_SECONDS = 5.0
ECHO_AFTER_SECONDS = 10.0
LOST_AFTER_SECONDS = 20.0
# An IOC (EPICS 7.0.10) may crash where a circuit ends right behind the answer to a put callback:
# its callback thread then writes to what is another client's by now. It is given time to finish.
LINGER_SECONDS = 0.5
_PUT_CALLBACK = Command.WRITE_NOTIFY.to_bytes(2, "big")
_IDENTITY_IN_P2 = frozenset({Command.READ_NOTIFY, Command.EVENT_ADD, Command.CLEAR_CHANNEL})
_IDENTITY_IN_P1 = frozenset(
    {
        Command.CREATE_CHAN,
        Command.CREATE_CH_FAIL,
        Command.ACCESS_RIGHTS,
        Command.SERVER_DISCONN,
    }
)

log = structlog.get_logger()


class IocLostError(ConnectionError):
    """The IOC did not answer, or its circuit ended."""


@dataclass(frozen=True)
class OwnChannel:
    """A channel that the gate opened for itself: its id at the IOC, native type and length."""

    cid: int
    sid: int
    dtype: int
    count: int


class IocCircuit(asyncio.Protocol):
    """A circuit to the IOC at `address`.

    Frames that answer no question of ours go to `on_frames`, many at once; `on_full` tells whether
    the IOC takes less than it is sent; `on_lost` is called once when the circuit ends.
    """

    def __init__(
        self,
        address: Address,
        *,
        limit: int,
        on_frames: Callable[[list[Frame]], None] | None = None,
        on_full: Callable[[bool], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self.sids: dict[int, int] = {}  # the IOC's channel id → the client's
        self.last_heard = asyncio.get_running_loop().time()
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(limit)
        self._on_frames = on_frames
        self._on_full = on_full
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._unsent = bytearray()
        self._next = OWN_IDS
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._due: deque[tuple[float, int]] = deque()  # until when each is waited for
        self._monitors: dict[int, Callable[[Frame], None]] = {}
        self._hold = False
        self._lingers = False
        self._scheduled = False
        self.closed = False
        self._connecting = asyncio.create_task(self._connect())

    @property
    def connected(self) -> bool:
        """Whether the IOC has taken the circuit."""
        return self._transport is not None and not self.closed

    def send(self, data: bytes) -> None:
        """Send now, or as soon as the circuit stands."""
        self._lingers = self._lingers or data.startswith(_PUT_CALLBACK)
        if self._transport is None:
            self._unsent += data
            if len(self._unsent) > UNSENT_BYTES:
                self.pause_writing()
        elif not self.closed:
            self._transport.write(data)

    async def open(self, name: str) -> OwnChannel:
        """Open a channel of our own. Raises IocLostError, LookupError where there is none."""
        cid, answer = self._ask()
        payload = text_payload(name)
        self.send(pack(Command.CREATE_CHAN, p1=cid, p2=PROTOCOL, payload=payload))
        frame = await answer
        if frame.command != Command.CREATE_CHAN:
            raise LookupError(f"{self.where} has no channel {name}")
        return OwnChannel(cid, frame.p2, frame.dtype, frame.count)

    def ask_read(
        self, sid: int, dtype: int, count: int, *, after: bytes = b""
    ) -> asyncio.Future[Frame]:
        """Ask for the value of the channel with the IOC's id `sid`, behind the message `after`.

        The answer, which `value_in` judges, raises IocLostError where it does not come in time.
        """
        ioid, answer = self._ask()
        self.send(after + pack(Command.READ_NOTIFY, dtype, count, sid, ioid))
        return answer

    async def read(self, sid: int, dtype: int, count: int) -> Frame:
        """Read on the channel with the IOC's id `sid`. Raises IocLostError, LookupError."""
        return self.value_in(await self.ask_read(sid, dtype, count))

    def value_in(self, frame: Frame) -> Frame:
        """The answer to a read, if it is one with a value. Raises LookupError."""
        if frame.command != Command.READ_NOTIFY or frame.p1 != ECA_NORMAL:
            raise LookupError(f"{self.where} refused a read with status {frame.p1}")
        return frame

    def clear(self, channel: OwnChannel) -> None:
        """Give a channel of our own back, and its monitor."""
        self._monitors.pop(channel.cid, None)
        self.send(pack(Command.CLEAR_CHANNEL, p1=channel.sid, p2=channel.cid))

    def monitor(self, channel: OwnChannel, dtype: int, take: Callable[[Frame], None]) -> None:
        """Have `take` called with every change of value or alarm; one monitor for each channel."""
        self._monitors[channel.cid] = take
        mask = b"\0" * 12 + b"\0\x05\0\0"  # value and alarm
        self.send(pack(Command.EVENT_ADD, dtype, 1, channel.sid, channel.cid, mask))

    def echo(self) -> None:
        """Make the IOC say that it lives; `last_heard` tells when it did."""
        self.send(pack(Command.ECHO))

    def hold(self, *, on: bool) -> None:
        """Stop reading while the client does not, but for answers that we wait for ourselves."""
        self._hold = on
        self._set_reading()

    def close(self) -> None:
        """End the circuit; whoever waits for an answer gets IocLostError."""
        self._connecting.cancel()
        transport = self._transport
        if transport is not None and not self.closed:
            # Nothing more is sent or heard in any case: what the IOC did not take yet goes nowhere.
            if self._lingers and not transport.get_write_buffer_size():
                self._loop.call_later(LINGER_SECONDS, transport.abort)
            else:
                transport.abort()
        self._end()

    @property
    def where(self) -> str:
        """The IOC, for messages."""
        return f"{self.address[0]}:{self.address[1]}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's: introduce ourselves, and send what has gathered."""
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        self.last_heard = self._loop.time()
        hello = pack(Command.VERSION, count=PROTOCOL)
        hello += pack(Command.HOST_NAME, payload=text_payload(socket.gethostname()))
        hello += pack(Command.CLIENT_NAME, payload=text_payload("runpermit"))
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        transport.write(hello + self._unsent)
        self._unsent.clear()
        self.resume_writing()
        self._loop.call_later(LOOK_SECONDS, self._look)

    def pause_writing(self) -> None:
        """asyncio's: the IOC does not keep up."""
        if self._on_full is not None:
            self._on_full(True)  # noqa: FBT003  (its only argument)

    def resume_writing(self) -> None:
        """asyncio's: it does again."""
        if self._on_full is not None:
            self._on_full(False)  # noqa: FBT003

    def data_received(self, data: bytes) -> None:
        """asyncio's: sort answers to ourselves from what passes."""
        if self.closed:
            return
        self.last_heard = self._loop.time()
        self._reader.feed(data)
        self._take_turn()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's: the circuit has ended."""
        del exc
        self._end()

    def _take_turn(self) -> None:
        """Take what is there, a bounded part at a time: others have their turn between."""
        self._scheduled = False
        passing: list[Frame] = []
        taken = 0
        try:
            for frame in self._reader.frames(FRAMES_PER_TURN):
                taken += 1
                if not self._is_own(frame):
                    passing.append(frame)
        except BadFrameError as error:
            log.warning("an IOC sends what is no Channel Access", ioc=self.where, why=str(error))
            self.close()
            return
        if passing and self._on_frames is not None:
            self._on_frames(passing)
        if taken == FRAMES_PER_TURN and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._take_turn)

    def _is_own(self, frame: Frame) -> bool:
        """Whether a frame is about a question or channel of ours; it is then taken."""
        command = frame.command
        if command in _IDENTITY_IN_P2:
            identity = frame.p2
        elif command in _IDENTITY_IN_P1:
            identity = frame.p1
        elif command == Command.ERROR:
            # It tells by the request in it whose it is.
            identity = int.from_bytes(frame.payload[12:16], "big")
        else:
            return command in {Command.VERSION, Command.ECHO}
        if identity >= OWN_IDS:
            self._take(frame, identity)
        return identity >= OWN_IDS

    def _take(self, frame: Frame, identity: int) -> None:
        """Take what is said about our own question or channel `identity`."""
        if frame.command == Command.SERVER_DISCONN:
            self.close()
        elif frame.command == Command.EVENT_ADD:
            if frame.payload and identity in self._monitors:
                self._monitors[identity](frame)
        elif frame.command != Command.ACCESS_RIGHTS:
            answer = self._asked.pop(identity, None)
            if answer is not None and not answer.done():
                answer.set_result(frame)
            if self._hold:
                self._set_reading()

    async def _connect(self) -> None:
        try:
            await asyncio.wait_for(
                self._loop.create_connection(lambda: self, *self.address), CONNECT_SECONDS
            )
        except (OSError, TimeoutError) as error:
            log.info("an IOC is not reachable", ioc=self.where, why=str(error) or "time-out")
            self._end()
            return
        if self.closed and self._transport is not None:
            self._transport.abort()

    def _look(self) -> None:
        """Notice an IOC that is silent for long, unless it is we who do not listen."""
        if self.closed:
            return
        silent = 0.0 if self._hold else self._loop.time() - self.last_heard
        if silent > LOST_AFTER_SECONDS:
            log.warning("an IOC is silent", ioc=self.where, seconds=round(silent))
            self.close()
            return
        if silent > ECHO_AFTER_SECONDS:
            self.echo()
        self._loop.call_later(LOOK_SECONDS, self._look)

    def _own_id(self) -> int:
        self._next += 1
        if self._next > 0xFFFF_FFF0:  # noqa: PLR2004  (what 32 bits hold)
            self._next = OWN_IDS
        return self._next

    def _ask(self) -> tuple[int, asyncio.Future[Frame]]:
        """An id for a question, and its answer. Raises IocLostError where nobody can answer."""
        if self.closed:
            raise IocLostError(f"the circuit to {self.where} has ended")
        identity = self._own_id()
        answer: asyncio.Future[Frame] = self._loop.create_future()
        self._asked[identity] = answer
        # One timer for all of them: there are two questions for each write.
        if not self._due:
            self._loop.call_later(ANSWER_SECONDS, self._expire)
        self._due.append((self._loop.time() + ANSWER_SECONDS, identity))
        if self._hold:
            self._set_reading()
        return identity, answer

    def _expire(self) -> None:
        """Give up what is due, and come again for the next one that is waited for."""
        now = self._loop.time()
        while self._due:
            due, identity = self._due[0]
            answer = self._asked.get(identity)
            if answer is not None and due > now:
                self._loop.call_later(due - now, self._expire)
                return
            self._due.popleft()
            if answer is not None:
                del self._asked[identity]
                self._give_up(answer)

    def _give_up(self, answer: asyncio.Future[Frame]) -> None:
        if not answer.done():
            why = f"{self.where} gave no answer in {ANSWER_SECONDS:g} s"
            answer.set_exception(IocLostError(why))
            answer.exception()  # whoever waited may be gone
        self._set_reading()

    def _set_reading(self) -> None:
        if self._transport is None or self.closed:
            return
        wanted = not self._hold or bool(self._asked)
        with contextlib.suppress(RuntimeError):
            if wanted and not self._transport.is_reading():
                self._transport.resume_reading()
            elif not wanted and self._transport.is_reading():
                self._transport.pause_reading()

    def _end(self) -> None:
        if self.closed:
            return
        self.closed = True
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(IocLostError(f"the circuit to {self.where} was lost"))
                answer.exception()  # whoever waited may be gone
        self._asked.clear()
        self._due.clear()
        if self._on_lost is not None:
            self._on_lost()
