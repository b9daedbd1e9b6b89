"""Channels and values in the few words of a sentence."""

from typing import Any

from runpermit.plans.values import is_digest, is_number
from runpermit.text import one_line

_NAME_WIDTH = 80
_VALUE_WIDTH = 40
_UNIT_WIDTH = 8
_SHOWN_ELEMENTS = 3


def name_text(channel: str) -> str:
    """A channel's name, which the code may have made up."""
    return one_line(channel, _NAME_WIDTH)


def value_text(value: Any, units: str = "", state: str = "") -> str:  # noqa: ANN401  (JSON)
    """A planned value with the state that it names, or with its unit."""
    if state:
        return f"{one_line(state, _VALUE_WIDTH)} ({_bare(value)})"
    return f"{_bare(value)} {one_line(units, _UNIT_WIDTH)}".strip()


def number_text(number: float) -> str:
    """A number without the last digits, which are the computer's."""
    return str(number) if isinstance(number, int) else f"{number:.10g}"


def _bare(value: Any) -> str:  # noqa: ANN401  (JSON)
    if value is None:
        return "unknown"
    if is_number(value):
        return one_line(number_text(value), _VALUE_WIDTH)
    if isinstance(value, list | tuple) and len(value) <= _SHOWN_ELEMENTS:
        return one_line(f"[{', '.join(_bare(item) for item in value)}]", _VALUE_WIDTH)
    if isinstance(value, list | tuple):
        return f"{len(value)} values"
    if is_digest(value):
        return one_line(f"{value.get('count')} values", _VALUE_WIDTH)
    if isinstance(value, dict):
        told = value.get("value", value.get("first"))
        return one_line(f"{told}…" if "first" in value else f"{told}", _VALUE_WIDTH)
    return one_line(str(value), _VALUE_WIDTH)
