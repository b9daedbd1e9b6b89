"""One entry of the limits database: all that the facility says about a channel."""

import math
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    model_validator,
)


def _plain_value(value: object) -> str | int | float:
    if type(value) in (str, int) or (type(value) is float and math.isfinite(value)):
        return value  # type: ignore[return-value]
    raise ValueError("should be text or a finite number")


ChannelValue: TypeAlias = Annotated[str | int | float, PlainValidator(_plain_value)]
"""What a channel is set to or compared with: text or a finite number."""

ChannelName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=256)]
"""A channel's exact name: printable ASCII without spaces."""

_Positive: TypeAlias = Annotated[float, Field(gt=0)]
_NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
# A longer one would hold an execution for hours: a slip of the keyboard more often than a wish.
_Seconds: TypeAlias = Annotated[float, Field(ge=0, le=600)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class VerificationLevel(StrEnum):
    """How a write is confirmed: not at all, by the record's callback, or by reading it back."""

    NONE = "none"
    CALLBACK = "callback"
    READBACK = "readback"


class ConditionOperator(StrEnum):
    """How a condition compares the channel's value (left) with its own (right)."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="


class Verification(_Strict):
    """How closely a setpoint must read back; the absolute tolerance wins over the percentage."""

    level: Annotated[VerificationLevel, Field(strict=False)] = VerificationLevel.CALLBACK
    tolerance_absolute: _NotNegative | None = None
    tolerance_percent: _NotNegative | None = None


class Readback(_Strict):
    """The channel that follows the setpoint: readback = setpoint × scale + offset."""

    channel: ChannelName
    scale: float = 1.0
    offset: float = 0.0
    tolerance: _NotNegative | None = None
    settle_time: _Seconds | None = None

    @model_validator(mode="after")
    def _follows(self) -> Self:
        if self.scale == 0:
            raise ValueError("scale 0 would make the readback follow nothing")
        return self


class TargetValue(_Strict):
    """A channel and the value that it shows (`done`) or is to be set to (`stop`)."""

    channel: ChannelName
    value: ChannelValue


class Condition(_Strict):
    """What must hold for a write to pass: `channel op value`, judged with the live value."""

    channel: ChannelName
    op: Annotated[ConditionOperator, Field(strict=False)]
    value: ChannelValue

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        ordered = self.op not in (ConditionOperator.EQUAL, ConditionOperator.NOT_EQUAL)
        if ordered and isinstance(self.value, str):
            raise ValueError(f"text can't be compared by {self.op}; use == or !=")
        return self


class ChannelLimitsConfig(_Strict):
    """What may be written to one channel, how it is verified, and what follows it.

    Bounds are inclusive and in `units`. `max_step` bounds the distance from the live value,
    `max_step_relative` the same as a fraction of |live value|; where both stand, both hold.
    `max_length` counts the elements of an array or the characters of a text. Times are in seconds,
    at most 600.
    """

    min_value: float | None = None
    max_value: float | None = None
    max_step: _Positive | None = None
    max_step_relative: _Positive | None = None
    min_interval: _Seconds = 0.1
    writable: bool = True
    allowed_values: Annotated[tuple[ChannelValue, ...] | None, Field(strict=False)] = None
    max_length: Annotated[int, Field(ge=1)] | None = None
    verification: Verification = Verification()
    plan_tolerance: _NotNegative | None = None
    readback: Readback | None = None
    done: TargetValue | None = None
    affects: Annotated[tuple[ChannelName, ...], Field(strict=False)] = ()
    stop: TargetValue | None = None
    restore: bool | None = None
    conditions: Annotated[tuple[Condition, ...], Field(strict=False)] = ()
    description: str | None = None
    units: str | None = None

    @cached_property
    def bounds_numbers(self) -> bool:
        """Whether only numbers can pass: a bound or a step is given."""
        return not (
            self.min_value is None
            and self.max_value is None
            and self.max_step is None
            and self.max_step_relative is None
        )

    @cached_property
    def bounds_step(self) -> bool:
        """Whether a write is judged against the live value."""
        return self.max_step is not None or self.max_step_relative is not None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, high = self.min_value, self.max_value
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_value {low:g} is above max_value {high:g}; no value could pass")
        if self.allowed_values is not None:
            self._check_allowed_values(self.allowed_values)
        return self

    def _check_allowed_values(self, allowed: tuple[ChannelValue, ...]) -> None:
        if not allowed:
            raise ValueError("allowed_values is empty; use writable: false to forbid all writes")
        if not self.bounds_numbers:
            return
        for value in allowed:
            if isinstance(value, str):
                raise ValueError(  # noqa: TRY004  (pydantic's way)
                    f"allowed_values holds the text {value!r} beside a bound or step for numbers"
                )
            below = self.min_value is not None and value < self.min_value
            above = self.max_value is not None and value > self.max_value
            if below or above:
                raise ValueError(f"allowed_values holds {value:g}, outside min_value to max_value")
