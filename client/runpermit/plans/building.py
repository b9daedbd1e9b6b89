"""The plan that a rehearsal makes."""

from collections import defaultdict
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
from runpermit.plans.timeline import timeline
from runpermit.plans.values import is_number
from runpermit.text import one_line

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
    unenforceable = _unenforceable(writes, channels, declared)
    times, seconds = timeline(writes, left_out, channels, waits)
    return Plan(
        kind=_kind(len(writes) + left_out, declared, problem, unenforceable),
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
        problem=" ".join(filter(None, (problem, unenforceable))),
        rehearsed_at=at,
    )


def _kind(
    count: int, declared: Sequence[Declaration], problem: str, unenforceable: str
) -> PlanKind:
    if unenforceable or (problem and not declared):
        return PlanKind.INCOMPLETE
    if declared:
        return PlanKind.DECLARED
    return PlanKind.COMPLETE if count else PlanKind.READS_ONLY


def _unenforceable(
    writes: Sequence[PlannedWrite],
    channels: Sequence[PlannedChannel],
    declared: Sequence[Declaration],
) -> str:
    """Why the gate could not hold a program to this plan, empty where it can."""
    facts = {channel.channel: channel for channel in channels}
    for declaration in declared:
        known = facts.get(declaration.channel)
        name = one_line(declaration.channel, _NAME_WIDTH)
        if known is None:
            return (
                f"{name} is declared, and the gate knows no record of that name: declare the "
                "channel that is written, by its record's own name."
            )
        if known.exact:
            return (
                f"{name} is declared as a range, and takes only what is planned exactly, as "
                "states, texts and fields do: leave it out of plan(), and write it without "
                "computing it from what the machine answers."
            )
    written = defaultdict(list)
    for write in writes:
        written[write.channel].append(write.new)
    ranges = {declaration.channel for declaration in declared}
    for channel in channels:
        name = one_line(channel.channel, _NAME_WIDTH)
        if channel.live is None:
            return (
                f"{name} can't be read, so that nobody could tell before its first write whether "
                "it is still as planned: rehearse once it can be read."
            )
        told = written[channel.channel]
        by_range = channel.channel in ranges or _is_told_by_range(channel, told)
        if channel.writes > len(told) and not by_range:
            return (
                f"{name} is written {channel.writes} times with values that must be told one by "
                f"one, and only {len(told)} of them are told: write less in one program."
            )
    return ""


def _is_told_by_range(channel: PlannedChannel, told: Sequence[object]) -> bool:
    ends = (channel.low, channel.high, channel.last)
    return not channel.exact and all(map(is_number, (*ends, *told)))
