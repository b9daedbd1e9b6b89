"""What was written to each channel, as the journal tells it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gate.channel_access.values import Value
from gate.messages import WriteOutcome
from gate.policy.verification import same
from runpermit.limits import ChannelLimitsConfig
from runpermit.plans import same as exactly_same
from runpermit.plans.values import is_number

RESTORE = "restore-"
"""What the names of the gate's own sessions that put back begin with."""

# Of a longer text the journal has the beginning alone.
_WHOLE_TEXT = 10_000
# After these the record may still hold what it held before.
_UNKNOWN = frozenset({WriteOutcome.UNCERTAIN, WriteOutcome.UNREADABLE})


@dataclass(frozen=True)
class Ours:
    """What a channel may read where nobody else has set it since.

    One of `values`, as the journal tells them; or a number in `span`, where it was stopped on its
    way.
    """

    values: tuple[Any, ...]
    span: tuple[float, float] | None = None

    def has(self, reads: Value, entry: ChannelLimitsConfig | None) -> bool:
        """Whether it `reads` so, as closely as it is verified."""
        if any(equals(value, reads, entry) for value in self.values):
            return True
        if self.span is None or isinstance(reads, str | tuple):
            return False
        return min(self.span) <= reads <= max(self.span)


@dataclass
class Left:
    """A channel that an execution wrote; values are JSON as the journal has it.

    first, last: the numbers of the first and last write. name: what to open it as. before: what it
    held before the first. written: what it was set to last, from `old`, by the session `session`
    under `permit`. read_back: what it read then. stop: what the gate set it to itself, to stop
    something. stopped: whether it was stopped on its way. outcome: what became of the last write.
    """

    first: int
    channel: str
    name: str
    before: Any
    last: int = 0
    old: Any = None
    written: Any = None
    read_back: Any = None
    stop: Any = None
    stopped: bool = False
    outcome: WriteOutcome = WriteOutcome.UNCERTAIN
    session: str = ""
    permit: str = ""
    attempt: int = 0

    @property
    def uncertain(self) -> bool:
        """Whether it may still hold what it held before the last write."""
        return self.outcome in _UNKNOWN

    @property
    def restoring(self) -> bool:
        """Whether the last write was one of a restore."""
        return self.session.startswith(RESTORE)

    @property
    def ours(self) -> Ours:
        """What it may read where nobody else has set it since."""
        values = [self.written, self.read_back, self.stop, self.old if self.uncertain else None]
        known = tuple(value for value in values if value is not None)
        if not self.stopped:
            return Ours(known)
        # A device that stops takes its setpoint along, as a motor record does.
        ends = [end for end in (self.old, self.written) if is_number(end)]
        return Ours(known, (ends[0], ends[1]) if len(ends) == 2 else None)  # noqa: PLR2004


class Written(NamedTuple):
    """A write that left the gate, or may have: its record, and the one of its end, if any."""

    record: Mapping[str, Any]
    end: Mapping[str, Any]

    @property
    def at(self) -> str:
        """When it left the gate."""
        return str(self.end.get("forwarded_at") or self.record["at"])

    @property
    def outcome(self) -> WriteOutcome:
        """What became of it."""
        try:
            return WriteOutcome(str(self.end.get("outcome")))
        except ValueError:
            return WriteOutcome.UNCERTAIN


class ChannelStory:
    """Takes records of writes and of their ends, in their order. `channels`: what they left."""

    def __init__(self) -> None:
        self.channels: dict[str, Left] = {}
        self.pending: dict[int, Mapping[str, Any]] = {}

    def take(self, record: Mapping[str, Any]) -> Written | None:
        """Take one more record; the write that it ends, if it is one that left the gate."""
        match record.get("event"):
            case "write":
                self.pending[record["seq"]] = record
            case "not_forwarded":
                self.pending.pop(record.get("of", 0), None)
            case "confirmed":
                intended = self.pending.pop(record.get("of", 0), None)
                if intended is not None:
                    return self._wrote(Written(intended, record))
        return None

    def end(self) -> list[Written]:
        """No more records come: the writes of which nobody knows what became."""
        found = [self._wrote(Written(intended, {})) for intended in self.pending.values()]
        self.pending.clear()
        return found

    def left(self) -> list[Left]:
        """The channels that were written, in the order of the first write to each."""
        return sorted(self.channels.values(), key=lambda left: left.first)

    def forget(self) -> None:
        """Begin anew."""
        self.pending.clear()
        self.channels.clear()

    def _wrote(self, written: Written) -> Written:
        record = written.record
        channel, seq, old = record["channel"], record["seq"], record["old"]
        left = self.channels.setdefault(channel, Left(seq, channel, _opened_as(record), old))
        # One that nobody ever confirmed is taken last.
        if seq < left.first:
            left.first, left.before = seq, old
        if seq >= left.last:
            left.last, left.old, left.written = seq, old, record["new"]
            left.session = str(record.get("session", ""))
            left.permit = str(record.get("permit", ""))
            left.attempt = record.get("attempt", 0)
            left.outcome, left.read_back = written.outcome, written.end.get("read_back")
        return written


def _opened_as(record: Mapping[str, Any]) -> str:
    """The record's own name for the channel; as a text where it was written as one."""
    channel = str(record["channel"])
    if not str(record.get("used", "")).endswith("$"):
        return channel
    return f"{channel}$" if "." in channel else f"{channel}.VAL$"


def as_value(told: Any) -> Value | None:  # noqa: ANN401  (JSON)
    """The value that the journal tells, None where it does not have all of it."""
    if isinstance(told, list):
        items = [_scalar(item) for item in told]
        whole = tuple(item for item in items if item is not None)
        return whole if len(whole) == len(items) else None
    return _scalar(told)


def _scalar(told: Any) -> int | float | str | None:  # noqa: ANN401  (JSON)
    if isinstance(told, str):
        return told if len(told) < _WHOLE_TEXT else None
    return told if isinstance(told, int | float) and not isinstance(told, bool) else None


def equals(told: Any, reads: Value, entry: ChannelLimitsConfig | None) -> bool:  # noqa: ANN401
    """Whether `reads` is the value that the journal tells, as closely as it is verified."""
    value = as_value(told)
    return exactly_same(told, reads) if value is None else same(value, reads, entry)
