"""A plan on one line."""

from collections.abc import Iterable
from typing import Any

from runpermit.models.plan import Declaration, Plan, PlanKind, PlannedChannel
from runpermit.plans.values import is_number
from runpermit.plans.words import (
    change_text,
    counted,
    name_text,
    number_text,
    unit_text,
    value_text,
)
from runpermit.text import one_line

_WIDTH = 200
_ITEM_WIDTH = 60
_EXACT_SECONDS = 10
_THOUSANDTHS = 3


def headline(plan: Plan) -> str:
    """The plan on one line of at most 200 characters: how much it writes, by how much, its kind."""
    end = f" Plan {plan.kind.upper()}"
    if not plan.channels:
        return f"No writes, {counted(len(plan.reads), 'channel')} read.{end}"
    start = f"{counted(len(plan.channels), 'setpoint')}, {_writes(plan)}, {_time(plan)}. "
    return start + _fitting(list(_items(plan)), _WIDTH - len(start) - len(end)) + end


def _writes(plan: Plan) -> str:
    if plan.kind is not PlanKind.DECLARED:
        return counted(plan.count, "write")
    declared = {declaration.channel for declaration in plan.declared}
    others = sum(channel.writes for channel in plan.channels if channel.channel not in declared)
    most = others + sum(declaration.max_writes for declaration in plan.declared)
    return f"at most {counted(most, 'write')}"


def _time(plan: Plan) -> str:
    took = _seconds(plan)
    if not any(channel.follows for channel in plan.channels):
        return took
    return "as long as its devices take" if took == "0 s" else f"at least {took}"


def _seconds(plan: Plan) -> str:
    if plan.seconds < _EXACT_SECONDS:
        return f"{round(plan.seconds, 1):g} s"
    return f"{plan.seconds:.0f} s"


def _items(plan: Plan) -> Iterable[str]:
    names = _short_names([channel.channel for channel in plan.channels])
    ranges = {declaration.channel: declaration for declaration in plan.declared}
    for channel, name in zip(plan.channels, names, strict=True):
        declaration = ranges.get(channel.channel)
        change = _change(channel) if declaration is None else _range(declaration, channel)
        yield one_line(f"{name} {change}", _ITEM_WIDTH)


def _short_names(channels: list[str]) -> list[str]:
    """`channels` without the parts between colons that all begin and end with."""
    parts = [name_text(channel).split(":") for channel in channels]
    shortest = min(len(name) for name in parts)
    start, end = 0, 0
    if len(parts) > 1:
        while start < shortest - 1 and len({name[start] for name in parts}) == 1:
            start += 1
        while end < shortest - 1 - start and len({name[-1 - end] for name in parts}) == 1:
            end += 1
    return [":".join(name[start : len(name) - end]) for name in parts]


def _range(declaration: Declaration, channel: PlannedChannel) -> str:
    low, high = number_text(declaration.low), number_text(declaration.high)
    return f"{low} … {high} {unit_text(channel.units)}".strip()


def _change(channel: PlannedChannel) -> str:
    live, low, high, last = channel.live, channel.low, channel.high, channel.last
    if channel.exact or not (is_number(live) and is_number(last)):
        # Of a state or text nothing tells what lies between.
        way = "→" if channel.writes <= 1 else f"{channel.writes} × … →"
        return f"{way} {value_text(last, channel.units, channel.last_state)}"
    changes = [end - live for end in (low, high, last) if end is not None]
    return change_text(changes, channel.units, _signed)


def _signed(number: Any) -> str:  # noqa: ANN401  (a number)
    if isinstance(number, int) or abs(number - round(number, _THOUSANDTHS)) > abs(number) / 1000:
        return f"{number:+.4g}"
    return f"{number:+.{_THOUSANDTHS}f}"


def _fitting(items: list[str], width: int) -> str:
    """As many of `items` as fit, and how many more there are."""
    for shown in range(len(items), -1, -1):
        more = f"{len(items) - shown} more" if shown < len(items) else ""
        line = ", ".join(filter(None, (*items[:shown], more))) + "."
        if len(line) <= width:
            return line
    return ""
