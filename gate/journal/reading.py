"""Reading the journal: its records in order, and whether anything in it was changed.

`python -m gate.journal.reading DIR [--execution ID]` tells both.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from gate.journal.chain import RECORD_BYTES, Link, decode
from gate.journal.files import journal_files
from runpermit.models.journal import JournalChain, JournalRecords
from runpermit.text import visible

ANSWER_BYTES = 3 * 1024 * 1024

_HEAD = ("seq", "at", "event")
_CHAIN = ("prev", "session", "execution", "attempt")
# Of these a program makes as many as it likes.
_MANY = frozenset({"write", "confirmed", "not_forwarded", "refused"})

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
    return _followed(directory, lambda _: None)


def audit(directory: Path, execution: str, most: int = ANSWER_BYTES) -> JournalRecords:
    """The records of an execution, in `most` bytes at most, and whether the whole chain holds.

    What comes before a break is told all the same. Raises OSError where the journal can't be read.
    """
    found = _Found(execution, most)
    chain = _followed(directory, found.look)
    return JournalRecords(
        records=found.records,
        left_out=found.left_out,
        chain=JournalChain(
            first=chain.first,
            last=chain.last,
            head=chain.head,
            broken=str(chain.broken or ""),
            torn=str(chain.torn or ""),
        ),
    )


class _Found:
    """The records of one execution, and what the gate noted later of its writes."""

    def __init__(self, execution: str, most: int) -> None:
        self.records: list[dict[str, Any]] = []
        self.left_out = 0
        self._execution = execution
        self._left = most
        self._kept = most // 4
        self._known: set[int] = set()

    def look(self, record: dict[str, Any]) -> None:
        """Keep `record` where it belongs to the execution and there is room for it."""
        if record.get("execution") == self._execution:
            self._known.add(record["seq"])
        elif record.get("of") not in self._known:
            return
        size = len(json.dumps(record))
        # The last quarter is kept for what tells of sessions and permits.
        if self._left - size < (self._kept if record.get("event") in _MANY else 0):
            self.left_out += 1
            return
        self._left -= size
        self.records.append(record)


def _followed(directory: Path, look: Callable[[dict[str, Any]], None]) -> Verification:
    """What following the chain finds; each record of it that holds goes to `look`."""
    first: int | None = None
    last: Link | None = None
    broken: Place | None = None
    torn: Place | None = None
    try:
        for record, last in _chain(directory):
            first = first or last.seq
            look(record)
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


def told(directory: Path, execution: str) -> Iterator[str]:
    """The records of an execution, a line each, with what the gate noted later of its writes.

    Raises like `records`.
    """
    writes: set[int] = set()
    for record in records(directory):
        if record.get("execution") == execution:
            writes.add(record["seq"])
        elif record.get("of") not in writes:
            continue
        yield _line(record)


def _line(record: dict[str, Any]) -> str:
    head = " ".join(str(record.get(name)) for name in _HEAD)
    fields = (
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in record.items()
        if name not in _HEAD + _CHAIN
    )
    return visible(" ".join((head, *fields)), keep="")


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the chain, and print an execution's records. 1 where it is broken, 2 without one."""
    parser = argparse.ArgumentParser(prog="python -m gate.journal.reading", description=__doc__)
    parser.add_argument("directory", type=Path, metavar="DIR", help="gate.journal")
    parser.add_argument("--execution", metavar="ID", help="print the records of this execution")
    asked = parser.parse_args(arguments)
    try:
        found = verify(asked.directory)
        if asked.execution is not None:
            _print_told(asked.directory, asked.execution)
    except OSError as error:
        sys.stderr.write(f"The journal {asked.directory} can't be read: {error}\n")
        return 2
    if found.broken is not None:
        place = found.broken
        sys.stderr.write(f"{place.file}:{place.line}: {visible(place.reason, keep='')}\n")
        return 1
    if found.last is None:
        sys.stderr.write(f"No journal in {asked.directory}\n")
        return 2
    sys.stdout.write(
        f"Records {found.first} to {found.last} hold; sha256 of the last one's line:\n"
    )
    sys.stdout.write(f"{found.head}\n")
    if found.torn is not None:
        sys.stdout.write(f"{found.torn.file}:{found.torn.line}: not whole, left out\n")
    return 0


def _print_told(directory: Path, execution: str) -> None:
    """What comes before a break is told all the same."""
    try:
        for line in told(directory, execution):
            sys.stdout.write(f"{line}\n")
    except BrokenJournalError:
        return


if __name__ == "__main__":
    sys.exit(main())
