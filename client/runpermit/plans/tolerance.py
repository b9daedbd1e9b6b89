"""How far from its plan a setpoint may lie."""

from collections.abc import Iterable

from runpermit.limits import ChannelLimitsConfig
from runpermit.models.plan import MAX_PLANNED_ELEMENTS
from runpermit.plans.values import Value, numbers_of

_OF_CHANGE = 0.1
# Of the value, where the limits database says nothing of verification, as the gate verifies it.
_OF_VALUE = 0.001


def plan_tolerance(
    entry: ChannelLimitsConfig | None, live: Value | None, values: Iterable[Value]
) -> float | None:
    """The tolerance of a channel that reads `live` and for which `values` are planned.

    Its `plan_tolerance`, else the larger of what verification allows and 10 % of the planned
    change; of an array the largest element decides. At most one `max_step`. None where it is not
    about numbers, or about so many of them that they are known by their sha256 alone.
    """
    before = numbers_of(live)
    planned = [numbers_of(value) for value in values]
    if before is None or len(before) > MAX_PLANNED_ELEMENTS:
        return None
    arrays = [before]
    for numbers in planned:
        if numbers is None or len(numbers) > MAX_PLANNED_ELEMENTS:
            return None
        arrays.append(numbers)
    if entry is not None and entry.plan_tolerance is not None:
        found = entry.plan_tolerance
    else:
        change = max(
            (abs(new - old) for array in arrays for old, new in zip(before, array, strict=False)),
            default=0.0,
        )
        found = max(
            _OF_CHANGE * change,
            max((_verification(entry, item) for array in arrays for item in array), default=0.0),
        )
    if entry is not None and entry.max_step is not None:
        found = min(found, entry.max_step)
    return found


def _verification(entry: ChannelLimitsConfig | None, value: float) -> float:
    verification = entry.verification if entry is not None else None
    if verification is not None and verification.tolerance_absolute is not None:
        return verification.tolerance_absolute
    if verification is not None and verification.tolerance_percent is not None:
        return abs(value) * verification.tolerance_percent / 100
    return 0 if isinstance(value, int) else abs(value) * _OF_VALUE
