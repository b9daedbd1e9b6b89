"""What became of writes, as the gate's journal tells it."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from runpermit.models.wire import Message
from runpermit.text import bounded, one_line

INLINE_WRITES = 200
_INLINE_ELEMENTS = 16
_INLINE_BYTES = 256
_TOLD_WRITES = 10


class WriteOutcome(StrEnum):
    """What became of a write that passed.

    `differs`: it reads back something else; `unreadable`: it can't be read back; `alarm`: accepted,
    and the record is in alarm; `uncertain`: forwarded, and the IOC was lost before it answered;
    `not_forwarded`: it never left the gate.
    """

    CONFIRMED = "confirmed"
    DIFFERS = "differs"
    UNREADABLE = "unreadable"
    ALARM = "alarm"
    UNCERTAIN = "uncertain"
    NOT_FORWARDED = "not_forwarded"


class WriteRecord(Message):
    """One write as the journal has it; `at` is when it was forwarded."""

    channel: str
    old: Any = None
    new: Any = None
    outcome: WriteOutcome
    read_back: Any = None
    at: str = ""

    def __str__(self) -> str:
        """The write on one line."""
        line = f"{_text(self.channel)}: {_text(self.old)} → {_text(self.new)}, {self.outcome}"
        if self.outcome in {WriteOutcome.DIFFERS, WriteOutcome.ALARM}:
            line += f", reads {_text(self.read_back)}"
        return line


class WriteReport(Message):
    """What one run wrote: `writes` are the first of `forwarded`, all of them lie in `journal`."""

    forwarded: int
    writes: list[WriteRecord]
    journal: Path

    @classmethod
    def of(cls, writes: Sequence[WriteRecord], forwarded: int, journal: Path) -> "WriteReport":
        """The report of `writes`, small enough for a message."""
        inline = [_inline(record) for record in writes[:INLINE_WRITES]]
        return cls(forwarded=forwarded, writes=inline, journal=journal)

    def details(self) -> dict[str, Any]:
        """What an error tells of them: the count, and the first ones in words."""
        return {
            "forwarded": self.forwarded,
            "writes": [str(record) for record in self.writes[:_TOLD_WRITES]],
            "journal": str(self.journal),
        }


def write_warnings(writes: Sequence[WriteRecord]) -> list[str]:
    """One line for each of the first writes that was not plainly confirmed."""
    doubtful = [record for record in writes if record.outcome is not WriteOutcome.CONFIRMED]
    lines = [f"Write not confirmed: {record}" for record in doubtful[:_TOLD_WRITES]]
    if len(doubtful) > _TOLD_WRITES:
        lines.append(f"{len(doubtful) - _TOLD_WRITES} more writes were not confirmed.")
    return lines


def _inline(record: WriteRecord) -> WriteRecord:
    values = {name: getattr(record, name) for name in ("old", "new", "read_back")}
    return record.model_copy(update={name: _short(value) for name, value in values.items()})


def _short(value: Any) -> Any:  # noqa: ANN401  (whatever a channel holds)
    if isinstance(value, list) and len(value) > _INLINE_ELEMENTS:
        return {"_type": "array", "count": len(value)}
    return bounded(value, _INLINE_BYTES) if isinstance(value, str) else value


def _text(value: Any) -> str:  # noqa: ANN401  (whatever a channel holds)
    return one_line(str(value), 60)
