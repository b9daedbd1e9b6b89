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


def _forwarded(records: list[Event]) -> bool:
    confirmed = _about(records, "confirmed")
    withheld = _about(records, "not_forwarded") - confirmed
    counted = any(
        record.get("event") == "session_closed" and record.get("forwarded", 0) != 0
        for record in records
    )
    intended = any(_number(write, "seq") not in withheld for write in _writes(records))
    return counted or bool(confirmed) or intended


def _completed(records: list[Event]) -> bool:
    return any(
        record.get("event") == "session_closed" and record.get("completed") is True
        for record in records
    )


def _writes(records: list[Event]) -> list[Event]:
    return [record for record in records if record.get("event") == "write"]


def _about(records: list[Event], event: str) -> set[int]:
    """The writes, by their numbers, that records called `event` are about."""
    found = (_number(record, "of") for record in records if record.get("event") == event)
    return {number for number in found if number is not None}


def _number(record: Event, field: str) -> int | None:
    number = record.get(field)
    return number if type(number) is int else None
