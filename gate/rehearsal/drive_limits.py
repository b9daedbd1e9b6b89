"""How far a record lets itself be driven: beyond its own limits it stores something else."""

import asyncio
import math
from dataclasses import dataclass

from gate.channel_access.ioc_circuit import IocCircuit, IocLostError
from gate.channel_access.records import Record
from gate.channel_access.values import Value
from gate.rehearsal.description import number_of_field
from gate.rehearsal.following import is_motor

UNREADABLE = "drive limits can't be read: it may store something else"

_CLAMPING = frozenset({"ao", "longout", "int64out"})


@dataclass(frozen=True)
class DriveLimits:
    """The values from `low` to `high`, and the fields of the record that say so.

    stays: a record that does not go to a value beyond, as a motor; another one goes to the end.
    """

    low: float = -math.inf
    high: float = math.inf
    low_field: str = ""
    high_field: str = ""
    stays: bool = False

    def stored(self, old: Value, value: Value) -> Value:
        """What a record that holds `old` holds once it was set to `value`."""
        passed = self._passed(value)
        if passed is None or isinstance(value, str | tuple):
            return value
        return old if self.stays else type(value)(passed[1])

    def told(self, value: Value) -> str:
        """In words what becomes of `value`; empty where it is not beyond.

        The same words for all of them, so that two rehearsals of one program tell the same.
        """
        passed = self._passed(value)
        if passed is None:
            return ""
        field, limit, beyond = passed
        end = f"{limit:.10g}"
        if self.stays:
            return f"stays where it is for {beyond} than {field} = {end}"
        return f"clamps at {field} = {end}: {beyond} is stored as {end}"

    def _passed(self, value: Value) -> tuple[str, float, str] | None:
        """The field of the limit that `value` is beyond, that limit, and on which side it is."""
        # No number is beyond a limit that is NaN, nor is NaN beyond any.
        if isinstance(value, str | tuple):
            return None
        if value < self.low:
            return self.low_field, self.low, "less"
        if value > self.high:
            return self.high_field, self.high, "more"
        return None


async def drive_limits(circuit: IocCircuit, record: Record) -> DriveLimits | None:
    """The drive limits of a record's value; None where they can't be read."""
    try:
        if is_motor(record):
            return await _motor(circuit, record.name)
        if record.record_type in _CLAMPING and record.channel == record.name:
            low, high = await _numbers(circuit, record.name, "DRVL", "DRVH")
            return DriveLimits(low, high, "DRVL", "DRVH") if high > low else DriveLimits()
    except (LookupError, IocLostError):
        return None
    return DriveLimits()


async def _motor(circuit: IocCircuit, name: str) -> DriveLimits:
    low, high, dial_low, dial_high = await _numbers(circuit, name, "LLM", "HLM", "DLLM", "DHLM")
    if dial_low == dial_high == 0:  # how a motor says that it has none
        return DriveLimits()
    return DriveLimits(low, high, "LLM", "HLM", stays=True)


async def _numbers(circuit: IocCircuit, name: str, *fields: str) -> list[float]:
    return await asyncio.gather(*(number_of_field(circuit, f"{name}.{field}") for field in fields))
