"""How a channel is put back: in which steps."""

import math
from typing import Any

from runpermit.plans.values import Value, numbers_of

# A way of more steps is none.
MAX_STEPS = 100_000


def next_value(
    now: Any,  # noqa: ANN401  (JSON, or a value)
    target: Any,  # noqa: ANN401
    max_step: float | None,
    max_step_relative: float | None,
) -> Value | None:
    """The next setpoint on the way from `now` to `target`, in equal steps within both limits.

    The last one is `target` itself; an array goes element by element. None where no such way leads
    there in MAX_STEPS: through or from zero with `max_step_relative`, or to what is no value.
    """
    if isinstance(target, dict) or target is None:
        return None
    if max_step is None and max_step_relative is None:
        return tuple(target) if isinstance(target, list) else target
    if not _comparable(now, target):
        return None
    pairs = zip(numbers_of(now) or (), numbers_of(target) or (), strict=True)
    found: list[float] = []
    for one, other in pairs:
        following = _next(one, other, max_step, max_step_relative)
        if following is None:
            return None
        found.append(following)
    return tuple(found) if isinstance(target, tuple | list) else found[0]


def _comparable(one: object, other: object) -> bool:
    """Whether both are numbers, or arrays of as many numbers."""
    left, right = numbers_of(one), numbers_of(other)
    return (
        left is not None
        and right is not None
        and len(left) == len(right)
        and isinstance(one, tuple | list) is isinstance(other, tuple | list)
    )


def _next(
    now: float, target: float, max_step: float | None, relative: float | None
) -> float | None:
    distance = abs(target - now)
    allowed = min(
        math.inf if max_step is None else max_step,
        math.inf if relative is None else relative * abs(now),
    )
    if distance <= allowed + _rounding(now, target, allowed):
        return target
    if allowed == 0 or not _leads_there(now, target, max_step, relative):
        return None
    pieces = distance / allowed
    step = distance / math.ceil(pieces) if pieces <= MAX_STEPS else allowed
    if isinstance(now, int) and isinstance(target, int):
        step = math.floor(step)
        return now + (step if target > now else -step) if step else None
    value = now + math.copysign(step, target - now)
    while abs(value - now) > allowed + _rounding(now, value, allowed):
        value = math.nextafter(value, now)
    return value if value != now else None


def _leads_there(now: float, target: float, max_step: float | None, relative: float | None) -> bool:
    """Whether few enough steps are left. Each is at least half of what is allowed."""
    distance = abs(target - now)
    if relative is None:
        return max_step is not None and distance / max_step <= MAX_STEPS
    # A fraction of what it is leads neither from zero nor through it, and to it never quite.
    if now == 0 or target == 0 or (now > 0) is not (target > 0):
        return False
    if isinstance(now, int) and isinstance(target, int):
        # No whole step is a small fraction of a small number.
        smallest = abs(now) if abs(target) > abs(now) else abs(target) + 1
        if relative * smallest < 1:
            return False
    by_fraction = abs(math.log(abs(target)) - math.log(abs(now))) / math.log1p(relative / 2)
    by_step = 0.0 if max_step is None else 2 * distance / max_step
    return by_fraction + by_step <= MAX_STEPS


def _rounding(now: float, new: float, allowed: float) -> float:
    """As the limits tolerate it: decimal steps are not exact in binary."""
    return min(2 * math.ulp(max(abs(new), abs(now))), allowed * 1e-6)
