"""Whether a plan still stands after another rehearsal."""

from collections.abc import Iterable
from typing import Any

from runpermit.models.plan import Declaration, MachineState, Plan, PlannedChannel, PlannedWrite
from runpermit.plans.values import numbers_of
from runpermit.plans.words import name_text, number_text, value_text
from runpermit.text import one_line

_MOST = 50
_TEXT_WIDTH = 200


def changes(before: Plan, now: Plan) -> list[str]:
    """What is no longer as in `before`, one sentence each; empty where it still stands.

    Numbers count as changed beyond the smaller of both tolerances. What a declared channel was set
    to in a rehearsal is no part of its plan.
    """
    found = [
        *_whole(before, now),
        *_machine(before.machine, now.machine),
        *_declarations(before.declared, now.declared),
        *_channels(before, now),
        *_exact_order(before, now),
    ]
    more = len(found) - _MOST
    return [*found[:_MOST], f"{more} more changes"] if more > 0 else found


def _whole(before: Plan, now: Plan) -> Iterable[str]:
    if before.kind is not now.kind:
        why = f": {one_line(now.problem, _TEXT_WIDTH)}" if now.problem else ""
        yield f"The plan is now {now.kind.upper()}, was {before.kind.upper()}{why}"
    if before.upstream != now.upstream:
        yield (
            f"It was rehearsed with {_model(now.upstream)} now, and with "
            f"{_model(before.upstream)} then"
        )


def _model(upstream: str) -> str:
    return f"the model {one_line(upstream, _TEXT_WIDTH)}" if upstream else "the machine alone"


def _machine(before: list[MachineState], now: list[MachineState]) -> Iterable[str]:
    then = {_condition(state): state for state in before}
    today = {_condition(state): state for state in now}
    for condition in then | today:
        old, new = then.get(condition), today.get(condition)
        if new is None:
            yield f"The condition {condition} is asked for no more"
        elif old is None:
            yield f"The condition {condition} is new, and {_holds(new)}"
        elif old.holds is not new.holds:
            yield f"The condition {condition} {_holds(new)} now, and {_holds(old)} then"


def _condition(state: MachineState) -> str:
    return f"{name_text(state.channel)} {one_line(state.op, 2)} {value_text(state.value)}"


def _holds(state: MachineState) -> str:
    return f"{'holds' if state.holds else 'does not hold'} ({one_line(state.reads, _TEXT_WIDTH)})"


def _declarations(before: list[Declaration], now: list[Declaration]) -> Iterable[str]:
    gone = [declaration for declaration in before if declaration not in now]
    new = [declaration for declaration in now if declaration not in before]
    yield from (f"{_declared(declaration)} is declared now" for declaration in new)
    yield from (f"{_declared(declaration)} was declared then" for declaration in gone)


def _declared(declaration: Declaration) -> str:
    low, high = number_text(declaration.low), number_text(declaration.high)
    name = name_text(declaration.channel)
    return f"{name} from {low} to {high}, at most {declaration.max_writes} writes,"


def _channels(before: Plan, now: Plan) -> Iterable[str]:
    then = {channel.channel: channel for channel in before.channels}
    today = {channel.channel: channel for channel in now.channels}
    ranges = {declaration.channel for declaration in (*before.declared, *now.declared)}
    yield from (f"{name_text(name)} is in the plan now" for name in today if name not in then)
    yield from (f"{name_text(name)} was in the plan" for name in then if name not in today)
    # What is declared may come in any.
    stayed = (then.keys() & today.keys()) - ranges
    order_now = [name for name in today if name in stayed]
    if order_now != [name for name in then if name in stayed]:
        order = ", ".join(name_text(name) for name in order_now)
        yield f"The channels come in another order: {one_line(order, _TEXT_WIDTH)}"
    for name, channel in then.items():
        if name in today:
            yield from _facts(channel, today[name])
            if name not in ranges:
                yield from _values(channel, today[name], before, now)


def _facts(then: PlannedChannel, now: PlannedChannel) -> Iterable[str]:
    name = name_text(now.channel)
    if not _alike(then.live, now.live, then, now):
        yield (
            f"{name} now reads {value_text(now.live, now.units, now.state)}, "
            f"was {value_text(then.live, then.units, then.state)}"
        )
    elif then.state != now.state:
        yield f"{name} reads {_renamed(now.live, then.state, now.state)}"
    if then.units != now.units:
        yield f"{name} is in {_words(now.units)} now, was in {_words(then.units)}"
    if then.alarm != now.alarm:
        yield f"{name} has the alarm {_words(now.alarm)} now, was {_words(then.alarm)}"
    if then.moved_by != now.moved_by:
        yield f"What else moves {name}: now {_words(now.moved_by)}, was {_words(then.moved_by)}"
    if then.clamped != now.clamped:
        yield f"Beyond drive limits {name}: now {_words(now.clamped)}, was {_words(then.clamped)}"
    if then.exact is not now.exact:
        yield f"{name} must come exactly as planned {'now' if now.exact else 'no more'}"
    if then.restorable is not now.restorable:
        yield f"{name} can {'now' if now.restorable else 'no longer'} be put back"


def _renamed(value: object, then: str, now: str) -> str:
    """A number that names another state: people approve its name."""
    return f"{value_text(value, '', now)}, which was {value_text(value, '', then)}"


def _words(text: str) -> str:
    return one_line(text, _TEXT_WIDTH) or "none"


def _values(then: PlannedChannel, now: PlannedChannel, before: Plan, after: Plan) -> Iterable[str]:
    name = name_text(now.channel)
    if then.writes != now.writes:
        yield f"{name} is written {now.writes} times now, was {then.writes}"
        return
    # Of those that are left out of either, the extremes tell.
    pairs = zip(_written(before, now.channel), _written(after, now.channel), strict=False)
    for number, (old, new) in enumerate(pairs, 1):
        if not _alike(old.new, new.new, then, now):
            yield (
                f"{name}, write {number}: now {value_text(new.new, now.units, new.state)}, "
                f"was {value_text(old.new, then.units, old.state)}"
            )
            return
        if old.state != new.state:
            yield f"{name}, write {number}: {_renamed(new.new, old.state, new.state)}"
            return
    for what, old_end, new_end in (
        ("lowest", then.low, now.low),
        ("highest", then.high, now.high),
        ("last", then.last, now.last),
    ):
        if not _alike(old_end, new_end, then, now):
            yield (
                f"{name}: its {what} value is now {value_text(new_end, now.units)}, "
                f"was {value_text(old_end, now.units)}"
            )


def _exact_order(before: Plan, now: Plan) -> Iterable[str]:
    then, today = _exact(before), _exact(now)
    if sorted(then) == sorted(today) and then != today:
        order = ", ".join(name_text(channel) for channel in today)
        yield f"What must come exactly comes in another order: {one_line(order, _TEXT_WIDTH)}"


def _exact(plan: Plan) -> list[str]:
    exact = {channel.channel for channel in plan.channels if channel.exact}
    return [write.channel for write in plan.writes if write.channel in exact]


def _written(plan: Plan, channel: str) -> list[PlannedWrite]:
    return [write for write in plan.writes if write.channel == channel]


def _alike(old: Any, new: Any, then: PlannedChannel, now: PlannedChannel) -> bool:  # noqa: ANN401
    """Whether two planned values are the same plan: within both tolerances, or else equal."""
    numbers, others = numbers_of(old), numbers_of(new)
    if then.exact or now.exact or numbers is None or others is None or _differ(old, new):
        return bool(old == new)
    tolerance = min(then.tolerance or 0.0, now.tolerance or 0.0)
    return all(abs(one - other) <= tolerance for one, other in zip(numbers, others, strict=True))


def _differ(old: Any, new: Any) -> bool:  # noqa: ANN401  (JSON)
    """Whether one is an array and the other none, or a shorter one."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) != len(new)
    return isinstance(old, list) is not isinstance(new, list)
