"""One circuit of a kernel: its messages in order, each to its IOC, writes only past the writer."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from gate.channel_access.directory import is_channel_name
from gate.channel_access.frames import (
    ANY_ADDRESS,
    PROTOCOL,
    BadFrameError,
    Command,
    Frame,
    FrameReader,
    pack,
    text_of,
)
from gate.rehearsal.channels import RehearsedChannels
from gate.rehearsal.writes import RehearsedWrites
from gate.sessions.client_channels import ClientChannels
from gate.sessions.client_writes import ClientWrites

if TYPE_CHECKING:
    from gate.sessions.session import Session

FRAMES_PER_TURN = 200
MOST_SEARCHES = 500
# What a client may leave unread before its IOCs are kept waiting, and before it is cut off.
UNREAD_BYTES = 256 * 1024
MOST_UNREAD_BYTES = 8 * 1024 * 1024


class ClientCircuit(asyncio.Protocol):
    """Speaks Channel Access with one client. Towards it a channel's server id is its own id."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.channels, self.writes = _parts(self)
        self._quotas = session.shared.quotas
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(self._quotas.array_bytes)
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._searches = 0
        self._unread = False
        self._scheduled = False
        self._ended = False
        self._handlers: dict[int, Callable[[Frame], None]] = {
            Command.READ_NOTIFY: self.channels.read,
            Command.EVENT_ADD: self.channels.subscribe,
            Command.EVENT_CANCEL: self.channels.unsubscribe,
            Command.WRITE: self.writes.write,
            Command.WRITE_NOTIFY: self.writes.write,
            Command.SEARCH: self._search,
            Command.CREATE_CHAN: self.channels.create,
            Command.CLEAR_CHANNEL: self.channels.clear,
            Command.EVENTS_OFF: self.channels.to_all,
            Command.EVENTS_ON: self.channels.to_all,
            Command.READ_SYNC: self.channels.to_all,
            Command.ECHO: self._echo,
            Command.VERSION: _drop,
            Command.CLIENT_NAME: _drop,
            Command.HOST_NAME: _drop,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's: a client has come."""
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        if not self.session.is_open:  # it was accepted while the session closed
            self.end()
            return
        if len(self.session.circuits) >= self._quotas.circuits_per_session:
            self.session.note("gate.circuits_per_session was reached")
            transport.abort()
            return
        self.session.circuits.add(self)
        transport.set_write_buffer_limits(high=UNREAD_BYTES)
        transport.write(pack(Command.VERSION, count=PROTOCOL))

    def data_received(self, data: bytes) -> None:
        """asyncio's: take it in order."""
        self._reader.feed(data)
        if self._scheduled:
            self._throttle()
        else:
            self.take_turn()

    def pause_writing(self) -> None:
        """asyncio's: the client does not read, so that it and its IOCs have to wait."""
        self._unread = True
        self.channels.hold(on=True)

    def resume_writing(self) -> None:
        """asyncio's: it reads again."""
        self._unread = False
        self.channels.hold(on=False)
        self.take_turn()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's: the client has gone; its writes under way still come to their end."""
        del exc
        self.end()
        self.close_if_done()

    def end(self) -> None:
        """Take nothing more from the client."""
        self._ended = True
        self.writes.end()
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End everything that this circuit holds."""
        self.end()
        self.session.circuits.discard(self)
        for task in self._tasks:
            task.cancel()
        self.channels.close()

    def close_if_done(self) -> None:
        """Close it once the client has gone, and its writes have come to their end."""
        if self._ended and not self.writes.under_way:
            self.close()

    def take_turn(self) -> None:
        """Handle what is here, a bounded part at a time, and nothing behind a write under way."""
        self._scheduled = False
        if self._waits:
            self._throttle()
            return
        taken = 0
        try:
            for frame in self._reader.frames(FRAMES_PER_TURN):
                taken += 1
                self._handlers.get(frame.command, _refuse_command)(frame)
                if self._waits:
                    break
        except BadFrameError as error:
            self.session.note(f"a circuit was closed: {error}")
            self.close()
            return
        if taken == FRAMES_PER_TURN and not self._waits:
            self._scheduled = True
            self._loop.call_soon(self.take_turn)
        self._throttle()

    def say(self, data: bytes) -> None:
        """Send to the client, unless it reads nothing at all: then it is cut off."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        unread = self._transport.get_write_buffer_size()
        if unread > MOST_UNREAD_BYTES + self._quotas.array_bytes:
            self.session.note("a circuit was closed: its client does not read")
            self.close()

    def start(self, work: "asyncio._CoroutineLike[None]") -> None:
        """Do `work` beside; it ends with the circuit."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def _waits(self) -> bool:
        """Whether nothing more is handled for now.

        A write is being judged, an IOC is slow, or the client reads none of what it asks for.
        """
        return self.writes.judging or self._unread or self.channels.kept_waiting or self._ended

    def _throttle(self) -> None:
        """Let the client wait while much of its own is not handled yet."""
        if self._transport is None or self._transport.is_closing():
            return
        behind = self._waits or self._scheduled
        if behind and self._reader.waiting > UNREAD_BYTES:
            self._transport.pause_reading()
        elif not self._transport.is_reading():
            self._transport.resume_reading()

    def _echo(self, frame: Frame) -> None:
        del frame
        self.say(pack(Command.ECHO))

    def _search(self, frame: Frame) -> None:
        name = text_of(frame.payload)
        if is_channel_name(name) and self._searches < MOST_SEARCHES:
            self._searches += 1
            self.start(self._answer_search(name.decode(), frame.p1))

    async def _answer_search(self, name: str, cid: int) -> None:
        try:
            address = await self.session.find(name)
        finally:
            self._searches -= 1
        if address is not None:
            minor = PROTOCOL.to_bytes(2, "big")
            self.say(pack(Command.SEARCH, self.session.port, 0, ANY_ADDRESS, cid, minor))


def _parts(circuit: ClientCircuit) -> tuple[ClientChannels, ClientWrites]:
    rehearsal = circuit.session.rehearsal
    if rehearsal is None:
        return ClientChannels(circuit), ClientWrites(circuit)
    channels = RehearsedChannels(circuit, rehearsal)
    return channels, RehearsedWrites(circuit, channels, rehearsal)


def _refuse_command(frame: Frame) -> None:
    raise BadFrameError(f"command {frame.command} is not taken")


def _drop(frame: Frame) -> None:
    """Who a client says it is, is only a claim: the IOC is told our own name."""
