"""What an operator must know of a plan before saying yes; only what is true of it."""

from collections.abc import Iterable

from runpermit.models import MachineState, Plan, PlanKind, PlannedChannel
from runpermit.text import one_line

_NAMED = 3


def plan_warnings(plan: Plan) -> list[str]:
    """One sentence or two each, the worst first."""
    found = list(_endings(plan))
    if failing := [_condition(state) for state in plan.machine if not state.holds]:
        found.append(f"DOES NOT HOLD: {_and_more(failing)}.")
    channels = plan.channels
    if alarms := [_because(channel, channel.alarm) for channel in channels if channel.alarm]:
        found.append(f"ALARM: {_and_more(alarms)}.")
    if unread := [channel.channel for channel in channels if channel.live is None]:
        found.append(f"Reads nothing now: {names(unread)}.")
    if moved := [_because(channel, channel.moved_by) for channel in channels if channel.moved_by]:
        found.append(f"Something else may fight this: {_and_more(moved)}.")
    if fixed := [
        _because(channel, channel.why_not or "no reason is known")
        for channel in channels
        if not channel.restorable
    ]:
        found.append(f"Cannot be put back: {_and_more(fixed)}.")
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


def names(channels: list[str], shown: int = _NAMED) -> str:
    """The first of `channels`, and how many more."""
    return _and_more([one_line(channel, 60) for channel in channels], shown)


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
        yield f"The rehearsal did not come to its end: {problem}. What was declared is enforced."


def _condition(state: MachineState) -> str:
    condition = f"{state.channel} {state.op} {state.value}"
    return f"{one_line(condition, 80)} (reads {one_line(state.reads, 60)})"


def _because(channel: PlannedChannel, why: str) -> str:
    return f"{one_line(channel.channel, 60)} ({one_line(why, 60)})"


def _and_more(told: list[str], shown: int = _NAMED) -> str:
    more = len(told) - shown
    return f"{', '.join(told[:shown])} and {more} more" if more > 0 else ", ".join(told)
