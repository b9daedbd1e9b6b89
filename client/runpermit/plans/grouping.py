"""A plan in few lines: each ramp as one."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from runpermit.models.plan import Plan, PlannedWrite
from runpermit.plans.values import is_number

# Fewer writes are no ramp, and join their neighbours.
_RAMP = 3
# By so much of itself a step may differ and be the same: records round what they are sent.
_ROUNDED = 1e-3


@dataclass(frozen=True)
class Group:
    """Writes to one channel that are told on one line.

    first: the value before them; last: that of the last one, and `state` its name. step: by how
    much each changes it, None where that is not the same for all, or no number; then `values` has
    all of them. start: seconds from the plan's first write; seconds: how long they take.
    """

    channel: str
    count: int
    first: Any
    last: Any
    step: float | None
    start: float
    seconds: float
    values: tuple[Any, ...] = ()
    state: str = ""


def groups(plan: Plan) -> list[Group]:
    """The plan's writes as people tell them, in the order in which they begin.

    Steps of one size are one group, also where those of other channels come in turn with them;
    what is written exactly stands alone, but for repetitions.
    """
    exact = {channel.channel for channel in plan.channels if channel.exact}
    runs = _joined(_runs(plan.writes, exact), plan.writes, exact)
    return [_group([plan.writes[at] for at in run], exact) for run in runs]


_Run = list[int]


def _runs(writes: list[PlannedWrite], exact: set[str]) -> list[_Run]:
    """Where writes of one channel stand that go in equal steps, or to one value."""
    runs: list[_Run] = []
    latest: dict[str, _Run] = {}
    for at, write in enumerate(writes):
        run = latest.get(write.channel)
        if run is not None and _goes_on(writes, run, at, exact):
            run.append(at)
        else:
            latest[write.channel] = [at]
            runs.append(latest[write.channel])
    return runs


def _goes_on(writes: list[PlannedWrite], run: _Run, at: int, exact: set[str]) -> bool:
    first, latest, write = writes[run[0]], writes[run[-1]], writes[at]
    between = [other.channel for other in writes[run[-1] + 1 : at]]
    if write.channel in exact or not is_number(write.new):
        return not between and bool(write.new == latest.new)
    # Each of the others at most once: they take turns.
    if len(set(between)) < len(between) or not exact.isdisjoint(between):
        return False
    return _is_ramp([first.old, first.new], [latest.new, write.new])


def _is_ramp(*stretches: list[Any]) -> bool:
    """Whether all that follow each other in `stretches` are equally far apart."""
    if not all(is_number(value) for values in stretches for value in values):
        return False
    steps = [new - old for values in stretches for old, new in pairwise(values)]
    allowed = _ROUNDED * abs(steps[0])
    digits = 4 * math.ulp(max(abs(value) for values in stretches for value in values))
    return all(abs(step - steps[0]) <= allowed + digits for step in steps)


def _joined(runs: list[_Run], writes: list[PlannedWrite], exact: set[str]) -> list[_Run]:
    """`runs`, with those that are no ramps and directly follow each other as one."""
    joined: list[_Run] = []
    open_end = False
    for run in runs:
        channel = writes[run[0]].channel
        is_loose = len(run) < _RAMP and channel not in exact and run[-1] - run[0] < len(run)
        if (
            open_end
            and is_loose
            and joined[-1][-1] + 1 == run[0]
            and writes[joined[-1][0]].channel == channel
        ):
            joined[-1] = joined[-1] + run
        else:
            joined.append(run)
        open_end = is_loose
    return joined


def _group(writes: list[PlannedWrite], exact: set[str]) -> Group:
    first, last = writes[0], writes[-1]
    news = [write.new for write in writes]
    step = None
    if first.channel not in exact and _is_ramp([first.old, *news]):
        step = (last.new - first.old) / len(writes)
    return Group(
        channel=first.channel,
        count=len(writes),
        first=first.old,
        last=last.new,
        step=step,
        start=first.after,
        seconds=last.after - first.after,
        values=() if step is not None else tuple(news),
        state=last.state,
    )
