"""What all messages on the wire share: no unknown fields, no NaN, bounded sizes."""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from runpermit.text import bounded

REQUEST_BYTES = 512 * 1024
CODE_BYTES = 256 * 1024
STATE_BYTES = 1024 * 1024
RESULTS_BYTES = 256 * 1024
MAX_DECISIONS = 100
MAX_REVISIONS = 20
# A plan travels with code and results in one payload, of which Temporal takes 2 MiB.
PLAN_BYTES = 384 * 1024
_INLINE_ELEMENTS = 16
_INLINE_BYTES = 256
_MAX_DEPTH = 100
# Python itself refuses to print longer ones.
_DIGITS = 4000
_LARGEST = 10**_DIGITS


class Message(BaseModel):
    """Base of every model that crosses Temporal: frozen, closed, and free of NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Undecodable:
    """Stands where a payload of a stranger could not be read."""

    reason: str


def short(value: Any) -> Any:  # noqa: ANN401  (whatever a channel holds)
    """`value` as messages have it: of a long array its length, of a long text head and tail."""
    if isinstance(value, list) and len(value) > _INLINE_ELEMENTS:
        return {"_type": "array", "count": len(value)}
    return bounded(value, _INLINE_BYTES) if isinstance(value, str) else value


def canonical_json(message: BaseModel) -> str:
    """The one text of `message`: sorted keys, no spaces, no NaN."""
    return json.dumps(
        message.model_dump(mode="json"),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )


def canonical_sha256(message: BaseModel) -> str:
    """64 hex digits over canonical JSON in UTF-8."""
    return hashlib.sha256(canonical_json(message).encode()).hexdigest()


def not_json(value: Any) -> tuple[str, str] | None:  # noqa: ANN401
    """The first place in `value` that JSON can't hold, and why; None where it can hold all.

    Linear in the size of `value`, whatever its keys: strangers choose it.
    """
    found = _not_json(value, 0)
    if found is None:
        return None
    path, reason = found
    return "".join(reversed(path)).lstrip(".") or "request", reason


def _not_json(value: Any, depth: int) -> tuple[list[str], str] | None:  # noqa: ANN401
    """As `not_json`; the path is put together on the way back, inmost part first."""
    if isinstance(value, str | bool | type(None)):
        return None
    if depth > _MAX_DEPTH:
        return [], f"nested deeper than {_MAX_DEPTH} levels"
    if isinstance(value, int):
        return None if abs(value) < _LARGEST else ([], f"an integer of over {_DIGITS} digits")
    if isinstance(value, float):
        return None if math.isfinite(value) else ([], f"{value} is not JSON")
    if isinstance(value, dict):
        return _not_json_object(value, depth)
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if (found := _not_json(item, depth + 1)) is not None:
                found[0].append(f"[{index}]")
                return found
        return None
    return [], f"a {type(value).__name__} is not JSON"


def _not_json_object(value: dict[Any, Any], depth: int) -> tuple[list[str], str] | None:
    for key, item in value.items():
        if not isinstance(key, str) or not _is_utf8(key):
            return [], f"a key is not text: {str(key)[:80]!a}"
        if (found := _not_json(item, depth + 1)) is not None:
            found[0].append(f".{key[:80]}")
            return found
    return None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
