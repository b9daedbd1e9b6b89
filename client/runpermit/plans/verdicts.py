"""What the gate's journal says of a permit."""

from collections.abc import Iterable, Mapping
from typing import Any

from runpermit.models.permit import Verdict

Event = Mapping[str, Any]


def verdict(events: Iterable[Event]) -> Verdict:
    """What became of the permit that `events` are all records of, in their order.

    A write that was intended counts as forwarded unless a record says that it was not.
    """
    records = list(events)
    if _forwarded(records):
        return Verdict.COMPLETED if _completed(records) else Verdict.PARTIAL
    if not any(record.get("event") == "permit_consumed" for record in records):
        return Verdict.NOT_OPENED
    return Verdict.COMPLETED if _completed(records) else Verdict.NOTHING_FORWARDED


def uncertain(events: Iterable[Event]) -> list[Event]:
    """The writes of which no record says what became of them, in their order."""
    records = list(events)
    settled = _named_by(records, "confirmed") | _named_by(records, "not_forwarded")
    return [
        record
        for record in records
        if record.get("event") == "write" and record.get("seq") not in settled
    ]


def _forwarded(records: list[Event]) -> bool:
    withheld = _named_by(records, "not_forwarded")
    return any(
        record.get("event") == "write" and record.get("seq") not in withheld for record in records
    )


def _completed(records: list[Event]) -> bool:
    return any(
        record.get("event") == "session_closed" and record.get("completed") is True
        for record in records
    )


def _named_by(records: list[Event], event: str) -> set[int]:
    """The numbers of the writes that records called `event` are about."""
    return {
        record["of"]
        for record in records
        if record.get("event") == event and type(record.get("of")) is int
    }
