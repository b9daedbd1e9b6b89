"""What an operator must know of a plan before saying yes; only what is true of it."""

from collections.abc import Iterable

from runpermit.models import Plan, PlanKind, PlannedChannel
from runpermit.text import one_line

_NAMED = 3


def plan_warnings(plan: Plan) -> list[str]:
    """One sentence or two each, the worst first."""
    found = list(_endings(plan))
    found += [
        f"{one_line(state.channel, 60)} {state.op} {one_line(str(state.value), 20)} DOES NOT HOLD: "
        f"it reads {one_line(state.reads, 60)}."
        for state in plan.machine
        if not state.holds
    ]
    channels = plan.channels
    found += [
        f"ALARM: {one_line(channel.channel, 60)} is in {one_line(channel.alarm, 60)}."
        for channel in channels
        if channel.alarm
    ]
    if unread := [channel.channel for channel in channels if channel.live is None]:
        found.append(f"Reads nothing now: {names(unread)}.")
    found += [
        f"Moved by something else: {one_line(channel.channel, 60)}. "
        f"{one_line(channel.moved_by, 120)}. It may fight this."
        for channel in channels
        if channel.moved_by
    ]
    if fixed := [channel for channel in channels if not channel.restorable]:
        found.append(f"Cannot be put back: {_reasons(fixed)}.")
    if plan.unknown:
        found.append(
            f"Flat in the rehearsal: {names(plan.unknown)}. It was read after a write that may "
            "move it, nothing models that, and so it read as before."
        )
    if plan.upstream:
        found.append(
            f"Rehearsed on the model {one_line(plan.upstream, 60)}: what was read after a write is "
            "the model's answer, not the machine's."
        )
    if plan.left_out:
        found.append(f"{plan.left_out} more writes are told by their channels' extremes alone.")
    return found


def names(channels: list[str]) -> str:
    """The first of `channels`, and how many more."""
    return _and_more([one_line(channel, 60) for channel in channels[:_NAMED]], len(channels))


def _endings(plan: Plan) -> Iterable[str]:
    """How the rehearsal ended, where that was not its end."""
    problem = one_line(plan.problem, 160).rstrip(".")
    if plan.kind is PlanKind.INCOMPLETE:
        yield (
            f"INCOMPLETE: {problem or 'the rehearsal did not end'}. What would follow is not "
            "known, so it can't be approved. Send it back with revise: declare your envelope with "
            "plan(channel, low, high, max_writes)."
        )
    elif problem:
        yield f"The rehearsal did not come to its end: {problem}."


def _reasons(channels: list[PlannedChannel]) -> str:
    told = [
        f"{one_line(channel.channel, 60)} ({one_line(channel.why_not or 'no reason known', 60)})"
        for channel in channels[:_NAMED]
    ]
    return _and_more(told, len(channels))


def _and_more(told: list[str], count: int) -> str:
    more = count - len(told)
    return f"{', '.join(told)} and {more} more" if more > 0 else ", ".join(told)
