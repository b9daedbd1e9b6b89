"""Reading the journal: its records in order, and whether anything in it was changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from gate.journal_chain import RECORD_BYTES, Link, decode
from gate.journal_files import journal_files

log = structlog.get_logger()


@dataclass(frozen=True)
class Place:
    """A line of the journal, counted from 1, and what is wrong with it."""

    file: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}"


class BrokenJournalError(ValueError):
    """The line at `place` is no record, or does not follow the one before it."""

    def __init__(self, place: Place) -> None:
        super().__init__(str(place))
        self.place = place


class TornLineError(BrokenJournalError):
    """The last line has no end: a crash tore it apart, or the gate is writing it just now."""


@dataclass(frozen=True)
class Verification:
    """What `verify` found: numbers of the first and the last record that hold, the first break.

    `head` is the sha256 of the last one's line, the only one that no later record vouches for:
    where it was noted elsewhere, a change there or a tail cut off shows too.
    """

    first: int | None
    last: int | None
    head: str | None
    broken: Place | None
    torn: Place | None


def records(directory: Path) -> Iterator[dict[str, Any]]:
    """All records in order. A torn last line is left out, and the log says so.

    Raises BrokenJournalError at the first break, OSError where the journal can't be read.
    """
    try:
        for record, _ in _chain(directory):
            yield record
    except TornLineError as torn:
        log.warning("torn last line of the journal left out", place=str(torn.place))


def verify(directory: Path) -> Verification:
    """Follow the chain from the first record that is there to the last, or to its first break.

    Months that were removed at the beginning show in `first`. Raises OSError where the journal
    can't be read.
    """
    first: int | None = None
    last: Link | None = None
    broken: Place | None = None
    torn: Place | None = None
    try:
        for _, last in _chain(directory):
            first = first or last.seq
    except TornLineError as found:
        torn = found.place
    except BrokenJournalError as found:
        broken = found.place
    return Verification(
        first, last.seq if last else None, last.digest if last else None, broken, torn
    )


def _chain(directory: Path) -> Iterator[tuple[dict[str, Any], Link]]:
    link: Link | None = None
    files = journal_files(directory)
    for file in files:
        for number, line in enumerate(_lines(file), 1):
            if not line.endswith(b"\n"):
                last = file == files[-1] and len(line) <= RECORD_BYTES
                unfinished = TornLineError if last else BrokenJournalError
                raise unfinished(Place(file, number, "it has no end"))
            try:
                record, link = decode(line[:-1], link)
            except ValueError as error:
                raise BrokenJournalError(Place(file, number, str(error))) from None
            yield record, link


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while line := opened.readline(RECORD_BYTES + 1):
            yield line
