"""The way of a rehearsed write: judged, recorded and answered; the machine never hears of it."""

from typing import TYPE_CHECKING

from gate.channel_access.frames import ECA_NORMAL, Command, Frame, pack
from gate.channel_access.ioc_circuit import IocLostError
from gate.channel_access.records import UnknownRecordError, identify
from gate.messages import Refusal
from gate.rehearsal.channels import RehearsedChannels
from gate.sessions.client_channels import Channel
from gate.sessions.client_writes import ClientWrites, attempted
from runpermit.limits import ViolationType

if TYPE_CHECKING:
    from gate.rehearsal.rehearsal import Rehearsal
    from gate.sessions.client_circuit import ClientCircuit


class RehearsedWrites(ClientWrites):
    """Has the writes of a rehearsing client recorded, one after the other."""

    def __init__(
        self, circuit: "ClientCircuit", channels: RehearsedChannels, rehearsal: "Rehearsal"
    ) -> None:
        super().__init__(circuit)
        self._channels = channels
        self._rehearsal = rehearsal

    async def _judged(self, channel: Channel, frame: Frame) -> Refusal | None:
        write = attempted(channel, frame)
        try:
            record = channel.record = channel.record or await identify(
                channel.ioc, channel.name, write.sid, channel.dtype, channel.count
            )
        except (UnknownRecordError, IocLostError) as error:
            return self._rehearsal.refuse(write, ViolationType.LIMITS_UNAVAILABLE, str(error))
        judged = await self._rehearsal.write(channel, record, write)
        if isinstance(judged, Refusal):
            return judged
        if self._channels.write_to_model(channel, frame, judged.received):
            return None
        if frame.command == Command.WRITE_NOTIFY:
            self._circuit.say(pack(frame.command, frame.dtype, frame.count, ECA_NORMAL, frame.p2))
        return None
