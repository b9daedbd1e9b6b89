"""What all messages on the wire share: no unknown fields, no NaN, bounded sizes."""

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

REQUEST_BYTES = 512 * 1024
CODE_BYTES = 256 * 1024
STATE_BYTES = 1024 * 1024
RESULTS_BYTES = 256 * 1024
MAX_DECISIONS = 100
MAX_REVISIONS = 20
_MAX_DEPTH = 100


class Message(BaseModel):
    """Base of every model that crosses Temporal: frozen, closed, and free of NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def canonical_sha256(message: BaseModel) -> str:
    """64 hex digits over canonical JSON: sorted keys, UTF-8, no NaN."""
    text = json.dumps(
        message.model_dump(mode="json"),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def non_json_values(value: Any, at: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Where in `value` something stands that JSON can't hold: pairs of place and reason."""
    if depth > _MAX_DEPTH:
        yield at, f"nested deeper than {_MAX_DEPTH} levels"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield at, f"{value} is not JSON"
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not _is_utf8(key):
                yield at, f"key {key!r} is not text"
            yield from non_json_values(item, f"{at}.{key}" if at else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from non_json_values(item, f"{at}[{index}]", depth + 1)
    elif not isinstance(value, str | int | bool | type(None)):
        yield at, f"a {type(value).__name__} is not JSON"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
