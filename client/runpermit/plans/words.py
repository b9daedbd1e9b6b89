"""Channels and values in few words: for a sentence, a page, and whatever is told of a write."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from runpermit.plans.values import is_digest, is_number
from runpermit.text import one_line, visible

_NAME_WIDTH = 80
_VALUE_WIDTH = 40  # as long as a text of Channel Access
_ARRAY_WIDTH = 60
_UNIT_WIDTH = 8
SHOWN_ELEMENTS = 3
# What stands between the values of a plan: in a text or unit it could be taken for another value.
_BETWEEN = frozenset("→…Δ×↩")
_PLAIN_UNIT = re.compile(r"(?:1/)?[^\W\d][^\s,]*|[%‰°][^\s,]*|")


def name_text(channel: str) -> str:
    """A channel's name, which the code may have made up."""
    return one_line(channel, _NAME_WIDTH)


def value_text(value: Any, units: str = "", state: str = "") -> str:  # noqa: ANN401  (JSON)
    """A value, with the state that it names and its unit. A cut is marked."""
    told = f"{_text(state)} ({_bare(value)})" if state else _bare(value)
    return f"{told} {unit_text(units)}".strip()


def number_text(number: float) -> str:
    """A number without the last digits, which are the computer's."""
    return str(number) if isinstance(number, int) else f"{number:.10g}"


def change_text(changes: Sequence[float], units: str, told: Callable[[float], str]) -> str:
    """The last of `changes`, which all count from the value before, and how far others go beyond.

    `told` writes a number.
    """
    end, low, high = changes[-1], min(changes), max(changes)
    rounding = 1e-6 * (high - low)
    below, above = low < min(0, end) - rounding, high > max(0, end) + rounding
    beyond = ""
    if below and above:
        beyond = f" ({told(low)} … {told(high)})"
    elif below or above:
        beyond = f" (down to {told(low)})" if below else f" (up to {told(high)})"
    return f"{told(end)} {unit_text(units)}".strip() + beyond


def counted(count: int, what: str) -> str:
    """How many of `what`, whose plural has an s."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def unit_text(units: str) -> str:
    """A unit; it comes from the machine, and what does not look like one stands in quotes."""
    unit = one_line(units, _UNIT_WIDTH)
    plain = _PLAIN_UNIT.fullmatch(unit) and _BETWEEN.isdisjoint(units)
    return unit if plain else quoted(unit)


def quoted(text: str) -> str:
    """A text that is visible already, in quotes which nothing inside can end."""
    return f'"{text.replace(chr(34), chr(39))}"'


def _bare(value: Any) -> str:  # noqa: ANN401  (JSON)
    if value is None:
        return "unknown"
    if is_number(value):
        return one_line(number_text(value), _VALUE_WIDTH)
    if isinstance(value, list | tuple) and len(value) <= SHOWN_ELEMENTS:
        return one_line(f"[{', '.join(map(_bare, value))}]", _ARRAY_WIDTH)
    if isinstance(value, list | tuple):
        numbers = [item for item in value if is_number(item)]
        whole = len(numbers) == len(value)
        span = _span(min(numbers), max(numbers)) if whole else "not all numbers"
        return f"{len(value)} values, {span}"
    if isinstance(value, dict):
        return _described(value)
    return _text(str(value))


def _text(text: str) -> str:
    """A text; in quotes, and with its length, where it could be taken for another one."""
    if text and one_line(text, _VALUE_WIDTH) == text and _BETWEEN.isdisjoint(text):
        return text
    shown = visible(text[:_VALUE_WIDTH], keep="").replace('"', r"\"")
    if len(text) <= _VALUE_WIDTH and len(shown) <= _VALUE_WIDTH:
        return f'"{shown}"'
    return f'"{shown[:_VALUE_WIDTH]}…" ({len(text)} characters)'


def _described(value: dict[str, Any]) -> str:
    """What stands for a value that is too long, or that JSON has no word for."""
    count, low, high = (value.get(key) for key in ("count", "min", "max"))
    if is_digest(value):
        span = f", {_span(low, high)}" if is_number(low) and is_number(high) else ""
        return one_line(f"{count} values{span}", _ARRAY_WIDTH)
    if value.get("_type") == "text":
        return one_line(f"{value.get('first')}… ({count} characters)", _ARRAY_WIDTH)
    return one_line(str(value.get("value", value)), _VALUE_WIDTH)


def _span(low: float, high: float) -> str:
    return f"{number_text(low)} … {number_text(high)}"
