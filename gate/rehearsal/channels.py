"""A rehearsing client's channels: they read what its writes would have made of them."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from gate.aside import aside
from gate.channel_access.frames import Command, Frame
from gate.channel_access.ioc_circuit import IocCircuit, IocLostError
from gate.channel_access.records import Record, UnknownRecordError, identify
from gate.channel_access.values import Received
from gate.rehearsal.model_circuit import ModelCircuit
from gate.rehearsal.patching import Shadow, is_quick, live_value, patched
from gate.sessions.client_channels import Channel, ClientChannels, Subscription, refuse_own

if TYPE_CHECKING:
    from gate.rehearsal.rehearsal import Rehearsal
    from gate.sessions.client_circuit import ClientCircuit

_LONG = 1000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a client asked for, and what it is to get instead of the live value."""

    record: Record
    shadow: Shadow
    fixed: bool


class RehearsedChannels(ClientChannels):
    """Patches what the IOCs say of channels that were written, or follow one that was.

    With a model IOC such a channel is open there as well, and it is the model that is asked.
    """

    def __init__(self, circuit: "ClientCircuit", rehearsal: "Rehearsal") -> None:
        super().__init__(circuit)
        self._rehearsal = rehearsal
        self._asked: dict[int, _Asked] = {}
        self._subscribed: dict[int, Channel] = {}
        self._model: ModelCircuit | None = None
        rehearsal.listeners.add(self)

    def close(self) -> None:
        """Give back all channels, and end the circuits to their IOCs."""
        self._rehearsal.listeners.discard(self)
        super().close()
        if self._model is not None:
            self._model.close()

    def read(self, frame: Frame) -> None:
        """Ask the IOC for a value, or the model."""
        refuse_own(frame.p2)
        channel = self.opened(frame)
        if channel is None:
            return
        self._asked.pop(frame.p2, None)
        model = self._read_by(channel)
        if model is not None:
            model.read(channel, frame)
            return
        shadow = self._rehearsal.shadow(channel)
        if shadow is not None and channel.record is not None:
            self._asked[frame.p2] = _Asked(channel.record, shadow, fixed=frame.count > 0)
        super().read(frame)

    def subscribe(self, frame: Frame) -> None:
        """Have the IOC tell of changes, and the model."""
        super().subscribe(frame)
        channel = self.opened(frame)
        if channel is None:
            return
        self._subscribed[frame.p2] = channel
        model = self._read_by(channel)
        if model is not None:
            model.subscribe(channel, frame.p2, channel.subscriptions[frame.p2])

    def unsubscribe(self, frame: Frame) -> None:
        """End a subscription; it is the IOC that confirms it."""
        channel = self.opened(frame)
        super().unsubscribe(frame)
        self._subscribed.pop(frame.p2, None)
        if channel is not None and self._model is not None:
            self._model.unsubscribe(channel, frame)

    def write_to_model(self, channel: Channel, frame: Frame, received: Received) -> bool:
        """Write there what was recorded, where the model has the channel; it then answers."""
        model = self._answering(channel)
        if model is not None:
            model.write(channel, frame, received)
        return model is not None

    async def tell(self, changed: Collection[str]) -> None:
        """Some channels read something else from now on: their subscribers hear of it."""
        told = []
        for channel in list(self._channels.values()):
            record = channel.record
            if not channel.subscriptions or channel.sid is None or channel.cleared:
                continue
            if record is not None and record.channel in changed:
                told += [
                    self._tell(channel, record, number, wanted)
                    for number, wanted in channel.subscriptions.items()
                ]
            elif self._rehearsal.is_unknown(channel):
                self._read_by(channel)
        await asyncio.gather(*told)

    async def _tell(
        self, channel: Channel, record: Record, number: int, wanted: Subscription
    ) -> None:
        model = self._read_by(channel)
        if model is not None:
            await model.subscribed(channel, number, wanted)
            return
        shadow = self._rehearsal.shadow(channel)
        if shadow is None or not wanted.of_values:
            return
        try:
            frame = await channel.ioc.read(channel.sid or 0, wanted.dtype, wanted.count)
        except (IocLostError, LookupError):
            return  # its IOC tells nothing just now; its next event has the value
        asked = _Asked(record, shadow, fixed=wanted.count > 0)
        await self._say_patched(frame, asked, (Command.EVENT_ADD, number))

    def _answering(self, channel: Channel) -> ModelCircuit | None:
        """The model, where a write has changed what a channel reads, and the model has it."""
        if self._model is None or not self._model.has(channel):
            return None
        return self._model if self._rehearsal.has_moved(channel) else None

    def _read_by(self, channel: Channel) -> ModelCircuit | None:
        """Remember that a channel was read, or is from now on; the model, if it answers."""
        name = channel.record.channel if channel.record is not None else channel.name
        recorder = self._rehearsal.recorder
        recorder.read(name)
        model = self._answering(channel)
        if model is None and self._rehearsal.is_unknown(channel):
            recorder.unknown(name)
        return model

    def _said(self, ioc: IocCircuit, frame: Frame) -> bytes:
        if frame.command == Command.READ_NOTIFY:
            asked = self._asked.pop(frame.p2, None)
            return frame.raw if asked is None else self._patched(frame, asked)
        if frame.command == Command.EVENT_ADD and frame.payload:
            return self._event(frame)
        said = super()._said(ioc, frame)
        if frame.command == Command.CREATE_CHAN and said:
            # The client hears of it once it is known what stands behind it.
            self._circuit.start(self._open_known(self._channels[frame.p1], said))
            return b""
        return said

    def _event(self, frame: Frame) -> bytes:
        channel = self._subscribed.get(frame.p2)
        wanted = channel.subscriptions.get(frame.p2) if channel is not None else None
        if channel is None or channel.record is None or wanted is None:
            return frame.raw
        if self._answering(channel) is not None:
            self._see(frame, channel.record)
            return b""
        shadow = self._rehearsal.shadow(channel)
        if shadow is None:
            return frame.raw
        return self._patched(frame, _Asked(channel.record, shadow, fixed=wanted.count > 0))

    def _patched(self, frame: Frame, asked: _Asked) -> bytes:
        self._see(frame, asked.record)
        identity = (frame.command, frame.p2)
        if asked.shadow.elements > _LONG and not is_quick(frame.dtype, asked.shadow):
            self._circuit.start(self._say_patched(frame, asked, identity))
            return b""
        return patched(frame, asked.shadow, asked.record.target, identity, fixed=asked.fixed)

    async def _say_patched(self, frame: Frame, asked: _Asked, identity: tuple[int, int]) -> None:
        shadow, target = asked.shadow, asked.record.target
        self._circuit.say(
            await aside(
                shadow.elements, patched, frame, shadow, target, identity, fixed=asked.fixed
            )
        )

    def _see(self, frame: Frame, record: Record) -> None:
        """See in a live reply whether something else has moved a channel that was written."""
        known = self._rehearsal.recorder.channels.get(record.channel)
        live = live_value(frame, record.target)
        if known is not None and live is not None:
            known.seen(live)

    async def _open_known(self, channel: Channel, said: bytes) -> None:
        try:
            channel.record = await identify(
                channel.ioc, channel.name, channel.sid or 0, channel.dtype, channel.count
            )
        except (UnknownRecordError, IocLostError) as error:
            log.info("a record behind a channel is not known", channel=channel.name, why=str(error))
        model = self._rehearsal.model
        if model is not None:
            self._model = self._model or ModelCircuit(
                model,
                self._quotas.array_bytes,
                hear=self._hear_model,
                full=lambda full: self._slow_ioc(model.address, full=full),
                gone=self._rehearsal.end,
            )
            await self._model.open(channel)
        if self._channels.get(channel.cid) is channel:
            self._circuit.say(said)

    def _hear_model(self, ioc: IocCircuit, frames: list[Frame]) -> None:
        said = []
        for frame in frames:
            if frame.command in {Command.READ_NOTIFY, Command.WRITE_NOTIFY} or (
                frame.command == Command.EVENT_ADD and frame.payload
            ):
                said.append(frame.raw)
            elif frame.command == Command.ERROR:
                said.append(self._renamed(ioc, frame))
        self._circuit.say(b"".join(said))

    def _drop(self, ioc: IocCircuit, cid: int) -> None:
        channel = self._channels.get(cid)
        super()._drop(ioc, cid)
        if channel is not None:
            for number in channel.subscriptions:
                self._subscribed.pop(number, None)
            if self._model is not None:
                self._model.forget(channel)
