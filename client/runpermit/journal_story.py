"""Records of the gate's journal as lines for people (pure)."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from runpermit.models.approval import SHOWN_DIGITS
from runpermit.page.values import value_text
from runpermit.text import one_line

_WIDTH = 300
_CHAIN = {"seq", "at", "event", "prev", "session", "execution", "attempt", "of"}
_ENDS = {"confirmed", "not_forwarded"}
_TOLD_SEPARATELY = {"differs", "alarm", "uncertain"}

Record = Mapping[str, Any]


def story(records: Iterable[Record]) -> list[str]:
    """A line each, in their order: a write together with what was noted of it later."""
    records = list(records)
    ends = {record.get("of"): record for record in records if record.get("event") in _ENDS}
    writes = {record.get("seq") for record in records if record.get("event") == "write"}
    lines = []
    for record in records:
        if record.get("event") in _ENDS and record.get("of") in writes:
            continue
        told = _words(record, ends.get(record.get("seq")))
        lines.append(one_line(f"{_time(record)}  {told}", _WIDTH))
    return lines


def _time(record: Record) -> str:
    return str(record.get("at", ""))[: len("2026-01-01T00:00:00.000")].replace("T", " ")


def _words(record: Record, end: Record | None) -> str:
    match record.get("event"):
        case "write":
            change = f"{value_text(record.get('old'))} → {value_text(record.get('new'))}"
            return f"write {record.get('channel')}: {change}, {_end(end)}"
        case "refused":
            return (
                f"REFUSED {record.get('channel')} = {value_text(record.get('value'))}: "
                f"{record.get('violation_type')}, {record.get('reason')}"
            )
        case "session_opened":
            permit = f", permit {_short(record['permit'])}" if record.get("permit") else ""
            return f"session {record.get('session')} opened: {record.get('mode')}{permit}"
        case "session_closed":
            counts = f"{record.get('forwarded')} forwarded, {record.get('refused')} refused"
            return f"session {record.get('session')} closed: {counts}"
        case "permit_consumed":
            return (
                f"permit {_short(record.get('permit'))} consumed: revision "
                f"{_short(record.get('revision'))}, number {record.get('number')}, issue "
                f"{record.get('issue')}, by {record.get('operator') or 'an unnamed operator'} "
                f"({record.get('assurance')})"
            )
    return _others(record)


def _end(end: Record | None) -> str:
    """What was noted of a write once it was over."""
    if end is None:
        return "NOT CONFIRMED: nobody knows whether it arrived"
    if end.get("event") == "not_forwarded":
        return "not forwarded"
    outcome = str(end.get("outcome"))
    if outcome in _TOLD_SEPARATELY:
        return f"{outcome.upper()}, reads {value_text(end.get('read_back'))}"
    return outcome


def _others(record: Record) -> str:
    fields = (
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in record.items()
        if name not in _CHAIN and value not in (None, "", [], {})
    )
    return " ".join((str(record.get("event")).replace("_", " "), *fields))


def _short(digits: Any) -> str:  # noqa: ANN401  (a record holds anything)
    return str(digits)[:SHOWN_DIGITS]
