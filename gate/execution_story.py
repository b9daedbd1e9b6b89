"""What an execution did to each channel, as the journal tells it."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.journal_files import journal_files
from gate.messages import WriteOutcome
from gate.values import Value
from gate.verification import same
from runpermit.errors import ServiceUnavailableError
from runpermit.limits import ChannelLimitsConfig
from runpermit.plans import same as exactly_same

RESTORE = "restore-"
"""What the names of the gate's own sessions that put back begin with."""

# As the journal writes it; in a text it would stand with backslashes.
_OF = re.compile(rb'"of": (\d+)[,}]')
# Of a longer text the journal has the beginning alone.
_WHOLE_TEXT = 10_000
# After these the record may still hold what it held before.
_UNKNOWN = frozenset({WriteOutcome.UNCERTAIN, WriteOutcome.UNREADABLE})


@dataclass
class Left:
    """A channel that an execution wrote; values are JSON as the journal has it.

    first, last: the numbers of the first and last write. name: what to open it as. before: what it
    held before the first. written: what it was set to last, by the session `session` under
    `permit`. ours: what it may read where nobody else has set it since. uncertain: whether nobody
    knows what became of the last write.
    """

    first: int
    channel: str
    name: str
    before: Any
    last: int = 0
    written: Any = None
    ours: list[Any] = field(default_factory=list)
    uncertain: bool = True
    session: str = ""
    permit: str = ""
    attempt: int = 0

    @property
    def restoring(self) -> bool:
        """Whether the last write was one of a restore."""
        return self.session.startswith(RESTORE)


class ExecutionStory:
    """Takes an execution's records, and what was noted of its writes, in their order.

    why_not: for each channel that was in an approved plan why it can't be put back, empty where it
    can.
    """

    def __init__(self) -> None:
        self.why_not: dict[str, str] = {}
        self._pending: dict[int, Mapping[str, Any]] = {}
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
                self._pending[record["seq"]] = record
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
        return sorted(self._left.values(), key=lambda left: left.first)

    def _wrote(self, record: Mapping[str, Any], end: Mapping[str, Any]) -> None:
        """Take a write that went out, and what became of it."""
        channel, seq, old = record["channel"], record["seq"], record["old"]
        left = self._left.setdefault(channel, Left(seq, channel, _opened_as(record), old))
        # One that nobody ever confirmed is taken last.
        if seq < left.first:
            left.first, left.before = seq, old
        if seq < left.last:
            return
        left.last, left.written = seq, record["new"]
        left.session = str(record.get("session", ""))
        left.permit = str(record.get("permit", ""))
        left.attempt = record.get("attempt", 0)
        left.uncertain = end.get("outcome", WriteOutcome.UNCERTAIN) in _UNKNOWN
        left.ours = [left.written]
        if end.get("read_back") is not None:
            left.ours.append(end["read_back"])
        if left.uncertain:
            left.ours.append(old)


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
