"""The shape of context data as lines of a prompt (pure): keys and types, never the data."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from runpermit.text import one_line

MAX_LINES = 100
_MAX_DEPTH = 4
_MAX_KEYS = 40
_KEY_WIDTH = 80


def context_lines(context: dict[str, Any]) -> list[str]:
    """Lines such as `context["orbit"]["x"]: list of 1000 float`, at most MAX_LINES."""
    lines = list(islice(_walk("context", context, 0), MAX_LINES + 1))
    return [*lines[:MAX_LINES], "…"] if len(lines) > MAX_LINES else lines


def _walk(place: str, value: Any, depth: int) -> Iterator[str]:  # noqa: ANN401
    if not isinstance(value, dict) or not value or depth == _MAX_DEPTH:
        yield f"{place}: {_kind(value)}"
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from _inside(f"{place}[0]", value[0], depth + 1)
        return
    yield from _inside(place, value, depth)


def _inside(place: str, value: dict[str, Any], depth: int) -> Iterator[str]:
    if depth >= _MAX_DEPTH:
        return
    for key in islice(value, _MAX_KEYS):
        name = json.dumps(one_line(key, _KEY_WIDTH), ensure_ascii=False)
        yield from _walk(f"{place}[{name}]", value[key], depth + 1)
    if len(value) > _MAX_KEYS:
        yield f"{place}: {len(value) - _MAX_KEYS} more keys"


def _kind(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, dict):
        return f"dict of {len(value)} keys"
    if isinstance(value, list):
        kinds = sorted({type(item).__name__ for item in value[:1000]})
        return f"list of {len(value)} {' or '.join(kinds)}".rstrip()
    if isinstance(value, str):
        return f"str of {len(value)} characters"
    return type(value).__name__
