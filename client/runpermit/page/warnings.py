"""What an operator must know of a plan before saying yes; only what is true of it."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from runpermit.models import MachineState, Plan, PlanKind, PlannedChannel
from runpermit.page.writes import SHOWN_WRITES
from runpermit.plans import groups
from runpermit.text import one_line, sentence

_NAMED = 3

_Item = TypeVar("_Item")


def plan_warnings(plan: Plan) -> list[str]:
    """One sentence or two each, the worst first."""
    found = list(_endings(plan))
    if failing := [state for state in plan.machine if not state.holds]:
        found.append(f"DOES NOT HOLD: {_some(failing, _condition)}.")
    channels = plan.channels
    if alarms := [channel for channel in channels if channel.alarm]:
        found.append(f"ALARM: {_some(alarms, lambda one: _because(one, one.alarm))}.")
    if unread := [channel.channel for channel in channels if channel.live is None]:
        found.append(f"Reads nothing now: {names(unread)}.")
    if clamped := [channel for channel in channels if channel.clamped]:
        told = _some(clamped, lambda one: _because(one, one.clamped))
        found.append(f"Not stored as it is written: {told}.")
    if moved := [channel for channel in channels if channel.moved_by]:
        told = _some(moved, lambda one: _because(one, one.moved_by))
        found.append(f"Something else may fight this: {told}.")
    if fixed := [channel for channel in channels if not channel.restorable]:
        told = _some(fixed, lambda one: _because(one, one.why_not or "no reason is known"))
        found.append(f"Cannot be put back: {told}.")
    if plan.unknown:
        found.append(
            f"Flat in the rehearsal: {names(plan.unknown)}. It was read after a write that may "
            "move it, nothing models that, and so it read as before."
        )
    if plan.upstream:
        found.append(
            f"Rehearsed on the model {one_line(plan.upstream, 60)}: what was read after a write is "
            f"the model's answer, not the machine's.{_from_the_model(plan)}"
        )
    return found + list(_not_shown(plan))


def _from_the_model(plan: Plan) -> str:
    """That written values may come from what the model answered, where the plan can tell.

    It answers for what a write moves; what is written in one write alone was known before it.
    """
    followers = {name for channel in plan.channels for name in channel.follows}
    answered = [name for name in plan.reads if name in followers]
    if not answered or (plan.count <= 1 and plan.kind is not PlanKind.DECLARED):
        return ""
    return (
        f" Written values may depend on what it answered ({names(answered)}), and differ on the "
        "machine."
    )


def names(channels: Sequence[str], shown: int = _NAMED) -> str:
    """The first of `channels`, and how many more."""
    return _some(channels, lambda channel: one_line(channel, 60), shown)


def _not_shown(plan: Plan) -> Iterable[str]:
    """What an operator would have to look for elsewhere."""
    if hidden := sum(group.count for group in groups(plan)[SHOWN_WRITES:]):
        yield (
            f"{hidden} of {plan.count} writes are not shown: read them in the notebook before you "
            "say yes."
        )
    if plan.left_out:
        yield f"{plan.left_out} more writes are told by their channels' extremes alone."


def _endings(plan: Plan) -> Iterable[str]:
    """How the rehearsal ended, where that was not its end."""
    problem = sentence(plan.problem, 160).rstrip(".")
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
    return f"{one_line(channel.channel, 60)} ({sentence(why, 160)})"


def _some(items: Sequence[_Item], words: Callable[[_Item], str], shown: int = _NAMED) -> str:
    told = ", ".join(words(item) for item in items[:shown])
    more = len(items) - shown
    return f"{told} and {more} more" if more > 0 else told
