"""The writes of a plan as lines for a panel: what is declared, then write by write."""

from runpermit.models import Declaration, MachineState, Plan, PlannedChannel
from runpermit.page.layout import spread, wrapped
from runpermit.page.values import delta, number_text, span_text, unit_text, value_text
from runpermit.plans import Group, groups
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
            lines += _known(channel, delta(group.first, group.last))
    left = plan.left_out + sum(group.count for group in all_groups[shown:])
    if left:
        lines.append(f"… and {_writes(left)} more, see the notebook")
    return lines


def machine_lines(plan: Plan) -> list[str]:
    """The conditions that were looked at, and whether they held, likewise as plain text."""
    return [line for state in plan.machine for line in _condition(state)]


def _declared(declared: Declaration, channel: PlannedChannel | None) -> list[str]:
    units = unit_text(channel.units) if channel else ""
    span = f"{number_text(declared.low)} .. {number_text(declared.high)} {units}".strip()
    lines = spread(declared.channel, [f"{span}, at most {_writes(declared.max_writes)}"])
    now = f"now {value_text(channel.live, channel.units, channel.state)}" if channel else ""
    return lines + wrapped([now]) + _known(channel, None)


def _group(group: Group, channel: PlannedChannel | None) -> list[str]:
    """A write, or many to one channel: from, to, how, and the change."""
    units = channel.units if channel else ""
    before = channel.state if channel and channel.live == group.first else ""
    old, new = value_text(group.first, state=before), value_text(group.last, units, group.state)
    change = delta(group.first, group.last)
    right = "" if change is None else f"Δ {change:+.6g} {unit_text(units)}".strip()
    return spread(group.channel, [f"{old} → {new}", *_course(group, units)], right)


def _course(group: Group, units: str) -> list[str]:
    """How many writes lead there, and how long they take."""
    if group.count == 1:
        return []
    took = f"in {group.seconds:.3g} s"
    if group.step is not None:
        return [f"{group.count} × {value_text(abs(group.step), units)} {took}"]
    return [f"{_writes(group.count)}: {value_text(list(group.values), units)} {took}"]


def _writes(count: int) -> str:
    return "1 write" if count == 1 else f"{count} writes"


def _known(channel: PlannedChannel | None, change: float | None) -> list[str]:
    """What gate and limits database know of a channel, and what to mind."""
    if channel is None:
        return wrapped(["! nothing is known of it"])
    facts = [
        one_line(channel.description, 120),
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
    if channel.moved_by:
        marks.append(f"moved by something else: {channel.moved_by}")
    if not channel.restorable:
        marks.append(f"can't be put back: {channel.why_not or 'no reason is known'}")
    return marks


def _condition(state: MachineState) -> list[str]:
    holds = "holds" if state.holds else "DOES NOT HOLD"
    condition = f"{state.channel} {state.op} {value_text(state.value)}"
    return spread(condition, [f"reads {state.reads}"], holds)
