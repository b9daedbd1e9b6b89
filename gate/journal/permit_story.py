"""What the journal's records say of one permit. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gate.journal.channel_story import ChannelStory, Left, Written
from gate.messages import (
    MAX_WRITES,
    REPORT_BYTES,
    LeftChange,
    Verdict,
    WriteOutcome,
    WriteRecord,
)
from gate.policy.attempt import brief
from gate.sessions.reporting import json_size
from runpermit.plans.verdicts import verdict

CONSUMED, VOID, CLOSED = "permit_consumed", "permit_void", "session_closed"
_KEPT = ("event", "seq", "of", "completed")


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
    _told: ChannelStory = field(default_factory=ChannelStory)
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
        written = self._told.take(record)
        if written is not None:
            self._wrote(written)

    def _is_of_its_session(self, record: Mapping[str, Any]) -> bool:
        """Whether it is about the session that the permit was used for."""
        return self.consumed is not None and record["session"] == self.consumed["session"]

    @property
    def ended(self) -> bool:
        """Whether no more of its writes are to come, and each is known."""
        return self.closed is not None and not self._told.pending

    def end(self) -> None:
        """No more records come: of a write without a second one nobody knows what became."""
        for written in self._told.end():
            self._wrote(written)

    @property
    def verdict(self) -> Verdict:
        """What became of it."""
        return verdict(self._events)

    def changes(
        self, reads: Mapping[str, Any], restored: Mapping[str, Left] = MappingProxyType({})
    ) -> list[LeftChange]:
        """The channels that were written, in the order of their first write; `reads` what they are.

        One that reads what it did before is none: the program put it back, or the record itself.
        `restored`: those that a restore, which did not come to its end, was the last to write.
        """
        known = self.consumed.get("channels") if self.consumed is not None else None
        known = known if isinstance(known, dict) else {}
        return [
            LeftChange(
                channel=left.channel,
                before=left.before,
                written=last.written,
                reads=reads.get(left.channel),
                restorable=known.get(left.channel) == "",
                why_not=str(known.get(left.channel, "it is not in the approved plan")),
                uncertain=last.outcome is WriteOutcome.UNCERTAIN,
            )
            for left in self._told.left()
            for last in (restored.get(left.channel, left),)
            if last.outcome is WriteOutcome.UNCERTAIN or reads.get(left.channel) != left.before
        ]

    @property
    def channels(self) -> Iterable[str]:
        """The channels that were written."""
        return self._told.channels.keys()

    @property
    def changed(self) -> list[str]:
        """The channels that did not read as before once all was written, or may not have."""
        return [
            left.channel
            for left in self._told.left()
            if left.uncertain or left.read_back != left.before
        ]

    def _wrote(self, written: Written) -> None:
        self.forwarded += 1
        if len(self.writes) < MAX_WRITES and self._room > 0:
            told = WriteRecord(
                channel=str(written.record["channel"]),
                old=written.record["old"],
                new=written.record["new"],
                outcome=written.outcome,
                read_back=written.end.get("read_back"),
                at=written.at,
            )
            told = brief(told, "old", "new", "read_back")
            self._room -= json_size(told.old, told.new, told.read_back)
            self.writes.append(told)
