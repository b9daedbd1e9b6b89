"""What a rehearsal recorded: writes in their order, facts of their channels, and what was read."""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass

from gate.channel_access.records import Record
from gate.channel_access.values import Value
from gate.messages import REPORT_BYTES, Rehearsed
from gate.rehearsal.description import Live
from gate.rehearsal.drive_limits import UNREADABLE, DriveLimits
from gate.rehearsal.judging import Judged
from runpermit.limits import ChannelLimitsConfig, Condition
from runpermit.models import MachineState, PlannedChannel, PlannedWrite
from runpermit.models.plan import MAX_PLANNED_ELEMENTS, MAX_PLANNED_WRITES
from runpermit.plans import plan_tolerance

MOST_NAMES = 200
_ROUNDED = 3  # digits of a second


class RecordedChannel:
    """One written channel: what it read at its first write, and what its writes reach.

    used: the name that it was written by. digits: as many its record shows behind the point.
    drive: how far its record lets itself be driven, None where that can't be read.
    """

    def __init__(
        self,
        facts: PlannedChannel,
        used: str,
        record: Record,
        live: Live,
        entry: ChannelLimitsConfig | None,
        digits: int | None,
        drive: DriveLimits | None,
    ) -> None:
        self.used = used
        self.record = record
        self.digits = digits
        self.live = live.value
        self.moved_by = facts.moved_by
        self._drive = drive
        self._clamped = UNREADABLE if drive is None else ""
        self._facts = facts
        self._entry = entry
        self._writes = 0
        self._values: list[float] = []
        self._tolerance: float | None = 0.0
        self._largest_step: float | None = None
        self._last: object = None
        self._last_state = ""

    def stored(self, old: Value, new: Value) -> Value:
        """What the record holds, which held `old`, once it was set to `new`."""
        return new if self._drive is None else self._drive.stored(old, new)

    def add(self, old: Value, new: Value, planned: object, state: str) -> None:
        """Count one more write."""
        self._writes += 1
        if self._drive is not None:
            self._clamped = self._clamped or self._drive.told(new)
        self._last, self._last_state = planned, state
        # That of many values is the largest of each one's; a long array has none.
        short = not isinstance(new, tuple) or len(new) <= MAX_PLANNED_ELEMENTS
        tolerance = plan_tolerance(self._entry, self.live, (new,)) if short else None
        known = self._tolerance
        self._tolerance = None if known is None or tolerance is None else max(known, tolerance)
        if isinstance(new, int | float) and not self._facts.exact:
            numbers = (*self._values, new)
            self._values = [min(numbers), max(numbers)]
            if isinstance(old, int | float) and math.isfinite(old):
                self._largest_step = max(self._largest_step or 0.0, abs(new - old))

    def seen(self, live: Value) -> None:
        """Remember where its live value has changed: nothing of ours has changed it."""
        changed = live != self.live and (live == live or self.live == self.live)  # noqa: PLR0124
        if changed and not self.moved_by:
            self.moved_by = "it changed during the rehearsal, which writes nothing to the machine"

    def not_seen(self, why: object) -> None:
        """Remember that nobody knows whether it changed."""
        if not self.moved_by:
            self.moved_by = f"it could not be looked at again after the rehearsal: {why}"

    def planned(self) -> PlannedChannel:
        """As the plan tells of it."""
        return self._facts.model_copy(
            update={
                "writes": self._writes,
                "low": min(self._values, default=None),
                "high": max(self._values, default=None),
                "last": self._last,
                "last_state": self._last_state,
                "tolerance": None if self._facts.exact else self._tolerance,
                "largest_step": self._largest_step,
                "moved_by": self.moved_by,
                "clamped": self._clamped,
            }
        )


@dataclass
class _Room:
    """Bytes that are left of a report's share."""

    left: int = REPORT_BYTES

    def take(self, size: int) -> bool:
        """Whether there is room for so many more."""
        self.left -= size
        return self.left >= 0


class Recorder:
    """Gathers what one rehearsal does."""

    def __init__(self) -> None:
        self.channels: dict[str, RecordedChannel] = {}
        self._writes: list[PlannedWrite] = []
        self._count = 0
        self._room = _Room()
        self._channel_room = _Room()
        self._began: float | None = None
        self._reads: dict[str, None] = {}
        self._unknown: dict[str, None] = {}
        self._machine: dict[Condition, MachineState] = {}

    @property
    def count(self) -> int:
        """How many writes were recorded."""
        return self._count

    def has_room_for(self, facts: PlannedChannel) -> bool:
        """Whether the report takes one more channel: each of them has to be told."""
        # Its last value may be as long as the present one.
        return self._channel_room.take(2 * len(facts.model_dump_json()) + 100)

    def first(self, channel: RecordedChannel) -> None:
        """Remember what a channel was before its first write."""
        self.channels[channel.record.channel] = channel

    def wrote(self, record: Record, judged: Judged, old: object, new: object) -> None:
        """Record a write that passed, with its values as a plan tells them."""
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        self._count += 1
        received, state = judged.received, judged.received.state or ""
        self.channels[record.channel].add(judged.old, received.value, new, state)
        write = PlannedWrite(
            channel=record.channel,
            old=old,
            new=new,
            state=state,
            after=round(now - self._began, _ROUNDED),
        )
        # Only the first ones, without a gap: what comes behind one that is left out is so too.
        whole = len(self._writes) == self._count - 1 < MAX_PLANNED_WRITES
        if whole and self._room.take(len(write.model_dump_json())):
            self._writes.append(write)

    def read(self, name: str) -> None:
        """Remember that a channel was read."""
        if len(self._reads) < MOST_NAMES:
            self._reads.setdefault(name)

    def unknown(self, name: str) -> None:
        """Remember that a channel was read of which nobody knows what it would have read."""
        if len(self._unknown) < MOST_NAMES:
            self._unknown.setdefault(name)

    def unread(self, conditions: Iterable[Condition]) -> list[Condition]:
        """Those of some conditions that were not read yet."""
        return [one for one in dict.fromkeys(conditions) if one not in self._machine]

    def machine(self, condition: Condition, state: MachineState) -> None:
        """Remember how a condition was found."""
        self._machine[condition] = state

    def rehearsed(self, upstream: str) -> Rehearsed:
        """All of it."""
        return Rehearsed(
            writes=list(self._writes),
            left_out=self._count - len(self._writes),
            channels=[channel.planned() for channel in self.channels.values()],
            reads=list(self._reads),
            unknown=list(self._unknown),
            machine=list(self._machine.values()),
            upstream=upstream,
        )
