"""The plan that a rehearsal makes."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from runpermit.models.plan import (
    Declaration,
    MachineState,
    Plan,
    PlanKind,
    PlannedChannel,
    PlannedWrite,
)
from runpermit.text import one_line

# Nobody waits for longer; a kernel can claim anything.
_MOST_SECONDS = 1e9
_NAME_WIDTH = 80


def build_plan(
    *,
    writes: Sequence[PlannedWrite],
    left_out: int,
    channels: Sequence[PlannedChannel],
    reads: Sequence[str],
    unknown: Sequence[str],
    machine: Sequence[MachineState],
    upstream: str,
    declared: Sequence[Declaration],
    problem: str,
    waits: Sequence[object] | None,
    at: datetime | None,
) -> Plan:
    """The plan of what a rehearsal recorded at `at`, and of what the code declared.

    `channels` tells of the declared ones as well, whether they were rehearsed or not. `problem`
    says why the rehearsal did not come to its end, empty where it did; where there was a problem,
    and nothing was written or declared, the caller raises it and asks for nothing (the plan is
    INCOMPLETE all the same). `waits` comes from the kernel: by how many seconds its waits had been
    shortened before each write, one number for each of all writes and never a smaller one than
    before; what is anything else counts as no shortened wait.
    """
    found = problem or _not_enforceable(writes, channels, declared)
    times, seconds = _timeline(writes, left_out, channels, waits)
    return Plan(
        kind=_kind(bool(writes) or left_out > 0, bool(declared), problem, found),
        writes=[
            write.model_copy(update={"after": time})
            for write, time in zip(writes, times, strict=True)
        ],
        left_out=left_out,
        channels=list(channels),
        declared=list(declared),
        reads=list(reads),
        unknown=list(unknown),
        machine=list(machine),
        seconds=seconds,
        upstream=upstream,
        problem=found,
        rehearsed_at=at,
    )


def _kind(writes: bool, declared: bool, problem: str, found: str) -> PlanKind:  # noqa: FBT001
    if found and not (declared and found == problem):
        return PlanKind.INCOMPLETE
    if declared:
        return PlanKind.DECLARED
    return PlanKind.COMPLETE if writes else PlanKind.READS_ONLY


def _not_enforceable(
    writes: Sequence[PlannedWrite],
    channels: Sequence[PlannedChannel],
    declared: Sequence[Declaration],
) -> str:
    return ""


def _timeline(
    writes: Sequence[PlannedWrite],
    left_out: int,
    channels: Sequence[PlannedChannel],
    waits: Sequence[object] | None,
) -> tuple[list[float], float]:
    times = [write.after for write in writes]
    return times, (times[-1] if times else 0.0)
