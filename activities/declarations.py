"""What a program declared by `plan(...)`, and what is known of these channels.

Declarations stand under the channels' own names.

The kernel's word is nobody's proof: it is shown, and what was shown is what the gate enforces.
"""

from collections.abc import Sequence

from activities.house import House
from runpermit.limits import LimitsValidator
from runpermit.models import Declaration, PlannedChannel
from runpermit.plans import plan_tolerance


async def known(
    house: House, declared: Sequence[Declaration], rehearsed: Sequence[PlannedChannel]
) -> tuple[list[Declaration], list[PlannedChannel]]:
    """The declarations, and all channels of the plan: `rehearsed`, then those only declared.

    Raises ChannelLimitsViolationError for a range that leaves the limits, CodeAnalysisError for a
    channel that can't be read, ServiceUnavailableError without a gate.
    """
    channels = {channel.channel: channel for channel in rehearsed}
    missing = [one.channel for one in declared if one.channel not in channels]
    described = await house.gate.describe(missing) if missing else []
    own_names = {name: channel.channel for name, channel in zip(missing, described, strict=True)}
    for channel in described:
        channels.setdefault(channel.channel, channel)
    renamed = [
        one.model_copy(update={"channel": own_names.get(one.channel, one.channel)})
        for one in declared
    ]
    validator = house.limits.validator
    for one in renamed:
        for end in (one.low, one.high):
            validator.static_check(one.channel, end)
        channels[one.channel] = _ranged(channels[one.channel], one, validator)
    return renamed, list(channels.values())


def _ranged(
    channel: PlannedChannel, declared: Declaration, validator: LimitsValidator
) -> PlannedChannel:
    """`channel` with the tolerance of its declared range, whatever was rehearsed of it."""
    live = channel.live
    ends: tuple[float | tuple[float, ...], ...] = (declared.low, declared.high)
    if isinstance(live, list):
        live = tuple(live)
        ends = tuple((end,) * len(live) for end in (declared.low, declared.high))
    elif not isinstance(live, int | float):
        return channel
    tolerance = plan_tolerance(validator.find(channel.channel), live, ends)
    return channel.model_copy(update={"tolerance": tolerance})
