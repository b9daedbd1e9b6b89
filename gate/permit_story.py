"""What the journal's records say of one permit. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gate.attempt import brief
from gate.messages import (
    MAX_WRITES,
    REPORT_BYTES,
    LeftChange,
    Verdict,
    WriteOutcome,
    WriteRecord,
)
from gate.reporting import json_size
from runpermit.plans.verdicts import verdict

CONSUMED, VOID, CLOSED = "permit_consumed", "permit_void", "session_closed"
_KEPT = ("event", "seq", "of", "completed")


@dataclass
class _Channel:
    """A channel that was written: before it, and by the last write to it."""

    before: Any
    written: Any
    read_back: Any
    uncertain: bool


@dataclass
class PermitStory:
    """Takes the records of a permit in their order; see `verdict`, `writes` and `changes`.

    consumed, closed: these records, where there are any. void: why it is not to be used.
    forwarded: how many writes left the gate, or may have. writes: the first of them.
    """

    consumed: Mapping[str, Any] | None = None
    closed: Mapping[str, Any] | None = None
    void: str = ""
    forwarded: int = 0
    writes: list[WriteRecord] = field(default_factory=list)
    _events: list[Mapping[str, Any]] = field(default_factory=list)
    _pending: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _channels: dict[str, _Channel] = field(default_factory=dict)
    _room: int = REPORT_BYTES

    def take(self, record: Mapping[str, Any]) -> None:
        """Take one more record of the permit."""
        if record["event"] == "session_closed" and not self._is_of_its_session(record):
            return
        self._events.append({name: record[name] for name in _KEPT if name in record})
        match record["event"]:
            case "permit_consumed":
                self.consumed = record
            case "permit_void":
                self.void = str(record.get("reason", ""))
            case "session_closed":
                self.closed = record
            case "write":
                self._pending[record["seq"]] = record
            case "not_forwarded":
                self._pending.pop(record.get("of", 0), None)
            case "confirmed":
                written = self._pending.pop(record.get("of", 0), None)
                if written is not None:
                    at = str(record.get("forwarded_at") or written["at"])
                    self._wrote(written, record.get("outcome"), record.get("read_back"), at)

    def _is_of_its_session(self, record: Mapping[str, Any]) -> bool:
        """Whether it is about the session that the permit was used for."""
        return self.consumed is not None and record["session"] == self.consumed["session"]

    @property
    def ended(self) -> bool:
        """Whether no more of its writes are to come, and each is known."""
        return self.closed is not None and not self._pending

    def end(self) -> None:
        """No more records come: of a write without a second one nobody knows what became."""
        for written in self._pending.values():
            self._wrote(written, WriteOutcome.UNCERTAIN, None, str(written["at"]))
        self._pending.clear()

    @property
    def verdict(self) -> Verdict:
        """What became of it."""
        return verdict(self._events)

    def changes(self, reads: Mapping[str, Any]) -> list[LeftChange]:
        """The channels that were written, in the order of their first write; `reads` what they are.

        One that reads what it did before is none: the program put it back, or the record itself.
        """
        known = self.consumed.get("channels") if self.consumed is not None else None
        known = known if isinstance(known, dict) else {}
        return [
            LeftChange(
                channel=name,
                before=channel.before,
                written=channel.written,
                reads=reads.get(name),
                restorable=known.get(name) == "",
                why_not=str(known.get(name, "it is not in the approved plan")),
                uncertain=channel.uncertain,
            )
            for name, channel in self._channels.items()
            if channel.uncertain or reads.get(name) != channel.before
        ]

    @property
    def channels(self) -> Iterable[str]:
        """The channels that were written."""
        return self._channels.keys()

    @property
    def changed(self) -> list[str]:
        """The channels that did not read as before once all was written, or may not have."""
        return [
            name
            for name, channel in self._channels.items()
            if channel.uncertain or channel.read_back != channel.before
        ]

    def _wrote(
        self, written: Mapping[str, Any], outcome: object, read_back: object, at: str
    ) -> None:
        self.forwarded += 1
        name, old, new = str(written["channel"]), written.get("old"), written.get("new")
        told = _outcome(outcome)
        uncertain = told is WriteOutcome.UNCERTAIN
        channel = self._channels.setdefault(name, _Channel(old, new, read_back, uncertain))
        channel.written, channel.read_back, channel.uncertain = new, read_back, uncertain
        if len(self.writes) < MAX_WRITES and self._room > 0:
            record = WriteRecord(
                channel=name, old=old, new=new, outcome=told, read_back=read_back, at=at
            )
            record = brief(record, "old", "new", "read_back")
            self._room -= json_size(record.old, record.new, record.read_back)
            self.writes.append(record)


def _outcome(told: object) -> WriteOutcome:
    try:
        return WriteOutcome(str(told))
    except ValueError:
        return WriteOutcome.UNCERTAIN
