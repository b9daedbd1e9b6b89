"""What a session tells its worker at its end: one line, so it is bounded; its counts are whole."""

import json
from collections import Counter
from typing import Generic, TypeVar

import structlog

from gate.attempt import brief
from gate.messages import (
    MAX_NOTES,
    MAX_REFUSALS,
    MAX_WRITES,
    REPORT_BYTES,
    Refusal,
    SessionReport,
    WriteOutcome,
    WriteRecord,
)

_Record = TypeVar("_Record", Refusal, WriteRecord)

log = structlog.get_logger()


class _Kept(Generic[_Record]):
    """The first of many records."""

    def __init__(self, most: int) -> None:
        self.records: list[_Record] = []
        self._most = most
        self._bytes = 0

    def add(self, record: _Record) -> None:
        """Keep it where there is room; the first one always, since its reader decides by it."""
        if len(self.records) >= self._most:
            return
        size = len(json.dumps(record.model_dump(mode="json")))
        if not self.records or self._bytes + size <= REPORT_BYTES:
            self.records.append(record)
            self._bytes += size


class Reporting:
    """Gathers what happens in a session of this name."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._refused = 0
        self._refusals = _Kept[Refusal](MAX_REFUSALS)
        self._outcomes: Counter[WriteOutcome] = Counter()
        # Of their own room: what has to be looked at is told whatever else was written.
        self._plain = _Kept[WriteRecord](MAX_WRITES)
        self._doubtful = _Kept[WriteRecord](MAX_WRITES)
        self._notes: Counter[str] = Counter()

    @property
    def refused_count(self) -> int:
        """How many writes were refused."""
        return self._refused

    def wrote(self, record: WriteRecord) -> None:
        """It is known what became of a write."""
        self._outcomes[record.outcome] += 1
        kept = self._doubtful if record.outcome.doubtful else self._plain
        kept.add(brief(record, "old", "new", "read_back"))

    def refused(self, refusal: Refusal) -> Refusal:
        """A write was refused. How that is told."""
        self._refused += 1
        told = brief(refusal, "value", "current_value")
        self._refusals.add(told)
        return told

    def note(self, text: str) -> None:
        """Something that the engineer should know, such as a quota that was reached."""
        if text not in self._notes:
            if len(self._notes) >= MAX_NOTES:
                text = "more of this kind"
            else:
                log.warning("session", session=self._session, note=text)
        self._notes[text] += 1

    def report(self, forwarded: int) -> SessionReport:
        """All that is known by now of `forwarded` writes; of the others it is uncertain."""
        outcomes = Counter(self._outcomes)
        outcomes[WriteOutcome.UNCERTAIN] += forwarded - outcomes.total()
        writes = self._plain.records + self._doubtful.records
        return SessionReport(
            session=self._session,
            forwarded=forwarded,
            refused=self._refused,
            outcomes=dict(+outcomes),
            writes=sorted(writes, key=lambda record: record.at),
            refusals=list(self._refusals.records),
            notes=[f"{text} ({times} times)" for text, times in self._notes.items()],
        )
