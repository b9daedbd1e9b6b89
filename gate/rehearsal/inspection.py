"""What stands behind the channels of a limits database now, to be compared with what it says."""

import asyncio
import math
from collections.abc import Sequence

from gate.channel_access.directory import Directory
from gate.channel_access.ioc_circuit import IocLostError
from gate.channel_access.own_channels import OwnChannels
from gate.channel_access.records import Record
from gate.channel_access.values import Dbr, UnfitValueError
from gate.rehearsal.description import live_of, text_of_field
from gate.rehearsal.drive_limits import UNREADABLE, drive_limits
from runpermit.models import FoundChannel
from runpermit.plans.values import is_number
from runpermit.text import one_line

_TOGETHER = 20
_TOLD_CHARACTERS = 200


class Inspector:
    """Looks at channels that no session has open, whether they answer or not."""

    def __init__(self, directory: Directory, array_bytes: int) -> None:
        self._directory = directory
        self._array_bytes = array_bytes

    async def inspect(self, names: Sequence[str]) -> list[FoundChannel]:
        """What is found of each of `names`, in their order; of some of them only the problem."""
        channels = OwnChannels(self._directory, self._array_bytes)
        free = asyncio.Semaphore(_TOGETHER)

        async def inspect(name: str) -> FoundChannel:
            async with free:
                try:
                    return await _found(channels, name)
                except (LookupError, IocLostError, UnfitValueError) as error:
                    return FoundChannel(name=name, problem=one_line(f"{error}", _TOLD_CHARACTERS))

        try:
            return list(await asyncio.gather(*map(inspect, names)))
        finally:
            channels.close()


async def _found(channels: OwnChannels, name: str) -> FoundChannel:
    setpoint = await channels.open(name)
    record = setpoint.record
    frame = await setpoint.circuit.read(setpoint.sid, record.target.seen_type, 0)
    live, units, limits = await asyncio.gather(
        live_of(record, frame),
        text_of_field(setpoint.circuit, f"{record.name}.EGU"),
        drive_limits(setpoint.circuit, record),
    )
    drive = (
        {"drive_problem": UNREADABLE}
        if limits is None
        else {
            "drive_low": limits.low if math.isfinite(limits.low) else None,
            "drive_high": limits.high if math.isfinite(limits.high) else None,
            "beyond_low": limits.told(-math.inf),
            "beyond_high": limits.told(math.inf),
        }
    )
    return FoundChannel(
        name=name,
        channel=record.channel,
        record_type=one_line(record.record_type, _TOLD_CHARACTERS),
        units=one_line(units, _TOLD_CHARACTERS),
        elements=record.target.count,
        holds_text=_holds_text(record),
        states=[one_line(state, _TOLD_CHARACTERS) for state in record.target.states],
        reads=live.value if is_number(live.value) and math.isfinite(live.value) else None,
        **drive,
    )


def _holds_text(record: Record) -> bool:
    return record.target.text or record.target.native is Dbr.STRING
