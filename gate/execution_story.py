"""What an execution did to each channel, as the journal tells it."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.journal_files import journal_files
from gate.messages import WriteOutcome
from gate.values import Value
from gate.verification import same
from runpermit.errors import ServiceUnavailableError
from runpermit.limits import ChannelLimitsConfig
from runpermit.plans import same as exactly_same
from runpermit.plans.values import is_number

RESTORE = "restore-"
"""What the names of the gate's own sessions that put back begin with."""

# As the journal writes it; in a text it would stand with backslashes.
_OF = re.compile(rb'"of": (\d+)[,}]')
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
    something. stopped: whether it was stopped on its way. uncertain: whether nobody knows what
    became of the last write.
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
    uncertain: bool = True
    session: str = ""
    permit: str = ""
    attempt: int = 0

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


class ExecutionStory:
    """Takes an execution's records, and what was noted of its writes, in their order.

    What is told is what its last permit changed, and restores since: that is what an operator was
    shown. why_not: for each channel of an approved plan why it can't be put back, empty where it
    can.
    """

    def __init__(self) -> None:
        self.why_not: dict[str, str] = {}
        self._pending: dict[int, Mapping[str, Any]] = {}
        self._permit: str | None = None
        self._stops: list[Mapping[str, Any]] = []
        self._left: dict[str, Left] = {}

    @classmethod
    async def read(cls, directory: Path, execution: str) -> "ExecutionStory":
        """What the journal in `directory` says now. Raises ServiceUnavailableError."""
        story = cls()
        try:
            await asyncio.to_thread(story._read, directory, execution)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ServiceUnavailableError(
                f"The journal {directory} (gate.journal) does not tell what {execution} left "
                f"changed: {error!r}. Look at it with: runpermit audit.",
                "gate",
            ) from None
        return story

    def _read(self, directory: Path, execution: str) -> None:
        name = json.dumps(execution).encode()
        for file in journal_files(directory):
            with file.open("rb") as opened:
                for line in opened:
                    of = _OF.search(line)
                    ours = of is not None and int(of[1]) in self._pending
                    if (ours or name in line) and line.endswith(b"\n"):
                        record = json.loads(line)
                        if ours or record.get("execution") == execution:
                            self.take(record)

    def take(self, record: Mapping[str, Any]) -> None:
        """Take one more record."""
        match record.get("event"):
            case "permit_consumed":
                known = record.get("channels")
                self.why_not |= known if isinstance(known, dict) else {}
            case "write":
                self._begin(record.get("permit"))
                self._pending[record["seq"]] = record
            case "stop_write":
                self._stops.append(record)
            case "not_forwarded":
                self._pending.pop(record.get("of", 0), None)
            case "confirmed":
                written = self._pending.pop(record.get("of", 0), None)
                if written is not None:
                    self._wrote(written, record)

    def left(self) -> list[Left]:
        """The channels that were written, in the order of the first write to each."""
        for written in self._pending.values():
            self._wrote(written, {})
        self._pending.clear()
        for stop in self._stops:
            self._stopped(stop)
        return sorted(self._left.values(), key=lambda left: left.first)

    def _begin(self, permit: str | None) -> None:
        """Forget what was left under another permit: it was approved as it was."""
        if permit is not None and permit != self._permit:
            self._permit = permit
            for told in (self._pending, self._stops, self._left):
                told.clear()

    def _wrote(self, record: Mapping[str, Any], end: Mapping[str, Any]) -> None:
        """Take a write that went out, and what became of it."""
        channel, seq, old = record["channel"], record["seq"], record["old"]
        left = self._left.setdefault(channel, Left(seq, channel, _opened_as(record), old))
        # One that nobody ever confirmed is taken last.
        if seq < left.first:
            left.first, left.before = seq, old
        if seq < left.last:
            return
        left.last, left.old, left.written = seq, old, record["new"]
        left.session = str(record.get("session", ""))
        left.permit = str(record.get("permit", ""))
        left.attempt = record.get("attempt", 0)
        left.uncertain = end.get("outcome", WriteOutcome.UNCERTAIN) in _UNKNOWN
        left.read_back = end.get("read_back")

    def _stopped(self, record: Mapping[str, Any]) -> None:
        """Take a stop that the gate wrote itself, for what was on its way then."""
        for channel in record["stops"]:
            left = self._left.get(channel)
            if left is not None and left.last < record["seq"]:
                left.stopped = True
        left = self._left.get(record["channel"])
        if left is not None and left.last < record["seq"]:
            left.stop = record["value"]


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
