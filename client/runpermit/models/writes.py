"""What became of writes, as the gate's journal tells it."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from runpermit.models.wire import Message, short
from runpermit.text import brief

INLINE_WRITES = 200
_TOLD_WRITES = 10


class WriteOutcome(StrEnum):
    """What became of a write that passed.

    `not_verified`: forwarded, and its limits ask for no verification; `differs`: it reads back
    something else; `unreadable`: it can't be read back; `alarm`: accepted, and the record is in
    alarm; `uncertain`: forwarded, and the IOC was lost before it answered; `not_forwarded`: it
    never left the gate.
    """

    CONFIRMED = "confirmed"
    NOT_VERIFIED = "not_verified"
    DIFFERS = "differs"
    UNREADABLE = "unreadable"
    ALARM = "alarm"
    UNCERTAIN = "uncertain"
    NOT_FORWARDED = "not_forwarded"

    @property
    def doubtful(self) -> bool:
        """Whether somebody has to look at it."""
        return self not in {WriteOutcome.CONFIRMED, WriteOutcome.NOT_VERIFIED}


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
        line = f"{brief(self.channel)}: {brief(self.old)} → {brief(self.new)}, {self.outcome}"
        if self.outcome in {WriteOutcome.DIFFERS, WriteOutcome.ALARM}:
            line += f", reads {brief(self.read_back)}"
        return line


class WriteReport(Message):
    """What one run wrote: `writes` are the first of `forwarded`, and more of them lie in `journal`.

    All of them, but for `left_out`: those are in the gate's own journal alone.
    """

    forwarded: int
    writes: list[WriteRecord]
    journal: Path
    left_out: int = 0

    @classmethod
    def of(cls, writes: Sequence[WriteRecord], forwarded: int, journal: Path) -> "WriteReport":
        """The report of `writes`, which lie in `journal`, small enough for a message."""
        inline = [_inline(record) for record in writes[:INLINE_WRITES]]
        left_out = max(forwarded - len(writes), 0)
        return cls(forwarded=forwarded, writes=inline, journal=journal, left_out=left_out)

    @property
    def where(self) -> str:
        """Where the writes lie, in words."""
        if not self.left_out:
            return str(self.journal)
        return f"{self.journal}: {share(self.forwarded - self.left_out, self.forwarded)}"

    def details(self) -> dict[str, Any]:
        """What an error tells of them: the count, and the first ones in words."""
        told = [str(record) for record in self.writes[:_TOLD_WRITES]]
        if (more := self.forwarded - len(told)) > 0:
            told.append(f"and {more} more: {self.where}")
        return {
            "forwarded": self.forwarded,
            "writes": told,
            "journal": self.where,
        }


class WritesSoFar(Message):
    """What a program that runs has written: `outcomes` counts what is known of `forwarded` writes.

    `last` are those of which it became known last, in short; `planned` is how many there will be,
    0 where the plan gives ranges.
    """

    forwarded: int = 0
    planned: int = 0
    outcomes: dict[WriteOutcome, int] = {}
    last: list[WriteRecord] = []

    @classmethod
    def of(
        cls,
        last: Iterable[WriteRecord],
        outcomes: Mapping[WriteOutcome, int],
        forwarded: int,
        planned: int = 0,
    ) -> "WritesSoFar":
        """The message of it, in which long values are short."""
        return cls(
            forwarded=forwarded,
            planned=planned,
            outcomes=dict(outcomes),
            last=[_inline(record) for record in last],
        )

    @property
    def known(self) -> int:
        """Of how many writes it is known what became of them."""
        return sum(self.outcomes.values())

    def __str__(self) -> str:
        """The counts on one line."""
        share = f"{self.known} of {max(self.planned, self.forwarded)} writes"
        words = [(count, outcome.replace("_", " ")) for outcome, count in self.outcomes.items()]
        if len(words) == 1:
            return f"{share} {words[0][1]}"
        return f"{share}: {', '.join(f'{count} {word}' for count, word in words)}"


def share(here: int, all_of_them: int) -> str:
    """That not all writes are here, and where the others are."""
    return f"{here} of {all_of_them} writes are here, the rest is in the gate's journal"


def write_warnings(
    writes: Sequence[WriteRecord], outcomes: Mapping[WriteOutcome, int]
) -> list[str]:
    """One line for each of the first writes that has to be looked at.

    `writes` are some of all, which `outcomes` counts.
    """
    doubtful = [record for record in writes if record.outcome.doubtful]
    lines = [f"Write not confirmed: {record}" for record in doubtful[:_TOLD_WRITES]]
    more = sum(count for outcome, count in outcomes.items() if outcome.doubtful) - len(lines)
    if more > 0:
        lines.append(f"{more} more writes were not confirmed.")
    if (forwarded := sum(outcomes.values())) > len(writes):
        lines.append(f"Not all writes are told: {share(len(writes), forwarded)}.")
    return lines


def _inline(record: WriteRecord) -> WriteRecord:
    values = {name: getattr(record, name) for name in ("old", "new", "read_back")}
    return record.model_copy(update={name: short(value) for name, value in values.items()})
