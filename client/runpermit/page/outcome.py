"""What became of the machine, channel by channel: written, left changed, put back."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from runpermit.models import (
    FollowOutcome,
    LeftChange,
    Plan,
    RestoredChannel,
    VerifiedChannel,
    WriteRecord,
    WriteReport,
)
from runpermit.models.restore import NOT_PUT_BACK
from runpermit.page.layout import cut, spread, wrapped
from runpermit.page.progress import Machine
from runpermit.page.values import delta
from runpermit.page.writes import write_lines
from runpermit.plans.values import is_number
from runpermit.plans.words import counted, unit_text, value_text
from runpermit.text import one_line

_DEVICE = {
    FollowOutcome.FOLLOWED: "device followed",
    FollowOutcome.UNCHECKED: "device not checked: no readback in its limits",
    FollowOutcome.SUPERSEDED: "device not waited for: it was set again",
}


def planned(words: str, plan: Plan | None) -> Machine:
    """`words`, and what the plan writes."""
    return Machine(words, tuple(write_lines(plan)) if plan is not None else ())


def succeeded(
    report: WriteReport,
    verified: Sequence[VerifiedChannel],
    left: Sequence[LeftChange],
    plan: Plan | None,
    read_at: datetime | None = None,
) -> Machine:
    """What was written, and whether setpoints and devices are where they should be.

    `left` is what the journal tells, for where that could not be verified, and was read at
    `read_at`.
    """
    written = f"Written: {counted(report.forwarded, 'value')}"
    if not verified:
        return Machine(
            f"{written}. NOT VERIFIED whether setpoints and devices are where they should be: look "
            "at them.",
            tuple(left_lines(left, units_of(plan), read_at)),
        )
    odd = sum(1 for channel in verified if _checked(channel, "")[1])
    look = f"LOOK AT {counted(odd, 'channel')}, marked with !." if odd else "All as it should be."
    return Machine(
        f"{written} to {counted(len(verified), 'channel')}. {look}",
        tuple(written_lines(verified, report.writes, plan)),
    )


def ended(
    left: Sequence[LeftChange],
    restored: Sequence[RestoredChannel],
    plan: Plan | None,
    read_at: datetime | None = None,
) -> Machine:
    """What was put back, and what stays changed, which was read at `read_at`."""
    units, words = units_of(plan), []
    lines = restored_lines(restored, units)
    if restored:
        back = sum(1 for channel in restored if channel.outcome.is_back)
        words.append(f"Put back: {back} of {counted(len(restored), 'channel')}.")
    if left:
        words.append(f"Left changed: {counted(len(left), 'channel')}.")
        tried = {channel.channel for channel in restored}
        rest = [change for change in left if change.channel not in tried]
        lines += left_lines(rest, units, read_at)
    return Machine(" ".join(words), tuple(lines))


def units_of(plan: Plan | None) -> dict[str, str]:
    """The unit of each channel of the plan that has one."""
    channels = plan.channels if plan is not None else []
    return {channel.channel: channel.units for channel in channels if channel.units}


def written_lines(
    verified: Iterable[VerifiedChannel], writes: Sequence[WriteRecord], plan: Plan | None
) -> list[str]:
    """Each channel: what it read before, what it was set to, and whether its device followed.

    `writes` are the first of all.
    """
    units = units_of(plan)
    exact = {channel.channel for channel in plan.channels if channel.exact} if plan else set()
    before = {channel.channel: channel.live for channel in plan.channels} if plan else {}
    before |= {write.channel: write.old for write in reversed(writes)}
    lines: list[str] = []
    for channel in verified:
        old, unit = before.get(channel.channel), units.get(channel.channel, "")
        change = None if channel.channel in exact else delta(old, channel.written)
        right = "" if change is None else f"Δ {change:+.6g} {unit_text(unit)}".strip()
        way = f"{value_text(old)} → {value_text(channel.written, unit)}"
        lines += spread(channel.channel, [way], right)
        fine, odd = _checked(channel, unit)
        lines += wrapped(fine) + [line for words in odd for line in wrapped([f"! {words}"])]
    return lines


def left_lines(
    changes: Iterable[LeftChange], units: Mapping[str, str], read_at: datetime | None
) -> list[str]:
    """Each channel: what it read before, was set to and read at `read_at`, and what is in the way.

    A page stays for hours as it is, and does not know what the machine reads meanwhile.
    """
    at = f" at {read_at:%H:%M:%S} UTC" if read_at else " when it ended"
    return [line for change in changes for line in _left(change, units.get(change.channel, ""), at)]


def restored_lines(channels: Iterable[RestoredChannel], units: Mapping[str, str]) -> list[str]:
    """Each channel: what it reads after the restore, what became of it, and why not."""
    lines: list[str] = []
    for channel in channels:
        unit = units.get(channel.channel, "")
        reads = f"reads {value_text(channel.reads, unit)}"
        became = channel.outcome.value if channel.outcome.is_back else NOT_PUT_BACK
        lines += spread(channel.channel, [reads], became)
        if channel.before != channel.reads:
            lines += wrapped([f"before {value_text(channel.before, unit)}"])
        lines += wrapped([channel.reason])
    return lines


def _checked(channel: VerifiedChannel, unit: str) -> tuple[list[str], list[str]]:
    """What of setpoint and device is as it should be, and what is not."""
    fine, odd = [], []
    if channel.accepted:
        fine.append("setpoint accepted")
    else:
        odd.append(f"setpoint DIFFERS: reads {value_text(channel.reads, unit)}")
    device = one_line(channel.device or "its device", 80)
    match channel.outcome:
        case FollowOutcome.NOT_FOLLOWED:
            reads, expected = value_text(channel.device_reads), value_text(channel.expected)
            odd.append(f"device NOT followed: {device} reads {reads}, expected {expected}")
        case FollowOutcome.UNREADABLE:
            odd.append(f"device UNREADABLE: {device}")
        case _:
            fine.append(_DEVICE[channel.outcome])
    if channel.alarm:
        odd.append(f"alarm: {channel.alarm}")
    if channel.on_the_way:
        late = {FollowOutcome.NOT_FOLLOWED, FollowOutcome.UNREADABLE} & channel.earlier.keys()
        (odd if late else fine).append(channel.on_the_way)
    return fine, odd


def _left(change: LeftChange, unit: str, at: str) -> list[str]:
    """A channel: its name, its three values, and what is in the way."""
    values = [
        f"before {value_text(change.before, unit)}",
        f"written {value_text(change.written, unit)}",
        f"could not be read{at}"
        if change.reads is None
        else f"read {value_text(change.reads, unit)}{at}",
    ]
    lines = [cut(change.channel), *wrapped(values)]
    if _reads_other(change):
        lines += wrapped(["! reads something else than was written"])
    if change.uncertain:
        lines += wrapped(["! uncertain whether the last write arrived"])
    if not change.restorable:
        why_not = one_line(change.why_not, 200) or "no reason is known"
        lines += wrapped([f"! can't be put back: {why_not}"])
    return lines


def _reads_other(change: LeftChange) -> bool:
    """Whether somebody else may have set it since; records round what they are sent."""
    written, reads = change.written, change.reads
    if written is None or reads is None:
        return False
    if is_number(written) and is_number(reads):
        return not math.isclose(written, reads, rel_tol=1e-6, abs_tol=1e-9)
    return bool(written != reads)
