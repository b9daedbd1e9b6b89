"""What an approved plan lets a program write."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, TypeAlias

from runpermit.models.plan import Declaration, Plan, PlannedChannel, PlannedWrite
from runpermit.plans.values import Value, as_planned, is_digest, is_number, numbers_of, same
from runpermit.plans.words import name_text, number_text, value_text

_UNPLANNED = "is not in the approved plan. Rehearse the code that writes it, and have it approved"
_AGAIN = "Rehearse again, and have the new plan approved"

_Span: TypeAlias = tuple[float, float]


class Envelope:
    """What `plan` still allows, counted on by `forwarded`. One for the session of a permit.

    The reasons that it gives go on where the channel's name stands. Between `refusal` and
    `forwarded` of one write no other of the session may be judged.
    """

    def __init__(self, plan: Plan) -> None:
        self._approvable = plan.may_be_approved
        self._facts = {channel.channel: channel for channel in plan.channels}
        self._planned: dict[str, list[Any]] = defaultdict(list)
        for write in plan.writes:
            self._planned[write.channel].append(write.new)
        self._declared: dict[str, list[Declaration]] = defaultdict(list)
        for declaration in plan.declared:
            self._declared[declaration.channel].append(declaration)
        self._spans = {
            name: _spans(self._facts[name], planned)
            for name, planned in self._planned.items()
            if name in self._facts and isinstance(planned[0], list)
        }
        self._exact = [write for write in plan.writes if self._is_exact(write)]
        self._exact_forwarded = 0
        self._forwarded: Counter[str] = Counter()

    def drift(self, channel: str, live: Value | None) -> str | None:
        """Why `channel`, which reads `live` before its first write, is not as planned.

        None where it is, within its tolerance.
        """
        facts = self._facts.get(channel)
        if facts is None:
            return _UNPLANNED
        if facts.live is None or live is None:
            when = "when the plan was made" if facts.live is None else "now"
            return f"could not be read {when}, so that a change since can't be ruled out. {_AGAIN}"
        before, now = numbers_of(facts.live), numbers_of(live)
        if facts.exact or before is None or now is None:
            is_as_planned = same(facts.live, live)
        else:
            # A number and an array of one are different things.
            is_as_planned = (
                isinstance(facts.live, list) is isinstance(live, tuple | list)
                and len(before) == len(now)
                and _within(now, [(number, number) for number in before], facts.tolerance)
            )
        if is_as_planned:
            return None
        was = value_text(facts.live, facts.units, facts.state)
        return (
            f"reads {value_text(as_planned(live), facts.units)}, and {was} when the plan was made"
            f"{_tolerated(facts)}. {_AGAIN}"
        )

    def refusal(self, channel: str, value: Value, state: str = "") -> str | None:
        """Why the next write may not set `channel` to `value`, None where it may.

        `state` is the name that an enum gives to `value` now, empty where it gives none.
        """
        facts = self._facts.get(channel)
        if facts is None:
            return _UNPLANNED
        if not self._approvable:
            return f"can't be set: the plan is incomplete. {_AGAIN}"
        why = self._why_not(facts, value, state)
        if why is None:
            return None
        return f"can't be set to {value_text(as_planned(value), facts.units)}: {why}. {_AGAIN}"

    def forwarded(self, channel: str, value: Value) -> None:  # noqa: ARG002  (whatever it was)
        """Count a write that was let pass; the next one is judged as what follows it."""
        self._forwarded[channel] += 1
        facts = self._facts.get(channel)
        if facts is not None and facts.exact:
            self._exact_forwarded += 1

    def _why_not(self, facts: PlannedChannel, value: Value, state: str) -> str | None:
        if facts.exact:
            return self._not_next_exact(facts, value, state)
        if declared := self._declared.get(facts.channel):
            return self._not_declared(facts, declared, value)
        count = self._forwarded[facts.channel]
        if count >= facts.writes:
            return f"the plan has {facts.writes} writes to it, and these are done"
        planned = self._planned[facts.channel]
        if any(is_digest(item) for item in planned):
            is_next = count < len(planned) and same(planned[count], value)
            return None if is_next else "the plan has another array for this write"
        if facts.channel in self._spans:
            return _outside_arrays(facts, self._spans[facts.channel], value)
        return _outside_span(facts, value)

    def _not_next_exact(self, facts: PlannedChannel, value: Value, state: str) -> str | None:
        if self._exact_forwarded >= len(self._exact):
            return "the plan has no further write that must come exactly as planned, as this one"
        expected = self._exact[self._exact_forwarded]
        planned = value_text(expected.new, "", expected.state)
        if expected.channel == facts.channel and same(expected.new, value):
            # People approve the name of a state; an IOC may have given its number to another.
            if expected.state in {"", state}:
                return None
            return f"that is {value_text(expected.new, '', state)} now, and the plan has {planned}"
        return f"the plan has {name_text(expected.channel)} set to {planned} before, exactly"

    def _not_declared(
        self, facts: PlannedChannel, declared: list[Declaration], value: Value
    ) -> str | None:
        numbers = numbers_of(value)
        if not numbers:
            return "its plan is a range of numbers"
        for declaration in declared:
            if self._forwarded[facts.channel] >= declaration.max_writes:
                return f"{declaration.max_writes} writes to it are declared, and these are done"
            if not all(declaration.low <= number <= declaration.high for number in numbers):
                low, high = number_text(declaration.low), number_text(declaration.high)
                return f"it is declared from {low} to {high}"
        return None

    def _is_exact(self, write: PlannedWrite) -> bool:
        facts = self._facts.get(write.channel)
        return facts is not None and facts.exact


def _outside_span(facts: PlannedChannel, value: Value) -> str | None:
    if not is_number(value):
        return "its plan is of numbers"
    if facts.low is None or facts.high is None or not is_number(facts.live):
        return "its plan does not say which numbers"
    low, high = min(facts.live, facts.low), max(facts.live, facts.high)
    if _within((value,), [(low, high)], facts.tolerance):
        return None
    return f"its plan goes from {number_text(low)} to {number_text(high)}{_tolerated(facts)}"


def _outside_arrays(
    facts: PlannedChannel, spans: dict[int, list[_Span]], value: Value
) -> str | None:
    numbers = numbers_of(value)
    if numbers is None or not isinstance(value, tuple | list):
        return "its plan is of arrays of numbers"
    if len(numbers) not in spans:
        return f"its plan has no array of {len(numbers)} elements"
    if _within(numbers, spans[len(numbers)], facts.tolerance):
        return None
    return f"an element lies outside of those planned{_tolerated(facts)}"


def _spans(facts: PlannedChannel, planned: list[Any]) -> dict[int, list[_Span]]:
    """For each length of a planned array, from where to where its elements go."""
    live = numbers_of(facts.live)
    arrays = [array for item in planned if (array := numbers_of(item)) is not None]
    found: dict[int, list[_Span]] = {}
    for length in {len(array) for array in arrays}:
        alike = [array for array in arrays if len(array) == length]
        if live is not None and len(live) == length:
            alike.append(live)
        found[length] = [(min(elements), max(elements)) for elements in zip(*alike, strict=True)]
    return found


def _within(numbers: Sequence[float], spans: Sequence[_Span], tolerance: float | None) -> bool:
    """Whether each of `numbers` lies in its span, or as near as is tolerated."""
    room = tolerance or 0.0
    return all(
        low - room <= number <= high + room
        for number, (low, high) in zip(numbers, spans, strict=True)
    )


def _tolerated(facts: PlannedChannel) -> str:
    if not facts.tolerance or facts.exact:
        return ""
    return f" (tolerance {value_text(facts.tolerance, facts.units)})"
