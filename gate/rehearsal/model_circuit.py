"""A rehearsing client's channels at the model IOC: its ids pass there as they do to the machine."""

from collections.abc import Callable

from gate.channel_access.frames import Command, Frame, pack
from gate.channel_access.ioc_circuit import IocCircuit, IocLostError
from gate.channel_access.values import Received
from gate.rehearsal.model import ModelUse, lost
from gate.sessions.client_channels import REFUSAL_BYTES, Channel, Subscription


class ModelCircuit:
    """Opened with the first channel. `hear` gets what it says, `gone` why it is lost."""

    def __init__(
        self,
        model: ModelUse,
        array_bytes: int,
        *,
        hear: Callable[[IocCircuit, list[Frame]], None],
        full: Callable[[bool], None],
        gone: Callable[[str], None],
    ) -> None:
        self._model = model
        self._sids: dict[Channel, int] = {}
        self._subscribed: set[tuple[Channel, int]] = set()
        self._gone = gone
        self._closed = False
        self._ioc = IocCircuit(
            model.address,
            limit=array_bytes + REFUSAL_BYTES,
            on_frames=lambda frames: hear(self._ioc, frames),
            on_full=full,
            on_lost=self._lost,
        )

    def has(self, channel: Channel) -> bool:
        """Whether the model has a channel."""
        return channel in self._sids

    async def open(self, channel: Channel) -> None:
        """Open it there as well, if the model has it."""
        try:
            opened = await self._ioc.open(channel.name)
        except LookupError:
            return
        except IocLostError:
            self._lost()
            return
        self._sids[channel] = opened.sid
        self._ioc.sids[opened.sid] = channel.cid

    def read(self, channel: Channel, frame: Frame) -> None:
        """Ask the model for a value."""
        self._send(channel, frame.command, frame.dtype, frame.count, frame.p2)

    def write(self, channel: Channel, frame: Frame, received: Received) -> None:
        """Write to the model what was recorded."""
        command, payload = frame.command, received.payload
        self._send(channel, command, received.dtype, received.count, frame.p2, payload)

    def subscribe(self, channel: Channel, number: int, wanted: Subscription) -> None:
        """Have the model tell of changes, once for each subscription."""
        if (channel, number) not in self._subscribed:
            self._subscribed.add((channel, number))
            command, mask = Command.EVENT_ADD, wanted.mask
            self._send(channel, command, wanted.dtype, wanted.count, number, mask)

    async def subscribed(self, channel: Channel, number: int, wanted: Subscription) -> None:
        """Subscribe, and wait until no write to the model from now on is missed.

        An IOC sends a subscription's first value before it takes it in, and a write of another
        circuit that comes between is told to nobody. The answer to a read comes behind both.
        """
        self.subscribe(channel, number, wanted)
        try:
            await self._ioc.ask_read(self._sids[channel], wanted.dtype, 1)
        except IocLostError:
            self._lost()

    def unsubscribe(self, channel: Channel, frame: Frame) -> None:
        """End a subscription that the model has heard of."""
        if (channel, frame.p2) in self._subscribed:
            self._subscribed.discard((channel, frame.p2))
            self._send(channel, frame.command, frame.dtype, frame.count, frame.p2)

    def forget(self, channel: Channel) -> None:
        """The client has given a channel back."""
        sid = self._sids.pop(channel, None)
        if sid is not None:
            self._subscribed = {item for item in self._subscribed if item[0] is not channel}
            self._ioc.sids.pop(sid, None)
            self._ioc.send(pack(Command.CLEAR_CHANNEL, p1=sid, p2=channel.cid))

    def close(self) -> None:
        """End it."""
        self._closed = True
        self._ioc.close()

    def _send(
        self, channel: Channel, command: int, dtype: int, count: int, p2: int, payload: bytes = b""
    ) -> None:
        self._ioc.send(pack(command, dtype, count, self._sids[channel], p2, payload))

    def _lost(self) -> None:
        if not self._closed:
            self._gone(lost(self._model.upstream, "its circuit ended"))
