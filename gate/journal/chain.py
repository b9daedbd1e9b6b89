"""One record of the journal as a line of JSON, and how each is chained to the one before."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runpermit.serialization import make_json_serializable, strict_json_loads

RECORD_BYTES = 1024 * 1024
_OURS = {"seq", "at", "event", "prev"}


@dataclass(frozen=True)
class Link:
    """A record as the next one refers to it: its number, and the sha256 of its line."""

    seq: int
    digest: str


START = Link(0, "0" * 64)


def encode(before: Link, at: str, event: str, fields: Mapping[str, Any]) -> tuple[bytes, Link]:
    """The record that follows `before`, as a line without its end, and its link.

    ASCII alone, so that no text in it can play tricks with a terminal. Raises ValueError for a
    field with a name of ours, and for a record beyond RECORD_BYTES: nothing of it is kept.
    """
    if taken := _OURS & fields.keys():
        raise ValueError(f"{event}: the journal itself sets {', '.join(sorted(taken))}")
    seq = before.seq + 1
    line = _line({"seq": seq, "at": at, "event": event, **fields, "prev": before.digest})
    if len(line) > RECORD_BYTES:
        raise ValueError(
            f"{event}: a record of {len(line)} bytes, and the journal takes {RECORD_BYTES}: "
            "summarise large values"
        )
    return line, Link(seq, _digest(line))


def decode(line: bytes, before: Link | None) -> tuple[dict[str, Any], Link]:
    """The record in `line`, which must follow `before`; None where that one is not known.

    Raises ValueError that says what is wrong.
    """
    try:
        record = strict_json_loads(line)
    except ValueError as error:
        raise ValueError(f"it is no record: {error}") from None
    if not isinstance(record, dict) or type(record.get("seq")) is not int:
        raise ValueError("it is no record: it has no number")
    seq = record["seq"]
    if seq == START.seq + 1:
        before = before or START
    if before and seq != before.seq + 1:
        raise ValueError(f"record {seq} stands where {before.seq + 1} belongs")
    if before and record.get("prev") != before.digest:
        raise ValueError(
            f"record {seq} does not follow the line before it: one of them was changed"
        )
    return record, Link(seq, _digest(line))


def _line(record: dict[str, Any]) -> bytes:
    """As strict JSON; what is no JSON as results have it."""
    try:
        line = json.dumps(record, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        line = ""
    # Half a character is written as its escape, which no strict reader takes.
    if not line or "\\ud" in line:
        line = json.dumps(make_json_serializable(record), allow_nan=False)
    return line.encode("ascii")


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
