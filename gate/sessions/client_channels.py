"""A client's channels: each at its IOC, and what the IOC says of them under the client's ids."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gate.channel_access.directory import is_channel_name
from gate.channel_access.frames import (
    OWN_IDS,
    PROTOCOL,
    BadFrameError,
    Command,
    Frame,
    pack,
    text_of,
    text_payload,
)
from gate.channel_access.ioc_circuit import Address, IocCircuit
from gate.channel_access.records import Record

if TYPE_CHECKING:
    from gate.sessions.client_circuit import ClientCircuit

SUBSCRIPTIONS_PER_CHANNEL = 4
MASK_BYTES = 16
_VALUE_OR_LOG = 0x3
# Beside the longest array: what a refusal in words may take.
REFUSAL_BYTES = 4096
# Answers in which no id is the IOC's own.
_SAME_FOR_BOTH = frozenset({Command.READ_NOTIFY, Command.WRITE_NOTIFY, Command.ACCESS_RIGHTS})


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a client wants to hear of: in which type, how many elements, and which changes."""

    dtype: int
    count: int
    mask: bytes

    @property
    def of_values(self) -> bool:
        """Whether it is about values, and not about alarms or properties alone."""
        return bool(int.from_bytes(self.mask[12:14], "big") & _VALUE_OR_LOG)


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
        self.subscriptions: dict[int, Subscription] = {}
        self.cleared = False


class ClientChannels:
    """Opens channels for `circuit`, and passes on what is read of them."""

    def __init__(self, circuit: "ClientCircuit") -> None:
        self._circuit = circuit
        self._session = circuit.session
        self._quotas = circuit.session.shared.quotas
        self._channels: dict[int, Channel] = {}
        self._opening: set[int] = set()
        self._subscriptions = 0
        self._iocs: dict[Address, IocCircuit] = {}
        self._full: set[Address] = set()

    @property
    def kept_waiting(self) -> bool:
        """Whether an IOC takes less than it is asked for."""
        return bool(self._full)

    def hold(self, *, on: bool) -> None:
        """Let the IOCs wait while the client does not read."""
        for ioc in self._iocs.values():
            ioc.hold(on=on)

    def close(self) -> None:
        """Give back all channels, and end the circuits to their IOCs."""
        self._session.channels -= len(self._channels) + len(self._opening)
        self._channels.clear()
        self._opening.clear()
        for address in list(self._iocs):
            self._iocs[address].close()

    def opened(self, frame: Frame) -> Channel | None:
        """The channel that a frame names, None where it was cleared, or its IOC lost meanwhile."""
        channel = self._channels.get(frame.p1)
        if channel is None or channel.sid is None or channel.cleared:
            return None
        return channel

    # What the client says

    def create(self, frame: Frame) -> None:
        """Search a channel's IOC and open it there, within the session's share."""
        name = text_of(frame.payload)
        refuse_own(frame.p1)
        quota = self._quotas.channels_per_session
        if self._session.channels >= quota:
            self._session.note(f"gate.channels_per_session = {quota} was reached")
        if (
            self._session.channels >= quota
            or frame.p1 in self._channels
            or frame.p1 in self._opening
            or not is_channel_name(name)
        ):
            self._circuit.say(pack(Command.CREATE_CH_FAIL, p1=frame.p1))
            return
        self._opening.add(frame.p1)
        self._session.channels += 1
        self._circuit.start(self._open(name.decode(), frame.p1))

    def read(self, frame: Frame) -> None:
        """Ask the IOC for a value."""
        channel = self.opened(frame)
        refuse_own(frame.p2)
        if channel is not None:
            channel.ioc.send(
                pack(frame.command, frame.dtype, frame.count, channel.sid or 0, frame.p2)
            )

    def subscribe(self, frame: Frame) -> None:
        """Have the IOC tell of changes."""
        channel = self.opened(frame)
        refuse_own(frame.p2)
        if channel is None:
            return
        most = SUBSCRIPTIONS_PER_CHANNEL * self._quotas.channels_per_session
        if frame.p2 not in channel.subscriptions:
            if self._subscriptions >= most:
                raise BadFrameError(f"more than {most} subscriptions")
            self._subscriptions += 1
        wanted = Subscription(frame.dtype, frame.count, frame.payload[:MASK_BYTES])
        channel.subscriptions[frame.p2] = wanted
        self._pass_on(channel, frame)

    def unsubscribe(self, frame: Frame) -> None:
        """End a subscription."""
        channel = self.opened(frame)
        refuse_own(frame.p2)
        if channel is not None and channel.subscriptions.pop(frame.p2, None) is not None:
            self._subscriptions -= 1
            self._pass_on(channel, frame)

    def clear(self, frame: Frame) -> None:
        """Give a channel back; its IOC answers that."""
        channel = self.opened(frame)
        if channel is not None:
            channel.cleared = True
            # Under our own name for it: the answer says by that which channel is gone.
            channel.ioc.send(pack(frame.command, p1=channel.sid or 0, p2=channel.cid))

    def to_all(self, frame: Frame) -> None:
        """Pass on what concerns the whole circuit."""
        for ioc in self._iocs.values():
            ioc.send(pack(frame.command))

    def _pass_on(self, channel: Channel, frame: Frame) -> None:
        sid = channel.sid or 0
        channel.ioc.send(
            pack(frame.command, frame.dtype, frame.count, sid, frame.p2, frame.payload)
        )

    async def _open(self, name: str, cid: int) -> None:
        address = await self._session.find(name)
        if cid not in self._opening:
            return
        self._opening.discard(cid)
        ioc = self._circuit_to(address) if address is not None else None
        if ioc is None:
            self._session.channels -= 1
            self._circuit.say(pack(Command.CREATE_CH_FAIL, p1=cid))
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
            limit=self._quotas.array_bytes + REFUSAL_BYTES,
            on_frames=lambda frames: self._answer(ioc, frames),
            on_full=lambda full: self._slow_ioc(address, full=full),
            on_lost=lambda: self._lost(ioc),
        )
        self._iocs[address] = ioc
        return ioc

    # What the IOCs say

    def _slow_ioc(self, address: Address, *, full: bool) -> None:
        """Let the client wait while an IOC takes less than it is asked for."""
        if full:
            self._full.add(address)
        elif address in self._full:
            self._full.discard(address)
            self._circuit.take_turn()

    def _lost(self, ioc: IocCircuit) -> None:
        """Tell the client which channels are gone; it searches again, and so do we."""
        del self._iocs[ioc.address]
        self._circuit.writes.lost(ioc)
        self._session.lost_circuit(ioc.address)
        self._session.shared.directory.forget(ioc.address)
        gone = [channel.cid for channel in self._channels.values() if channel.ioc is ioc]
        for cid in gone:
            self._drop(ioc, cid)
        self._circuit.say(b"".join(pack(Command.SERVER_DISCONN, p1=cid) for cid in gone))
        self._slow_ioc(ioc.address, full=False)

    def _answer(self, ioc: IocCircuit, frames: list[Frame]) -> None:
        """Pass on what an IOC says, with the client's ids."""
        self._circuit.say(b"".join([self._said(ioc, frame) for frame in frames]))

    def _said(self, ioc: IocCircuit, frame: Frame) -> bytes:
        """One frame of an IOC as the client hears it."""
        if frame.command == Command.WRITE_NOTIFY:
            self._circuit.writes.answered(frame.p2, by_ioc=True)
        if frame.command in _SAME_FOR_BOTH or (
            frame.command == Command.EVENT_ADD and frame.payload
        ):
            return frame.raw
        return self._renamed(ioc, frame)

    def _renamed(self, ioc: IocCircuit, frame: Frame) -> bytes:
        match frame.command:
            case Command.CREATE_CHAN:
                channel = self._channels.get(frame.p1)
                if channel is None:
                    return b""
                channel.sid, channel.dtype, channel.count = frame.p2, frame.dtype, frame.count
                ioc.sids[frame.p2] = frame.p1
                return _created(channel)
            case Command.CREATE_CH_FAIL | Command.SERVER_DISCONN:
                # It has moved: the next search must not find it here again.
                self._session.shared.directory.forget(ioc.address)
                self._drop(ioc, frame.p1)
                return frame.raw
            case Command.CLEAR_CHANNEL:
                self._drop(ioc, frame.p2)
                return pack(frame.command, p1=frame.p2, p2=frame.p2)
            case Command.EVENT_ADD:
                cid = ioc.sids.get(frame.p1, 0)
                return pack(frame.command, frame.dtype, frame.count, cid, frame.p2)
            case Command.ERROR if len(frame.payload) >= 16:  # noqa: PLR2004  (a header)
                request = bytearray(frame.payload)
                sid = int.from_bytes(request[8:12], "big")
                request[8:12] = ioc.sids.get(sid, sid).to_bytes(4, "big")
                return pack(frame.command, frame.dtype, 0, frame.p1, frame.p2, bytes(request))
            case _:
                return b""

    def _drop(self, ioc: IocCircuit, cid: int) -> None:
        channel = self._channels.pop(cid, None)
        if channel is not None:
            self._session.channels -= 1
            self._subscriptions -= len(channel.subscriptions)
            if channel.sid is not None:
                ioc.sids.pop(channel.sid, None)


def _created(channel: Channel) -> bytes:
    """That a channel is open; towards the client its server id is its own id."""
    cid = channel.cid
    return pack(Command.CREATE_CHAN, channel.dtype, channel.count, cid, cid)


def refuse_own(identity: int) -> None:
    """Raise BadFrameError for an id that only the gate itself may use."""
    if identity >= OWN_IDS:
        raise BadFrameError(f"the id {identity:#x} is the gate's own")
