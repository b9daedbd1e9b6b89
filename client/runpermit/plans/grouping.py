"""A plan in few lines: ramps as one, and all of it in a headline."""

from dataclasses import dataclass
from typing import Any

from runpermit.models.plan import Plan


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
    """The plan's writes as people tell them, in the order in which they begin."""
    return [
        Group(w.channel, 1, w.old, w.new, None, w.after, 0.0, (w.new,), w.state)
        for w in plan.writes
    ]


def headline(plan: Plan) -> str:
    """The plan on one line of at most 200 characters."""
    return f"{len(plan.channels)} setpoints, {plan.count} writes. Plan {plan.kind.upper()}"
