"""Records of the gate's journal as lines for people (pure)."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from runpermit.models.approval import SHOWN_DIGITS, Assurance
from runpermit.plans.words import value_text
from runpermit.text import one_line

_WIDTH = 300
_CHAIN = {"seq", "at", "event", "prev", "session", "execution", "attempt", "of"}
_WRITES = {"write", "stop_write"}
_ENDS = {"confirmed", "not_forwarded", "stop_written"}
_UNNAMED = "an unnamed operator"
_TOLD_SEPARATELY = {"differs", "alarm", "uncertain"}

Record = Mapping[str, Any]


def story(records: Iterable[Record]) -> list[str]:
    """A line each, in their order: a write together with what was noted of it later."""
    records = list(records)
    ends = {record.get("of"): record for record in records if record.get("event") in _ENDS}
    writes = {record.get("seq") for record in records if record.get("event") in _WRITES}
    lines = []
    for record in records:
        if record.get("event") in _ENDS and record.get("of") in writes:
            continue
        told = _words(record, ends.get(record.get("seq")))
        lines.append(one_line(f"{_time(record)} {told}", _WIDTH))
    return lines


def _time(record: Record) -> str:
    return str(record.get("at", ""))[: len("2026-01-01T00:00:00.000")].replace("T", " ")


def _words(record: Record, end: Record | None) -> str:
    event = record.get("event")
    if event == "write":
        change = f"{value_text(record.get('old'))} → {value_text(record.get('new'))}"
        return f"write {record.get('channel')}: {change}, {_end(end)}"
    if event == "stop_write":
        value = value_text(record.get("value"))
        return f"STOP write {record.get('channel')}: {value}, {_end(end)}"
    return _TELLERS.get(str(event), _others)(record)


def _refused(record: Record) -> str:
    return (
        f"REFUSED {record.get('channel')} = {value_text(record.get('value'))}: "
        f"{record.get('violation_type')}, {record.get('reason')}"
    )


def _opened(record: Record) -> str:
    permit = f", permit {_short(record['permit'])}" if record.get("permit") else ""
    return f"session {record.get('session')} opened: {record.get('mode')}{permit}"


def _closed(record: Record) -> str:
    counts = f"{record.get('forwarded')} forwarded, {record.get('refused')} refused"
    why = f", ended by the gate: {record['ended']}" if record.get("ended") else ""
    return f"session {record.get('session')} closed: {counts}{why}"


def _consumed(record: Record) -> str:
    return (
        f"permit {_short(record.get('permit'))} consumed: revision "
        f"{_short(record.get('revision'))}, number {record.get('number')}, issue "
        f"{record.get('issue')}, by {_approvers(record)}"
    )


def _approvers(record: Record) -> str:
    said = [yes for yes in record.get("approvals") or [] if isinstance(yes, dict)]
    return " and ".join(map(_name, said)) or _UNNAMED


def _name(said: Record) -> str:
    """Who said it, how well that is known, and by which key."""
    known = " ".join(str(said[part]) for part in ("assurance", "key") if said.get(part))
    if known == Assurance.CLAIMED:
        known = "approver not verified"
    return f"{said.get('operator') or _UNNAMED}{f' ({known})' if known else ''}"


def _void(record: Record) -> str:
    return f"permit {_short(record.get('permit'))} void: {record.get('reason')}"


def _stopped(record: Record) -> str:
    return f"STOPPED by {record.get('operator')}: {record.get('reason')}"


def _verdict(record: Record) -> str:
    told = f"{record.get('verdict')}, {record.get('forwarded')} forwarded"
    why = f". {record['reason']}" if record.get("reason") else ""
    return f"verdict on permit {_short(record.get('permit'))}: {told}{why}"


def _verified(record: Record) -> str:
    device = f", {record.get('device')}" if record.get("device") else ""
    accepted = "accepted" if record.get("accepted") else "NOT ACCEPTED"
    return (
        f"verified {record.get('channel')}: reads {value_text(record.get('reads'))}, "
        f"{accepted}{device} {_plain(record.get('outcome'))}"
    )


def _devices(record: Record) -> str:
    earlier = record.get("earlier")
    counts = earlier.items() if isinstance(earlier, dict) else ()
    told = ", ".join(f"{_plain(count)} {_plain(outcome)}" for outcome, count in counts)
    return f"devices of {record.get('channel')} before its last write: {told}"


def _restore_started(record: Record) -> str:
    return f"restore begun, asked for by {_name(record)}"


def _not_approved(record: Record) -> str:
    return f"NOT OPENED, revision {_short(record.get('revision'))}: {record.get('reason')}"


def _not_restored(record: Record) -> str:
    return f"RESTORE REFUSED, asked for by {_name(record)}: {record.get('reason')}"


def _restored(record: Record) -> str:
    why = f", {record['reason']}" if record.get("reason") else ""
    return (
        f"put back {record.get('channel')}: {_plain(record.get('outcome'))}, "
        f"reads {value_text(record.get('reads'))}{why}"
    )


def _restore_ended(record: Record) -> str:
    whole = "everything is back" if record.get("complete") else "NOT everything is back"
    why = f", stopped: {record['stopped']}" if record.get("stopped") else ""
    return f"restore ended: {whole}{why}"


def _left_alone(record: Record) -> str:
    return f"LEFT AS IT IS by {record.get('operator') or _UNNAMED}"


def _end(end: Record | None) -> str:
    """What was noted of a write once it was over."""
    if end is None:
        return "NOT CONFIRMED: nobody knows whether it arrived"
    if end.get("event") == "stop_written":
        return "written"
    if end.get("event") == "not_forwarded":
        return "not forwarded"
    outcome = str(end.get("outcome"))
    if outcome in _TOLD_SEPARATELY:
        return f"{outcome.upper()}, reads {value_text(end.get('read_back'))}"
    return outcome


def _others(record: Record) -> str:
    """An event without words of its own: its name and fields."""
    fields = (
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in record.items()
        if name not in _CHAIN and value not in (None, "", [], {})
    )
    return " ".join((_plain(record.get("event")), *fields))


_TELLERS: dict[str, Callable[[Record], str]] = {
    "refused": _refused,
    "session_opened": _opened,
    "session_closed": _closed,
    "permit_consumed": _consumed,
    "permit_void": _void,
    "stopped": _stopped,
    "verdict": _verdict,
    "devices": _devices,
    "verified": _verified,
    "approval_refused": _not_approved,
    "restore_refused": _not_restored,
    "restore_started": _restore_started,
    "restore_channel": _restored,
    "restore_ended": _restore_ended,
    "left_alone": _left_alone,
}


def _plain(word: Any) -> str:  # noqa: ANN401  (a record holds anything)
    return str(word).replace("_", " ")


def _short(digits: Any) -> str:  # noqa: ANN401
    return str(digits)[:SHOWN_DIGITS]
