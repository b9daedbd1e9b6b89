"""The writes of a plan as lines for a panel: what is declared, then write by write."""

from runpermit.models import Declaration, MachineState, Plan, PlannedChannel
from runpermit.page.layout import WIDTH, spread, wrapped
from runpermit.page.values import delta, number_text, span_text, unit_text, value_text
from runpermit.text import one_line

SHOWN_WRITES = 30


def write_lines(plan: Plan, shown: int = SHOWN_WRITES) -> list[str]:
    """What the plan would write, as plain text of at most 54 characters a line.

    The declared ranges first; then each write, or ramp of writes, of which `shown` are told. What
    is known of a channel stands where it comes first.
    """
    known = {channel.channel: channel for channel in plan.channels}
    told: set[str] = set()
    lines: list[str] = []
    for declared in plan.declared:
        lines += _declared(declared, known.get(declared.channel))
        told.add(declared.channel)
    if plan.declared and plan.writes:
        lines.append("In the rehearsal:")
    for group in plan.writes[:shown]:
        channel = known.get(group.channel)
        state = channel.state if channel and channel.live == group.old else ""
        units = channel.units if channel else ""
        change = (
            f"{value_text(group.old, state=state)} → {value_text(group.new, units, group.state)}"
        )
        lines += spread(
            one_line(group.channel, WIDTH), [change], _delta(group.old, group.new, units)
        )
        if group.channel not in told:
            told.add(group.channel)
            lines += _known(channel, group.old, group.new)
    if (more := plan.count - shown) > 0:
        lines.append(f"… and {more} more, see the notebook")
    return lines


def machine_lines(plan: Plan) -> list[str]:
    """The conditions that were looked at, and whether they held, likewise as plain text."""
    return [line for state in plan.machine for line in _condition(state)]


def _declared(declared: Declaration, channel: PlannedChannel | None) -> list[str]:
    units = unit_text(channel.units) if channel else ""
    span = f"{number_text(declared.low)} .. {number_text(declared.high)} {units}".strip()
    times = "1 write" if declared.max_writes == 1 else f"{declared.max_writes} writes"
    lines = spread(one_line(declared.channel, WIDTH), [f"{span}, at most {times}"])
    now = f"now {value_text(channel.live, channel.units)}" if channel else ""
    return lines + wrapped([now]) + _known(channel, None, None)


def _delta(old: object, new: object, units: str) -> str:
    change = delta(old, new)
    return "" if change is None else f"Δ {change:+.6g} {unit_text(units)}".strip()


def _known(channel: PlannedChannel | None, old: object, new: object) -> list[str]:
    """What gate and limits database know of a channel, and what to mind."""
    if channel is None:
        return wrapped(["! nothing is known of it"])
    facts = [
        one_line(channel.description, 120),
        _share(channel, delta(old, new)),
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
    return f"step {channel.largest_step:.6g} of {allowed}"


def _marks(channel: PlannedChannel) -> list[str]:
    """What is unusual about a channel, the worst first."""
    marks = []
    if channel.alarm:
        marks.append(f"alarm: {channel.alarm}")
    if channel.moved_by:
        marks.append(f"moved by something else: {channel.moved_by}")
    if not channel.restorable:
        marks.append(f"can't be put back: {channel.why_not or 'no reason is known'}")
    return marks


def _condition(state: MachineState) -> list[str]:
    holds = "holds" if state.holds else "DOES NOT HOLD"
    condition = f"{state.channel} {state.op} {value_text(state.value)}"
    return spread(condition, [f"reads {state.reads}"], holds)
