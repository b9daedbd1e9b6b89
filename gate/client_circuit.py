"""One circuit of a kernel: its messages in order, each to its IOC, writes only past the writer."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import structlog

from gate.attempt import Attempted
from gate.directory import is_channel_name
from gate.frames import (
    ANY_ADDRESS,
    ECA_PUTFAIL,
    OWN_IDS,
    PROTOCOL,
    BadFrameError,
    Command,
    Frame,
    FrameReader,
    pack,
    text_of,
    text_payload,
)
from gate.ioc_circuit import Address, IocCircuit, IocLostError
from gate.messages import Refusal, SessionMode, WriteRecord
from gate.records import Record, UnknownRecordError, identify
from gate.values import Received
from runpermit.limits import ViolationType

if TYPE_CHECKING:
    from gate.session import Session

FRAMES_PER_TURN = 200
MOST_SEARCHES = 500
SUBSCRIPTIONS_PER_CHANNEL = 4
# What a client may leave unread before its IOCs are kept waiting, and before it is cut off.
UNREAD_BYTES = 256 * 1024
MOST_UNREAD_BYTES = 8 * 1024 * 1024
_REFUSAL_BYTES = 4096

log = structlog.get_logger()


class Channel:
    """A client's channel; `sid`, type and length are known once its IOC has taken it."""

    __slots__ = (
        "cid",
        "cleared",
        "count",
        "dtype",
        "ioc",
        "name",
        "record",
        "sid",
        "subscriptions",
    )

    def __init__(self, cid: int, name: str, ioc: IocCircuit) -> None:
        self.cid = cid
        self.name = name
        self.ioc = ioc
        self.sid: int | None = None
        self.dtype = 0
        self.count = 0
        self.record: Record | None = None
        self.subscriptions: set[int] = set()
        self.cleared = False


class ClientCircuit(asyncio.Protocol):
    """Speaks Channel Access with one client. Towards it a channel's server id is its own id."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._shared = session.shared
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(session.shared.quotas.array_bytes)
        self._transport: asyncio.Transport | None = None
        self._channels: dict[int, Channel] = {}
        self._opening: set[int] = set()
        self._subscriptions = 0
        self._iocs: dict[Address, IocCircuit] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._searches = 0
        self._judging = False
        self._full: set[Address] = set()
        self._unread = False
        self._flights = 0
        self._callbacks: dict[int, tuple[IocCircuit, asyncio.Future[bool]]] = {}
        self._scheduled = False
        self._ended = False
        self._handlers: dict[int, Callable[[Frame], None]] = {
            Command.READ_NOTIFY: self._read,
            Command.EVENT_ADD: self._subscribe,
            Command.EVENT_CANCEL: self._unsubscribe,
            Command.WRITE: self._write,
            Command.WRITE_NOTIFY: self._write,
            Command.SEARCH: self._search,
            Command.CREATE_CHAN: self._create,
            Command.CLEAR_CHANNEL: self._clear,
            Command.EVENTS_OFF: self._to_all,
            Command.EVENTS_ON: self._to_all,
            Command.READ_SYNC: self._to_all,
            Command.ECHO: self._echo,
            Command.VERSION: _drop,
            Command.CLIENT_NAME: _drop,
            Command.HOST_NAME: _drop,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's: a client has come."""
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        if not self._session.is_open:  # it was accepted while the session closed
            self.end()
            return
        if len(self._session.circuits) >= self._shared.quotas.circuits_per_session:
            self._session.note("gate.circuits_per_session was reached")
            transport.abort()
            return
        self._session.circuits.add(self)
        transport.set_write_buffer_limits(high=UNREAD_BYTES)
        transport.write(pack(Command.VERSION, count=PROTOCOL))

    def data_received(self, data: bytes) -> None:
        """asyncio's: take it in order."""
        self._reader.feed(data)
        if self._scheduled:
            self._throttle()
        else:
            self._take_turn()

    def pause_writing(self) -> None:
        """asyncio's: the client does not read, so that it and its IOCs have to wait."""
        self._unread = True
        for ioc in self._iocs.values():
            ioc.hold(on=True)

    def resume_writing(self) -> None:
        """asyncio's: it reads again."""
        self._unread = False
        for ioc in self._iocs.values():
            ioc.hold(on=False)
        self._take_turn()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's: the client has gone; its writes under way still come to their end."""
        del exc
        self.end()
        self._close_if_done()

    def end(self) -> None:
        """Take nothing more from the client."""
        self._ended = True
        for ioid in list(self._callbacks):
            self._answered(ioid, by_ioc=False)
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End everything that this circuit holds."""
        self.end()
        self._session.circuits.discard(self)
        self._session.channels -= len(self._channels) + len(self._opening)
        self._channels.clear()
        self._opening.clear()
        for task in self._tasks:
            task.cancel()
        for address in list(self._iocs):
            self._iocs[address].close()

    def _close_if_done(self) -> None:
        if self._ended and not self._judging and not self._flights:
            self.close()

    def _landed(self, flight: asyncio.Task[WriteRecord]) -> None:
        del flight
        self._flights -= 1
        self._close_if_done()

    @property
    def _waits(self) -> bool:
        """Whether nothing more is handled for now.

        A write is being judged, an IOC is slow, or the client reads none of what it asks for.
        """
        return self._judging or self._unread or bool(self._full) or self._ended

    def _take_turn(self) -> None:
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
            self._session.note(f"a circuit was closed: {error}")
            self.close()
            return
        if taken == FRAMES_PER_TURN and not self._waits:
            self._scheduled = True
            self._loop.call_soon(self._take_turn)
        self._throttle()

    def _throttle(self) -> None:
        """Let the client wait while much of its own is not handled yet."""
        if self._transport is None or self._transport.is_closing():
            return
        behind = self._waits or self._scheduled
        if behind and self._reader.waiting > UNREAD_BYTES:
            self._transport.pause_reading()
        elif not self._transport.is_reading():
            self._transport.resume_reading()

    def _say(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        unread = self._transport.get_write_buffer_size()
        if unread > MOST_UNREAD_BYTES + self._shared.quotas.array_bytes:
            self._session.note("a circuit was closed: its client does not read")
            self.close()

    def _open_channel(self, frame: Frame) -> Channel | None:
        """The channel that a frame names, None where it was cleared, or its IOC lost meanwhile."""
        channel = self._channels.get(frame.p1)
        if channel is None or channel.sid is None or channel.cleared:
            return None
        return channel

    def _read(self, frame: Frame) -> None:
        channel = self._open_channel(frame)
        self._refuse_own(frame.p2)
        if channel is not None:
            channel.ioc.send(
                pack(frame.command, frame.dtype, frame.count, channel.sid or 0, frame.p2)
            )

    def _subscribe(self, frame: Frame) -> None:
        channel = self._open_channel(frame)
        self._refuse_own(frame.p2)
        if channel is None:
            return
        most = SUBSCRIPTIONS_PER_CHANNEL * self._shared.quotas.channels_per_session
        if frame.p2 not in channel.subscriptions:
            if self._subscriptions >= most:
                raise BadFrameError(f"more than {most} subscriptions")
            channel.subscriptions.add(frame.p2)
            self._subscriptions += 1
        self._pass_on(channel, frame)

    def _unsubscribe(self, frame: Frame) -> None:
        channel = self._open_channel(frame)
        self._refuse_own(frame.p2)
        if channel is not None and frame.p2 in channel.subscriptions:
            channel.subscriptions.discard(frame.p2)
            self._subscriptions -= 1
            self._pass_on(channel, frame)

    def _clear(self, frame: Frame) -> None:
        channel = self._open_channel(frame)
        if channel is not None:
            channel.cleared = True
            # Under our own name for it: the answer says by that which channel is gone.
            channel.ioc.send(pack(frame.command, p1=channel.sid or 0, p2=channel.cid))

    def _pass_on(self, channel: Channel, frame: Frame) -> None:
        channel.ioc.send(
            pack(
                frame.command,
                frame.dtype,
                frame.count,
                channel.sid or 0,
                frame.p2,
                frame.payload,
            )
        )

    def _to_all(self, frame: Frame) -> None:
        for ioc in self._iocs.values():
            ioc.send(pack(frame.command))

    def _echo(self, frame: Frame) -> None:
        del frame
        self._say(pack(Command.ECHO))

    def _search(self, frame: Frame) -> None:
        name = text_of(frame.payload)
        if is_channel_name(name) and self._searches < MOST_SEARCHES:
            self._searches += 1
            self._start(self._answer_search(name.decode(), frame.p1))

    async def _answer_search(self, name: str, cid: int) -> None:
        try:
            address = await self._session.find(name)
        finally:
            self._searches -= 1
        if address is not None:
            minor = PROTOCOL.to_bytes(2, "big")
            self._say(pack(Command.SEARCH, self._session.port, 0, ANY_ADDRESS, cid, minor))

    def _create(self, frame: Frame) -> None:
        name = text_of(frame.payload)
        self._refuse_own(frame.p1)
        quota = self._shared.quotas.channels_per_session
        if self._session.channels >= quota:
            self._session.note(f"gate.channels_per_session = {quota} was reached")
        if (
            self._session.channels >= quota
            or frame.p1 in self._channels
            or frame.p1 in self._opening
            or not is_channel_name(name)
        ):
            self._say(pack(Command.CREATE_CH_FAIL, p1=frame.p1))
            return
        self._opening.add(frame.p1)
        self._session.channels += 1
        self._start(self._open(name.decode(), frame.p1))

    async def _open(self, name: str, cid: int) -> None:
        address = await self._session.find(name)
        if cid not in self._opening:
            return
        self._opening.discard(cid)
        ioc = self._circuit_to(address) if address is not None else None
        if ioc is None:
            self._session.channels -= 1
            self._say(pack(Command.CREATE_CH_FAIL, p1=cid))
            return
        self._channels[cid] = Channel(cid, name, ioc)
        ioc.send(pack(Command.CREATE_CHAN, p1=cid, p2=PROTOCOL, payload=text_payload(name)))

    def _circuit_to(self, address: Address) -> IocCircuit | None:
        known = self._iocs.get(address)
        if known is not None:
            return known
        if not self._session.take_circuit(address):
            return None
        ioc = IocCircuit(
            address,
            limit=self._shared.quotas.array_bytes + _REFUSAL_BYTES,
            on_frames=lambda frames: self._answer(ioc, frames),
            on_full=lambda full: self._slow_ioc(address, full=full),
            on_lost=lambda: self._lost(ioc),
        )
        self._iocs[address] = ioc
        return ioc

    def _slow_ioc(self, address: Address, *, full: bool) -> None:
        """Let the client wait while an IOC takes less than it is asked for."""
        if full:
            self._full.add(address)
        elif address in self._full:
            self._full.discard(address)
            self._take_turn()

    def _lost(self, ioc: IocCircuit) -> None:
        """Tell the client which channels are gone; it searches again, and so do we."""
        del self._iocs[ioc.address]
        for ioid in [ioid for ioid, (asked, _) in self._callbacks.items() if asked is ioc]:
            self._answered(ioid, by_ioc=False)
        self._session.lost_circuit(ioc.address)
        self._shared.directory.forget(ioc.address)
        gone = [channel.cid for channel in self._channels.values() if channel.ioc is ioc]
        for cid in gone:
            self._drop_channel(ioc, cid)
        self._say(b"".join(pack(Command.SERVER_DISCONN, p1=cid) for cid in gone))
        self._slow_ioc(ioc.address, full=False)

    def _answer(self, ioc: IocCircuit, frames: list[Frame]) -> None:
        """Pass on what an IOC says, with the client's ids."""
        said = []
        for frame in frames:
            command = frame.command
            if command == Command.WRITE_NOTIFY:
                self._answered(frame.p2, by_ioc=True)
            if command in {Command.READ_NOTIFY, Command.WRITE_NOTIFY} or (
                command == Command.EVENT_ADD and frame.payload
            ):
                said.append(frame.raw)
            else:
                said.append(self._renamed(ioc, frame))
        self._say(b"".join(said))

    def _answered(self, ioid: int, *, by_ioc: bool) -> None:
        """A put callback has come to its end, or nobody hears it any more."""
        _, answered = self._callbacks.pop(ioid, (None, None))
        if answered is not None and not answered.done():
            answered.set_result(by_ioc)

    def _renamed(self, ioc: IocCircuit, frame: Frame) -> bytes:
        match frame.command:
            case Command.CREATE_CHAN:
                channel = self._channels.get(frame.p1)
                if channel is None:
                    return b""
                channel.sid, channel.dtype, channel.count = frame.p2, frame.dtype, frame.count
                ioc.sids[frame.p2] = frame.p1
                return pack(frame.command, frame.dtype, frame.count, frame.p1, frame.p1)
            case Command.CREATE_CH_FAIL | Command.SERVER_DISCONN:
                # It has moved: the next search must not find it here again.
                self._shared.directory.forget(ioc.address)
                self._drop_channel(ioc, frame.p1)
                return frame.raw
            case Command.CLEAR_CHANNEL:
                self._drop_channel(ioc, frame.p2)
                return pack(frame.command, p1=frame.p2, p2=frame.p2)
            case Command.EVENT_ADD:
                cid = ioc.sids.get(frame.p1, 0)
                return pack(frame.command, frame.dtype, frame.count, cid, frame.p2)
            case Command.ERROR if len(frame.payload) >= 16:  # noqa: PLR2004  (a header)
                request = bytearray(frame.payload)
                sid = int.from_bytes(request[8:12], "big")
                request[8:12] = ioc.sids.get(sid, sid).to_bytes(4, "big")
                return pack(frame.command, frame.dtype, 0, frame.p1, frame.p2, bytes(request))
            case Command.ACCESS_RIGHTS:
                return frame.raw
            case _:
                return b""

    def _drop_channel(self, ioc: IocCircuit, cid: int) -> None:
        channel = self._channels.pop(cid, None)
        if channel is not None:
            self._session.channels -= 1
            self._subscriptions -= len(channel.subscriptions)
            if channel.sid is not None:
                ioc.sids.pop(channel.sid, None)

    def _write(self, frame: Frame) -> None:
        self._refuse_own(frame.p2)
        if frame.command == Command.WRITE_NOTIFY and frame.p2 in self._callbacks:
            raise BadFrameError(f"the id {frame.p2:#x} of a put callback is still in use")
        channel = self._open_channel(frame)
        if channel is None:
            return
        self._judging = True
        self._session.judging(asyncio.create_task(self._judge(channel, frame)))

    async def _judge(self, channel: Channel, frame: Frame) -> None:
        """Have a write judged; what the client says meanwhile waits, so that the order is kept."""
        refusal: Refusal | None = None
        try:
            refusal = await self._judged(channel, frame)
        except Exception:
            # What nobody foresaw must not leave the client waiting, nor the write unanswered.
            log.exception("a write could not be judged", channel=channel.name)
            refusal = self._shared.writer.refuse(
                self._session,
                _attempted(channel, frame),
                ViolationType.NOT_ALLOWED,
                "the gate could not judge it: see the gate's log",
            )
        finally:
            if refusal is not None:
                self._session.refused(refusal)
                await self._session.slow_down()
                self._say(_refusal_frames(channel, frame, refusal))
            self._judging = False
            self._close_if_done()
            self._take_turn()

    async def _judged(self, channel: Channel, frame: Frame) -> Refusal | None:
        writer, session = self._shared.writer, self._session
        attempted = _attempted(channel, frame)
        if frame.command == Command.WRITE_NOTIFY:
            attempted = replace(attempted, answered=self._loop.create_future())
        if session.opening.mode is not SessionMode.APPLY:
            return writer.refuse(
                session,
                attempted,
                ViolationType.NOT_ALLOWED,
                f"this run is {session.opening.mode}, in which nothing may be written",
            )
        try:
            if channel.record is None:
                channel.record = await identify(
                    channel.ioc, channel.name, attempted.sid, channel.dtype, channel.count
                )
        except (UnknownRecordError, IocLostError) as error:
            return writer.refuse(session, attempted, ViolationType.LIMITS_UNAVAILABLE, str(error))

        def message(received: Received) -> bytes:
            if attempted.answered is not None:
                self._callbacks[frame.p2] = channel.ioc, attempted.answered
            return pack(
                frame.command,
                received.dtype,
                received.count,
                attempted.sid,
                frame.p2,
                received.payload,
            )

        done = await writer.write(session, channel.ioc, channel.record, attempted, message)
        if isinstance(done, Refusal):
            return done
        session.forwarded(done)
        self._flights += 1
        done.add_done_callback(self._landed)
        return None

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _refuse_own(self, identity: int) -> None:
        if identity >= OWN_IDS:
            raise BadFrameError(f"the id {identity:#x} is the gate's own")


def _refuse_command(frame: Frame) -> None:
    raise BadFrameError(f"command {frame.command} is not taken")


def _drop(frame: Frame) -> None:
    """Who a client says it is, is only a claim: the IOC is told our own name."""


def _attempted(channel: Channel, frame: Frame) -> Attempted:
    return Attempted(channel.name, channel.sid or 0, frame.dtype, frame.count, frame.payload)


def _refusal_frames(channel: Channel, frame: Frame, refusal: Refusal) -> bytes:
    """What the client hears: an error with the refusal in its text, then the put's own failure.

    The error looks like one of a plain put in both cases, since libca passes those on to the
    program's handler, text and all, while a failed put callback tells a number alone.
    """
    text = json.dumps({"runpermit": refusal.model_dump(mode="json")}, allow_nan=False)
    if len(text) > _REFUSAL_BYTES:
        bounded = refusal.model_copy(update={"value": None, "current_value": None})
        text = json.dumps({"runpermit": bounded.model_dump(mode="json")}, allow_nan=False)
        text = text if len(text) <= _REFUSAL_BYTES else "{}"
    request = pack(Command.WRITE, frame.dtype, min(frame.count, 1), channel.cid, channel.cid)
    error = pack(Command.ERROR, 0, 0, channel.cid, ECA_PUTFAIL, request[:16] + text_payload(text))
    if frame.command == Command.WRITE_NOTIFY:
        error += pack(frame.command, frame.dtype, frame.count, ECA_PUTFAIL, frame.p2)
    return error
