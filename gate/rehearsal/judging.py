"""Whether a rehearsed write would pass record and limits, by what its channel would read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gate.channel_access.ioc_circuit import IocCircuit
from gate.channel_access.records import Record
from gate.channel_access.values import Received, Value
from gate.messages import Refusal
from gate.policy.attempt import Attempted, Case
from gate.policy.judging import as_received, current_value, refuse_alias, validate
from gate.policy.watched_limits import limits_in_force
from runpermit.limits import ChannelLimitsConfig, LimitsFile

if TYPE_CHECKING:
    from gate.sessions.session import Session


class RehearsingHolder:
    """A REHEARSE session as whoever judges sees it: it writes as long as it is open."""

    enforcement = None

    def __init__(self, session: "Session") -> None:
        self._session = session

    @property
    def may_write(self) -> bool:
        """Whether it is open."""
        return self._session.is_open

    @property
    def identity(self) -> dict[str, object]:
        """What the journal says of it."""
        return self._session.identity

    def has_room_for(self, refusal: Refusal) -> bool:
        """Whether the journal takes the record of one more refusal."""
        return self._session.has_room_for(refusal)


@dataclass(frozen=True)
class Judged:
    """A write that passes: what the record would hold before it and after it, and by which entry.

    `entry` is None where the limits database says nothing of the channel.
    """

    received: Received
    old: Value
    entry: ChannelLimitsConfig | None


async def judge(
    holder: RehearsingHolder,
    circuit: IocCircuit,
    record: Record,
    write: Attempted,
    rehearsed: Value | None,
    limits: LimitsFile,
) -> Judged:
    """Judge a write to a channel that reads `rehearsed`; None where it reads what it does live.

    Inhibit, permits, conditions and pacing are not asked. Raises RefusedError.
    """
    received = await as_received(record, write)
    case = Case(holder, circuit, record, write, received)
    case.check_open()
    validator = await limits_in_force(limits, case.check_open)
    entry = validator.find(record.channel)
    refuse_alias(case, validator)
    old = rehearsed
    if old is None:
        reading = circuit.ask_read(write.sid, record.target.seen_type, 0)
        old = await current_value(case, entry, reading)
    await validate(case, validator, old)
    case.check_open()
    return Judged(received, old, entry)
