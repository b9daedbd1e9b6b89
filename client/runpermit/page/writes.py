"""The writes of a plan as lines for a panel: what is declared, then write by write."""

from typing import Any

from runpermit.models import Declaration, MachineState, Plan, PlannedChannel
from runpermit.page.layout import LONGEST, spread, wrapped
from runpermit.page.values import delta, span_text
from runpermit.plans import Group, groups
from runpermit.plans.values import is_digest, numbers_of
from runpermit.plans.words import (
    SHOWN_ELEMENTS,
    change_text,
    counted,
    number_text,
    quoted,
    unit_text,
    value_text,
)
from runpermit.text import one_line

SHOWN_WRITES = 30
_SHOWN_VALUES = 3
_LONG = 10  # s, from which on tenths do not matter


def write_lines(plan: Plan, shown: int = SHOWN_WRITES) -> list[str]:
    """What the plan would write, as plain text of at most 54 characters a line.

    The declared ranges first; then each write, or ramp of writes, of which `shown` are told. What
    is known of a channel stands where it comes first.
    """
    known = {channel.channel: channel for channel in plan.channels}
    told: set[str] = set()
    lines: list[str] = []
    for declared in plan.declared[:shown]:
        lines += _declared(declared, known.get(declared.channel))
        told.add(declared.channel)
    if (more := len(plan.declared) - shown) > 0:
        lines.append(f"… and {more} declared channels more, see the notebook")
    if plan.declared and plan.writes:
        lines.append("In the rehearsal:")
    all_groups = groups(plan)
    for group in all_groups[:shown]:
        channel = known.get(group.channel)
        lines += _group(group, channel)
        if group.channel not in told:
            told.add(group.channel)
            lines += _known(channel, max(_changes(group, channel), key=abs, default=None))
    left = plan.left_out + sum(group.count for group in all_groups[shown:])
    if left:
        lines.append(f"… and {counted(left, 'write')} more, see the notebook")
    return lines


def machine_lines(plan: Plan) -> list[str]:
    """The conditions that were looked at, and whether they held, likewise as plain text."""
    return [line for state in plan.machine for line in _condition(state)]


def _declared(declared: Declaration, channel: PlannedChannel | None) -> list[str]:
    units = unit_text(channel.units) if channel else ""
    span = f"{number_text(declared.low)} … {number_text(declared.high)} {units}".strip()
    lines = spread(declared.channel, [f"{span}, at most {counted(declared.max_writes, 'write')}"])
    now = f"now {value_text(channel.live, channel.units, channel.state)}" if channel else ""
    return lines + wrapped([now]) + _known(channel, None)


def _group(group: Group, channel: PlannedChannel | None) -> list[str]:
    """A write, or many to one channel: from, to, how, and the change."""
    units = channel.units if channel else ""
    before = channel.state if channel and channel.live == group.first else ""
    way = [value_text(group.first, state=before), *_on_the_way(group)]
    way.append(value_text(group.last, units, group.state))
    changes = _changes(group, channel)
    right = f"Δ {change_text(changes, units, '{:+.6g}'.format)}" if changes else ""
    told = " → ".join(way)
    # What is cut off a line is its end, and that is where it goes.
    ways = [told] if len(told) <= LONGEST else [way[0], *(f"→ {value}" for value in way[1:])]
    return spread(group.channel, [*ways, *_elements(group), *_course(group, channel)], right)


def _on_the_way(group: Group) -> list[str]:
    """The values before the last, where they are few and no ramp."""
    if group.step is not None or group.count > _SHOWN_VALUES or _repeats(group):
        return []
    return [value_text(value) for value in group.values[:-1]]


def _elements(group: Group) -> list[str]:
    """How many elements of an array change, where they are not told one by one.

    Two arrays from the same lowest to the same highest element read alike.
    """
    before = group.first
    if not isinstance(before, list) or len(before) <= SHOWN_ELEMENTS:
        return []
    arrays = [value for value in group.values if isinstance(value, list)]
    alike = [array for array in arrays if len(array) == len(before)]
    ways = [[delta(*pair) for pair in zip(before, array, strict=True)] for array in alike]
    changes = [change for way in ways for change in way if change is not None]
    if not alike or len(changes) < len(alike) * len(before):
        return []
    moved = sum(any(of_one) for of_one in zip(*ways, strict=True))
    most = number_text(max(map(abs, changes)))
    return [f"{moved} of {len(before)} elements change, by at most {most}"]


def _repeats(group: Group) -> bool:
    """Whether all of its writes are the same one."""
    return not group.step and all(value == group.last for value in group.values)


def _changes(group: Group, channel: PlannedChannel | None) -> list[float]:
    """How far each value is from the one before, in numbers; none where not all have numbers.

    The number of a state is a name, and no size.
    """
    if group.state or (channel is not None and channel.exact):
        return []
    changes = [delta(group.first, value) for value in (*group.values, group.last)]
    numbers = [change for change in changes if change is not None]
    return numbers if len(numbers) == len(changes) else []


def _course(group: Group, channel: PlannedChannel | None) -> list[str]:
    """How many writes lead there, and how long they take.

    In a rehearsal no device has to be waited for.
    """
    if group.count == 1:
        return []
    units = channel.units if channel else ""
    took = f"{group.seconds:.0f} s" if group.seconds >= _LONG else f"{group.seconds:.2g} s"
    if channel is not None and channel.follows:
        took = f"at least {took}"
    if _repeats(group):
        return [f"{group.count} times, {took}"]
    if group.step is not None:
        return [f"{group.count} × {value_text(abs(group.step))}, {took}"]
    if group.count <= _SHOWN_VALUES:
        return [f"in {took}"]
    reach = [_reach(value) for value in group.values]
    numbers = [number for value in reach for number in value]
    span = span_text(min(numbers), max(numbers), units) if all(reach) else "not all numbers"
    return [f"{counted(group.count, 'write')}, {span}, {took}"]


def _reach(value: Any) -> tuple[float, ...]:  # noqa: ANN401  (JSON)
    """The numbers in a value, or its smallest and largest; none where not all are numbers."""
    if is_digest(value):
        value = [value.get("min"), value.get("max")]
    return numbers_of(value) or ()


def _known(channel: PlannedChannel | None, change: float | None) -> list[str]:
    """What gate and limits database know of a channel, and what to mind."""
    if channel is None:
        return wrapped(["! nothing is known of it"])
    facts = [
        quoted(one_line(channel.description, 120)) if channel.description else "",
        _share(channel, change),
        _limits(channel),
        _step(channel),
    ]
    return wrapped(facts) + [line for mark in _marks(channel) for line in wrapped([f"! {mark}"])]


def _share(channel: PlannedChannel, change: float | None) -> str:
    """The change as a part of all that the limits allow."""
    low, high = channel.min_value, channel.max_value
    if change is None or low is None or high is None or high <= low:
        return ""
    return f"{100 * abs(change) / (high - low):.3g} % of range"


def _limits(channel: PlannedChannel) -> str:
    if channel.min_value is None and channel.max_value is None:
        return "values as planned" if channel.exact else "no limits"
    return f"limits {span_text(channel.min_value, channel.max_value, channel.units)}"


def _step(channel: PlannedChannel) -> str:
    if channel.max_step is None:
        return ""
    allowed = f"{number_text(channel.max_step)} {unit_text(channel.units)}".strip()
    if channel.largest_step is None:
        return f"step at most {allowed}"
    return f"step {channel.largest_step:.6g} of at most {allowed}"


def _marks(channel: PlannedChannel) -> list[str]:
    """What is unusual about a channel, the worst first."""
    marks = []
    if channel.alarm:
        marks.append(f"alarm: {channel.alarm}")
    if channel.clamped:
        marks.append(channel.clamped)
    if channel.moved_by:
        marks.append(f"moved by something else: {channel.moved_by}")
    if not channel.restorable:
        marks.append(f"can't be put back: {channel.why_not or 'no reason is known'}")
    return marks


def _condition(state: MachineState) -> list[str]:
    holds = "holds" if state.holds else "DOES NOT HOLD"
    condition = f"{state.channel} {state.op} {value_text(state.value)}"
    return spread(condition, [f"reads {state.reads}"], holds)
