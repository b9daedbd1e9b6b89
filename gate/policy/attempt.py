"""A write on its way: what was sent, to which record, by whom; and how it is refused."""

import asyncio
import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from gate.channel_access.ioc_circuit import IocCircuit
from gate.channel_access.records import Record
from gate.channel_access.values import Dbr, Received, Target, UnfitValueError, decode
from gate.messages import LeftChange, Refusal, WriteRecord
from gate.permits.enforcement import Keeping
from runpermit.errors import ChannelLimitsViolationError
from runpermit.limits import ViolationType
from runpermit.limits.values import shown
from runpermit.serialization import make_json_serializable

_TOLD = 10_000  # elements or characters that are told; of longer ones, their beginning
_GUESSED = 1000
_BRIEF = 20
_BITS = 64
_PART = 50_000  # elements that are summed up at a time: others get their turn in between

_AS_BYTES = "surrogateescape"

_Record = TypeVar("_Record", Refusal, WriteRecord, LeftChange)


class Holder(Protocol):
    """The session that a write belongs to."""

    @property
    def may_write(self) -> bool:
        """Whether it is an open session with write access, now."""
        ...

    @property
    def identity(self) -> dict[str, object]:
        """What the journal says of it: session, execution, attempt, permit."""
        ...

    @property
    def enforcement(self) -> Keeping | None:
        """What it writes is kept within; None where no permit binds it."""
        ...

    def has_room_for(self, refusal: Refusal) -> bool:
        """Whether the journal takes the record of one more refusal; it is counted otherwise."""
        ...


@dataclass(frozen=True)
class Attempted:
    """A write as a client sent it, on a channel that is open at the IOC as `sid`.

    `answered`, for a put callback alone, tells whether its IOC answered it: False where nobody can
    hear that any more.
    """

    channel: str
    sid: int
    dtype: int
    count: int
    payload: bytes
    answered: asyncio.Future[bool] | None = None

    @property
    def guessed_value(self) -> object:
        """What was sent, as well as it can be told without knowing the record."""
        try:
            count = min(self.count, _GUESSED)
            return told(decode(Target(Dbr(self.dtype), count), count, self.payload))
        except (UnfitValueError, ValueError):
            return None


@dataclass(frozen=True)
class Case:
    """A write under judgement: `received` is what the record would hold of it."""

    holder: Holder
    circuit: IocCircuit
    record: Record
    write: Attempted
    received: Received

    def refused(self, kind: ViolationType, reason: str) -> "RefusedError":
        """The refusal of this write for `reason`."""
        value = told(self.received.value)
        return RefusedError(ChannelLimitsViolationError(self.record.channel, value, kind, reason))

    def check_open(self) -> None:
        """Raise RefusedError where session or circuit ended meanwhile."""
        if not self.holder.may_write or self.circuit.closed:
            raise self.refused(
                ViolationType.NOT_ALLOWED,
                f"can't be set to {shown(self.received.value)}: the session has ended, or its IOC "
                "was lost",
            )


class RefusedError(Exception):
    """A write that was not forwarded; `violation` says why."""

    def __init__(self, violation: ChannelLimitsViolationError) -> None:
        super().__init__(violation.message)
        self.violation = violation

    @property
    def refusal(self) -> Refusal:
        """What session, worker and code are told."""
        return Refusal.of(self.violation, now())


def now() -> str:
    """The time as journal and reports give it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def told(value: object) -> object:
    """A value as JSON that any reader takes; of a long one, its length and its beginning."""
    # Nearly all of them are plain numbers.
    if (type(value) is float and math.isfinite(value)) or (
        type(value) is int and value.bit_length() <= _BITS
    ):
        return value
    if isinstance(value, tuple | list) and len(value) > _TOLD:
        return {
            "_type": "array",
            "count": len(value),
            "first": make_json_serializable(value[:_BRIEF]),
        }
    if isinstance(value, str):
        return value[:_TOLD].encode("utf-8", "backslashreplace").decode()
    return make_json_serializable(value)


def recorded(value: object) -> object:
    """As `told`; of a long array also by what it is known again, and what it reaches.

    Its sha256 is that of its numbers as little-endian doubles, or of its texts in UTF-8, each with
    a zero behind it. This takes its time: call it aside.
    """
    telling = told(value)
    if isinstance(value, tuple | list) and isinstance(telling, dict):
        return telling | make_json_serializable(_sum(value))
    return telling


def _sum(array: Sequence[float | str]) -> dict[str, object]:
    digest = hashlib.sha256()
    ends: list[float] = []
    for start in range(0, len(array), _PART):
        part = array[start : start + _PART]
        numbers = [item for item in part if not isinstance(item, str)]
        texts = [item for item in part if isinstance(item, str)]
        digest.update(struct.pack(f"<{len(numbers)}d", *numbers))
        digest.update(b"".join(text.encode("utf-8", _AS_BYTES) + b"\0" for text in texts))
        # No number is larger or smaller than NaN.
        ends += (number for number in numbers if not math.isnan(number))
        ends = [min(ends), max(ends)] if ends else []
    found: dict[str, object] = {"sha256": digest.hexdigest()}
    return found | ({"min": ends[0], "max": ends[1]} if ends else {})


def brief(record: _Record, *fields: str) -> _Record:
    """`record` as a report tells it, with of long values in `fields` the beginning alone."""
    shortened: dict[str, object] = {}
    for field in fields:
        value = getattr(record, field)
        if isinstance(value, list) and len(value) > _BRIEF:
            shortened[field] = {"_type": "array", "count": len(value), "first": value[:_BRIEF]}
        elif isinstance(value, str) and len(value) > _GUESSED:
            shortened[field] = value[:_GUESSED] + "…"
    return record.model_copy(update=shortened) if shortened else record
