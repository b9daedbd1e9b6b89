"""Values of channels as a plan tells them, and whether a value is the one that was planned."""

import hashlib
import struct
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

from runpermit.models.plan import MAX_PLANNED_ELEMENTS
from runpermit.serialization import make_json_serializable

Scalar: TypeAlias = int | float | str
Value: TypeAlias = Scalar | tuple[Scalar, ...]
"""What a channel holds."""

MAX_PLANNED_CHARACTERS = 10_000

_FIRST = 20
_AS_BYTES = "surrogateescape"


def as_planned(value: Value) -> Any:  # noqa: ANN401  (JSON)
    """`value` as JSON from which it is known again; equal for equal values alone.

    An array of over MAX_PLANNED_ELEMENTS is known by its sha256: that of its numbers as
    little-endian doubles, or of its texts in UTF-8, each with a zero behind it. So is a text that
    is too long, or that holds bytes which are no UTF-8.
    """
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, tuple | list):
        return make_json_serializable(value)
    if len(value) <= MAX_PLANNED_ELEMENTS:
        return [as_planned(item) for item in value]
    numbers = [item for item in value if is_number(item)]
    ends = {"min": min(numbers), "max": max(numbers)} if numbers else {}
    return {
        "_type": "array",
        "count": len(value),
        "sha256": _sha256(value),
        "first": [as_planned(item) for item in value[:_FIRST]],
    } | make_json_serializable(ends)


def same(planned: Any, value: Value) -> bool:  # noqa: ANN401  (JSON)
    """Whether `planned` tells of exactly `value`; what can't be told is never the same."""
    if value is None or isinstance(planned, bool) != isinstance(value, bool):
        return False
    if is_digest(planned):
        return (
            isinstance(value, tuple | list)
            and isinstance(planned.get("sha256"), str)
            and planned.get("count") == len(value)
            and planned["sha256"] == _sha256(value)
        )
    if isinstance(planned, list):
        return (
            isinstance(value, tuple | list)
            and len(planned) == len(value)
            and all(same(one, other) for one, other in zip(planned, value, strict=True))
        )
    return not isinstance(value, tuple | list) and bool(planned == as_planned(value))


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a finite number; NaN and infinity are none."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
    )


def is_digest(planned: object) -> TypeGuard[dict[str, Any]]:
    """Whether a planned value is an array that is known by its sha256."""
    return isinstance(planned, dict) and planned.get("_type") == "array"


def numbers_of(value: object) -> tuple[float, ...] | None:
    """The numbers of a number or an array of them, None where it is or holds anything else."""
    items = tuple(value) if isinstance(value, tuple | list) else (value,)
    found = tuple(item for item in items if is_number(item))
    return found if len(found) == len(items) else None


def _text(text: str) -> Any:  # noqa: ANN401  (JSON)
    told = text[:MAX_PLANNED_CHARACTERS].encode("utf-8", "backslashreplace").decode()
    if told == text:
        return text
    digest = hashlib.sha256(text.encode("utf-8", _AS_BYTES)).hexdigest()
    return {"_type": "text", "count": len(text), "sha256": digest, "first": told[:_FIRST]}


def _sha256(array: Sequence[Scalar]) -> str:
    """As the gate's journal computes it (`gate.attempt.recorded`)."""
    numbers = [item for item in array if not isinstance(item, str)]
    texts = [item for item in array if isinstance(item, str)]
    digest = hashlib.sha256(struct.pack(f"<{len(numbers)}d", *numbers))
    digest.update(b"".join(text.encode("utf-8", _AS_BYTES) + b"\0" for text in texts))
    return digest.hexdigest()
