"""What a program says of a channel whose values it computes: `plan(channel, low, high, n)`."""

import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_DECLARATIONS = 100
MAX_WRITES = 100_000
_MAX_NAME = 256


class Declared(NamedTuple):
    """One declaration; the fields are those of the class in `runpermit.models`."""

    channel: str
    low: float
    high: float
    max_writes: int


class Declarations:
    """The `plan` of one program. What it declares is given to `tell`, where somebody listens."""

    def __init__(self, tell: Callable[[Declared], None] | None) -> None:
        self._tell = tell
        self._last: dict[str, Declared] = {}
        self._count = 0

    def plan(self, channel: str, low: float, high: float, max_writes: int) -> None:
        """Declare that `channel` gets at most `max_writes` writes, all from `low` to `high`.

        Of several declarations for one channel the last one counts, for all of its writes. Raises
        TypeError and ValueError for what can't be approved, in every mode alike.
        """
        declared = checked(channel, low, high, max_writes)
        if self._last.get(declared.channel) == declared:
            return
        if self._count == MAX_DECLARATIONS:
            raise ValueError(f"plan: {MAX_DECLARATIONS} declarations are the most; declare less")
        self._count += 1
        self._last[declared.channel] = declared
        if self._tell is not None:
            self._tell(declared)


def checked(channel: Any, low: Any, high: Any, max_writes: Any) -> Declared:  # noqa: ANN401
    """Give the declaration. Raises TypeError and ValueError, naming argument and rule."""
    if not isinstance(channel, str):
        raise TypeError(f"plan: channel must be text, not {type(channel).__name__}")
    if not (0 < len(channel) <= _MAX_NAME and channel.isprintable()):
        raise ValueError(
            f"plan: channel must be the name of a channel, 1 to {_MAX_NAME} characters that can "
            f"be printed, not {channel[:_MAX_NAME]!a}"
        )
    lowest, highest = _finite(channel, "low", low), _finite(channel, "high", high)
    if lowest > highest:
        raise ValueError(f"plan: {channel}: low = {lowest:g} is above high = {highest:g}")
    if not isinstance(max_writes, numbers.Integral) or isinstance(max_writes, bool):
        kind = type(max_writes).__name__
        raise TypeError(f"plan: {channel}: max_writes must be a whole number, not {kind}")
    count = int(max_writes)
    if not 1 <= count <= MAX_WRITES:
        raise ValueError(f"plan: {channel}: max_writes must be from 1 to {MAX_WRITES}")
    return Declared(channel, lowest, highest, count)


def _finite(channel: str, name: str, value: Any) -> float:  # noqa: ANN401
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"plan: {channel}: {name} must be a number, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"plan: {channel}: {name} must be a finite number")
    return number
