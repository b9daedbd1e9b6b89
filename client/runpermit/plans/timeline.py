"""When a plan's writes come, if the program waits in earnest and the gate keeps its intervals."""

from collections import Counter
from collections.abc import Mapping, Sequence

from runpermit.models.plan import PlannedChannel, PlannedWrite
from runpermit.plans.values import is_number

# Nobody waits for longer; a kernel can claim anything.
_MOST_SECONDS = 1e9


def timeline(
    writes: Sequence[PlannedWrite],
    left_out: int,
    channels: Sequence[PlannedChannel],
    waits: Sequence[object] | None,
) -> tuple[list[float], float]:
    """When each of `writes` comes, and when the last of all; in seconds since the first.

    What comes before its channel's `min_interval` is over waits for it, and so does all that
    follows. Of writes that are left out only the least time that they take is known.
    """
    believed = _believed(waits, len(writes) + left_out)
    intervals = {channel.channel: channel.min_interval for channel in channels}
    times: list[float] = []
    last: dict[str, float] = {}
    arrived = 0.0
    for write, wait in zip(writes, believed, strict=False):
        arrives = write.after + wait
        time = times[-1] + max(arrives - arrived, 0.0) if times else 0.0
        arrived = arrives
        if write.channel in last:
            time = max(time, last[write.channel] + intervals.get(write.channel, 0.0))
        last[write.channel] = time
        times.append(time)
    told = times[-1] if times else 0.0
    rest = _left_out_seconds(writes, channels, intervals) if left_out else 0.0
    waited = believed[-1] - believed[len(times) - 1] if times else 0.0
    return times, told + max(rest, waited)


def _believed(waits: Sequence[object] | None, count: int) -> list[float]:
    """`waits`, where they can be what they should; else no wait at all."""
    none = [0.0] * count
    if not isinstance(waits, list | tuple) or len(waits) != count:
        return none
    numbers = [float(wait) for wait in waits if is_number(wait) and 0 <= wait <= _MOST_SECONDS]
    return numbers if len(numbers) == count and numbers == sorted(numbers) else none


def _left_out_seconds(
    writes: Sequence[PlannedWrite],
    channels: Sequence[PlannedChannel],
    intervals: Mapping[str, float],
) -> float:
    told = Counter(write.channel for write in writes)
    rest = {channel.channel: channel.writes - told[channel.channel] for channel in channels}
    return max((count * intervals[name] for name, count in rest.items()), default=0.0)
