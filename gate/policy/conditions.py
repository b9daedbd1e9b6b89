"""Conditions of the limits database: what the machine must be like for a write to pass."""

import operator
from collections.abc import Callable

from gate.channel_access.ioc_circuit import IocLostError
from gate.channel_access.reading import ChannelReader, Reading
from gate.channel_access.values import UnfitValueError
from runpermit.limits import Condition, ConditionOperator
from runpermit.limits.values import shown

_ORDERED: dict[ConditionOperator, Callable[[float, float], bool]] = {
    ConditionOperator.LESS: operator.lt,
    ConditionOperator.LESS_EQUAL: operator.le,
    ConditionOperator.GREATER: operator.gt,
    ConditionOperator.GREATER_EQUAL: operator.ge,
}


class ConditionReader:
    """Judges conditions with values read at that moment."""

    def __init__(self, reader: ChannelReader) -> None:
        self._reader = reader

    async def failure(self, condition: Condition) -> str | None:
        """Why `condition` does not hold, None where it does. What can't be read does not hold."""
        try:
            reading = await self._reader.read(condition.channel)
        except (IocLostError, LookupError, UnfitValueError) as error:
            return f"the condition {worded(condition)} can't be judged: {error}"
        if holds(condition, reading):
            return None
        return f"the condition {worded(condition)} does not hold: it reads {reading}"


def worded(condition: Condition) -> str:
    """A condition, for messages."""
    return f"{condition.channel} {condition.op} {shown(condition.value)}"


def holds(condition: Condition, reading: Reading) -> bool:
    """Whether a condition holds for what its channel reads."""
    if condition.op is ConditionOperator.EQUAL:
        return reading.equals(condition.value)
    if condition.op is ConditionOperator.NOT_EQUAL:
        # A text beside a number, or nan, is not known to differ.
        return _comparable(condition, reading) and not reading.equals(condition.value)
    if isinstance(reading.value, str | tuple) or isinstance(condition.value, str):
        return False
    return _ORDERED[condition.op](reading.value, condition.value)


def _comparable(condition: Condition, reading: Reading) -> bool:
    if isinstance(condition.value, str):
        return reading.state is not None or isinstance(reading.value, str)
    return isinstance(reading.value, int | float) and reading.value == reading.value
