"""Changes and ranges in few characters."""

from typing import Any

from runpermit.plans.values import is_number
from runpermit.plans.words import number_text, unit_text


def delta(old: Any, new: Any) -> float | None:  # noqa: ANN401
    """The change from `old` to `new`, where both are numbers."""
    return new - old if is_number(old) and is_number(new) else None


def span_text(low: float | None, high: float | None, units: str = "") -> str:
    """A range; where there is no bound it is unbounded."""
    bounds = ("-∞" if low is None else number_text(low), "∞" if high is None else number_text(high))
    return f"{bounds[0]} … {bounds[1]} {unit_text(units)}".strip()
