"""The rules of one entry, applied to one write."""

import math
from enum import Enum

from runpermit.errors import ChannelLimitsViolationError
from runpermit.limits.entry import ChannelLimitsConfig
from runpermit.limits.values import Element, decimal, elements, holds_non_finite, is_finite, shown
from runpermit.limits.violations import ViolationType

UNRESTRICTED = ChannelLimitsConfig()
_NON_FINITE = "nan, infinity and what overflows a double can't be written. Write a finite number"


class CurrentValue(Enum):
    """Why there is no live value for a step check; both refuse the write."""

    NOT_READ = "was not read"
    UNREADABLE = "could not be read"


class Write:
    """One write under judgement: holds what a refusal has to tell."""

    __slots__ = ("channel", "entry", "value")

    def __init__(self, channel: str, value: object) -> None:
        self.channel = channel
        self.value = value
        self.entry: ChannelLimitsConfig = UNRESTRICTED

    def violation(
        self, kind: ViolationType, reason: str, current_value: object = None
    ) -> ChannelLimitsViolationError:
        """The refusal of this write, with the entry's bounds."""
        return ChannelLimitsViolationError(
            self.channel,
            self.value,
            kind,
            reason,
            min_value=self.entry.min_value,
            max_value=self.entry.max_value,
            max_step=self.entry.max_step,
            current_value=current_value,
        )

    def check_finite(self) -> None:
        """Refuse nan and infinity; the one rule that holds without limits too."""
        if holds_non_finite(self.value):
            raise self.violation(
                ViolationType.INVALID_VALUE, f"is set to {shown(self.value)}: {_NON_FINITE}"
            )

    def checked_elements(self, entry: ChannelLimitsConfig) -> tuple[Element, ...]:
        """The value's elements as the entry allows them, number text as numbers."""
        try:
            items = elements(self.value)
        except ValueError as error:
            raise self.violation(
                ViolationType.INVALID_VALUE,
                f"{shown(self.value)} can't be written: {error}. Write a number, text, or a "
                "flat list of them",
            ) from error
        self._check_length(entry, items)
        checked = tuple([self._checked(entry, item) for item in items])
        for item in checked:
            self._check_bounds(entry, item)
        return checked

    def _check_length(self, entry: ChannelLimitsConfig, items: tuple[Element, ...]) -> None:
        if entry.max_length is None:
            return
        text = not entry.bounds_numbers and len(items) == 1 and isinstance(items[0], str)
        length = len(str(items[0])) if text else len(items)
        if length > entry.max_length:
            what = "characters" if text else "elements"
            raise self.violation(
                ViolationType.NOT_ALLOWED,
                f"{shown(self.value)} has {length} {what}, more than max_length "
                f"{entry.max_length}. Write a shorter value",
            )

    def _checked(self, entry: ChannelLimitsConfig, item: Element) -> Element:
        numeric, allowed = entry.bounds_numbers, entry.allowed_values
        if isinstance(item, str) and allowed is not None and item in allowed:
            return item
        if not is_finite(item):
            raise self.violation(
                ViolationType.INVALID_VALUE, f"is set to {shown(item)}: {_NON_FINITE}"
            )
        if isinstance(item, bool) and (numeric or allowed is not None):
            raise self.violation(
                ViolationType.INVALID_VALUE,
                f"{item} is a truth value where {_bounds(entry)}. Write the number that is meant",
            )
        if numeric and isinstance(item, str):
            number = decimal(item)
            if number is None:
                raise self.violation(
                    ViolationType.INVALID_VALUE,
                    f"{shown(item)} is text where {_bounds(entry)}. Write a number",
                )
            item = number
        if allowed is not None and item not in allowed:
            choices = ", ".join(shown(choice) for choice in allowed[:20])
            more = ", …" if len(allowed) > 20 else ""  # noqa: PLR2004
            raise self.violation(
                ViolationType.NOT_ALLOWED,
                f"{_with_units(item, entry)} is not among allowed_values ({choices}{more}). "
                "Write one of these",
            )
        return item

    def _check_bounds(self, entry: ChannelLimitsConfig, item: Element) -> None:
        # Text is here only where no number is bounded.
        if isinstance(item, str):
            return
        if entry.min_value is not None and item < entry.min_value:
            raise self._outside(
                ViolationType.MIN_EXCEEDED, item, "below min_value", entry.min_value
            )
        if entry.max_value is not None and item > entry.max_value:
            raise self._outside(
                ViolationType.MAX_EXCEEDED, item, "above max_value", entry.max_value
            )

    def _outside(
        self, kind: ViolationType, item: Element, what: str, bound: float
    ) -> ChannelLimitsViolationError:
        return self.violation(
            kind,
            f"{_with_units(item, self.entry)} is {what} {_with_units(bound, self.entry)}; "
            f"{_bounds(self.entry)}. Write a value within these limits",
        )

    def check_step(
        self, entry: ChannelLimitsConfig, items: tuple[Element, ...], current_value: object
    ) -> None:
        """Refuse a step beyond the entry's, or one that can't be told from `current_value`."""
        current = self._current_elements(current_value)
        if len(current) != len(items):
            raise self.violation(
                ViolationType.STEP_CHECK_FAILED,
                f"{len(items)} elements can't be compared with the {len(current)} that the channel "
                f"holds, as {_step(entry)} demands. Write as many as it holds",
                current_value,
            )
        for new, now in zip(items, current, strict=True):
            step = abs(float(new) - now)
            allowed = _allowed_step(entry, now)
            if step > allowed and step > allowed + _rounding(float(new), now, allowed):
                raise self.violation(
                    ViolationType.MAX_STEP_EXCEEDED,
                    f"{_with_units(new, entry)} is {shown(step)} away from the current value "
                    f"{_with_units(now, entry)}, more than {_step(entry)} allows. "
                    "Go there in smaller steps",
                    current_value,
                )

    def _current_elements(self, current_value: object) -> tuple[float, ...]:
        if isinstance(current_value, CurrentValue) or current_value is None:
            why = (current_value or CurrentValue.UNREADABLE).value
            raise self._unchecked_step(f"the current value {why}", None)
        try:
            current = elements(current_value)
        except ValueError as error:
            raise self._unchecked_step(
                f"the current value {shown(current_value)} is no number: {error}", current_value
            ) from error
        for item in current:
            if isinstance(item, bool | str) or not is_finite(item):
                raise self._unchecked_step(
                    f"the current value {shown(item)} is no finite number", current_value
                )
        return tuple(float(item) for item in current)

    def _unchecked_step(self, why: str, current_value: object) -> ChannelLimitsViolationError:
        return self.violation(
            ViolationType.STEP_CHECK_FAILED,
            f"can't be set to {shown(self.value)}: {why}, and {_step(self.entry)} can only be "
            "checked against it. Write again once the channel reads a number",
            current_value,
        )


def _allowed_step(entry: ChannelLimitsConfig, now: float) -> float:
    step = math.inf if entry.max_step is None else entry.max_step
    if entry.max_step_relative is not None:
        step = min(step, entry.max_step_relative * abs(now))
    return step


def _rounding(new: float, now: float, allowed: float) -> float:
    # Decimal steps are not exact in binary: 0.3 to 0.4 is more than 0.1 by rounding alone.
    return min(2 * math.ulp(max(abs(new), abs(now))), allowed * 1e-6)


def _step(entry: ChannelLimitsConfig) -> str:
    parts = []
    if entry.max_step is not None:
        parts.append(f"max_step {_with_units(entry.max_step, entry)}")
    if entry.max_step_relative is not None:
        parts.append(f"max_step_relative {shown(entry.max_step_relative)}")
    return " and ".join(parts)


def _bounds(entry: ChannelLimitsConfig) -> str:
    low, high = entry.min_value, entry.max_value
    if low is not None and high is not None:
        return f"{shown(low)} to {_with_units(high, entry)} is allowed"
    if low is not None:
        return f"{_with_units(low, entry)} or more is allowed"
    if high is not None:
        return f"{_with_units(high, entry)} or less is allowed"
    if entry.bounds_step:
        return f"a number within {_step(entry)} is allowed"
    return "only allowed_values may be written"


def _with_units(value: object, entry: ChannelLimitsConfig) -> str:
    return f"{shown(value)} {entry.units}" if entry.units else shown(value)
