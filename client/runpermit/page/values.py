"""Values in few characters: what a channel reads, what it is set to, and the change between."""

from typing import Any

from runpermit.plans.values import is_number
from runpermit.plans.words import number_text
from runpermit.text import one_line

_SHOWN_ELEMENTS = 3
_TEXT_WIDTH = 24
_UNIT_WIDTH = 8


def value_text(value: Any, units: str = "", state: str = "") -> str:  # noqa: ANN401
    """A planned value, with the state that it names and its unit. A cut is marked."""
    return f"{_bare(value, state)} {unit_text(units)}".strip()


def unit_text(units: str) -> str:
    """A unit; it comes from the machine."""
    return one_line(units, _UNIT_WIDTH)


def delta(old: Any, new: Any) -> float | None:  # noqa: ANN401
    """The change from `old` to `new`, where both are numbers."""
    return new - old if is_number(old) and is_number(new) else None


def span_text(low: float | None, high: float | None, units: str = "") -> str:
    """A range; where there is no bound it is unbounded."""
    bounds = ("-∞" if low is None else number_text(low), "∞" if high is None else number_text(high))
    return f"{bounds[0]} … {bounds[1]} {unit_text(units)}".strip()


def _bare(value: Any, state: str) -> str:  # noqa: ANN401
    if state:
        return f"{one_line(state, _TEXT_WIDTH)} ({one_line(str(value), _TEXT_WIDTH)})"
    if value is None:
        return "unknown"
    if is_number(value):
        return one_line(number_text(value), _TEXT_WIDTH)
    if isinstance(value, list) and len(value) > _SHOWN_ELEMENTS:
        return f"{len(value)} values, {_span(value)}"
    if isinstance(value, list):
        return one_line(f"[{', '.join(_bare(element, '') for element in value)}]", 2 * _TEXT_WIDTH)
    if isinstance(value, dict):
        return _described(value)
    return one_line(str(value), _TEXT_WIDTH)


def _span(values: list[Any]) -> str:
    numbers = [value for value in values if is_number(value)]
    if len(numbers) < len(values):
        return "not all numbers"
    return f"{number_text(min(numbers))} … {number_text(max(numbers))}"


def _described(value: dict[str, Any]) -> str:
    """What stands for a value that is too long, or that JSON has no word for."""
    kind, count, low, high = (value.get(key) for key in ("_type", "count", "min", "max"))
    if kind == "float":
        return one_line(str(value.get("value")), _TEXT_WIDTH)
    if kind != "array":
        return one_line(str(value), _TEXT_WIDTH)
    span = f", {_span([low, high])}" if is_number(low) and is_number(high) else ""
    return one_line(f"{count} values{span}", 2 * _TEXT_WIDTH)
