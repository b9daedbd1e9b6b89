"""What a session tells its worker at its end: one line, so it is bounded; its counts are whole."""

import json
from collections import Counter, deque
from typing import Generic, TypeVar

import structlog

from gate.messages import (
    LAST_WRITES,
    MAX_NOTES,
    MAX_REFUSALS,
    MAX_WRITES,
    REPORT_BYTES,
    Refusal,
    SessionReport,
    WriteOutcome,
    WriteRecord,
    WritesSoFar,
)
from gate.policy.attempt import brief

_Record = TypeVar("_Record", Refusal, WriteRecord)

# At most, in JSON: a number, the names and fixed texts of a record.
_NUMBER_BYTES = 32
_FIELD_BYTES = 256

log = structlog.get_logger()


class _Kept(Generic[_Record]):
    """The first of many records."""

    def __init__(self, most: int) -> None:
        self.records: list[_Record] = []
        self._most = most
        self._bytes = 0

    def add(self, record: _Record, size: int) -> None:
        """Keep it where there is room; the first one always, since its reader decides by it."""
        if len(self.records) >= self._most:
            return
        if not self.records or self._bytes + size <= REPORT_BYTES:
            self.records.append(record)
            self._bytes += size


def json_size(*values: object) -> int:
    """How many bytes of JSON `values` take at most."""
    size = 0
    for value in values:
        if isinstance(value, str):
            size += len(json.dumps(value)) + 2
        elif isinstance(value, list):
            size += 4 + json_size(*value)
        elif isinstance(value, dict):
            size += 4 + json_size(*value.keys(), *value.values())
        else:
            size += _NUMBER_BYTES
    return size


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
        self._last: deque[WriteRecord] = deque(maxlen=LAST_WRITES)
        self._notes: Counter[str] = Counter()

    @property
    def refused_count(self) -> int:
        """How many writes were refused."""
        return self._refused

    def wrote(self, record: WriteRecord) -> None:
        """It is known what became of a write."""
        self._outcomes[record.outcome] += 1
        self._last.append(record)
        kept = self._doubtful if record.outcome.doubtful else self._plain
        told = brief(record, "old", "new", "read_back")
        size = json_size(told.channel, told.old, told.new, told.read_back)
        kept.add(told, size + _FIELD_BYTES)

    def refused(self, refusal: Refusal) -> Refusal:
        """A write was refused. How that is told."""
        self._refused += 1
        told = brief(refusal, "value", "current_value")
        size = json_size(told.channel, told.value, told.reason, told.current_value)
        self._refusals.add(told, size + _FIELD_BYTES)
        return told

    def note(self, text: str) -> None:
        """Something that the engineer should know, such as a quota that was reached."""
        if text not in self._notes:
            if len(self._notes) >= MAX_NOTES:
                text = "more of this kind"
            else:
                log.warning("session", session=self._session, note=text)
        self._notes[text] += 1

    def so_far(self, forwarded: int, planned: int) -> WritesSoFar:
        """What is known by now of `forwarded` writes, while more of them may come."""
        return WritesSoFar.of(self._last, self._outcomes, forwarded, planned)

    def report(self, forwarded: int, ended: str = "") -> SessionReport:
        """All that is known by now of `forwarded` writes; of the others it is uncertain.

        `ended` says why the gate itself ended the session.
        """
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
            ended=ended,
        )
