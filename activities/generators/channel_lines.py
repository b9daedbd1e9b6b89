"""The channels of the limits database as lines of a prompt (pure)."""

import re
from collections.abc import Mapping

from runpermit.limits import ChannelLimitsConfig
from runpermit.text import one_line

MAX_CHANNELS = 100
_WORD = re.compile(r"[a-z0-9]{3,}")
_SAYS_NOTHING = {"the", "and", "for"}
_LINE_WIDTH = 400


def channel_lines(
    channels: Mapping[str, ChannelLimitsConfig], text: str, limit: int = MAX_CHANNELS
) -> list[str]:
    """One line per channel, at most `limit`, and one that tells how many were left out.

    First those whose name stands in `text`, then those that share most words with it, then the
    database's own order.
    """
    wanted = text.casefold()
    words = set(_WORD.findall(wanted)) - _SAYS_NOTHING

    def rank(item: tuple[str, ChannelLimitsConfig]) -> tuple[bool, int]:
        name, entry = item
        own = set(_WORD.findall(f"{name} {entry.description or ''}".casefold()))
        return name.casefold() not in wanted, -len(own & words)

    ranked = sorted(channels.items(), key=rank)
    lines = [one_line(_line(name, entry), _LINE_WIDTH) for name, entry in ranked[:limit]]
    if len(ranked) > limit:
        lines.append(f"({len(ranked) - limit} more channels are left out here.)")
    return lines


def _line(name: str, entry: ChannelLimitsConfig) -> str:
    parts = [name, entry.description or "no description"]
    if entry.units:
        parts.append(f"in {entry.units}")
    parts += _limits(entry) if entry.writable else ["read only"]
    return "; ".join(parts)


def _limits(entry: ChannelLimitsConfig) -> list[str]:
    limits = ["writable"]
    if entry.min_value is not None:
        limits.append(f"min {entry.min_value:g}")
    if entry.max_value is not None:
        limits.append(f"max {entry.max_value:g}")
    if entry.max_step is not None:
        limits.append(f"step at most {entry.max_step:g}")
    if entry.max_step_relative is not None:
        limits.append(f"step at most {entry.max_step_relative:g} of the present value")
    if entry.allowed_values is not None:
        limits.append(f"allowed {', '.join(map(repr, entry.allowed_values))}")
    if entry.max_length is not None:
        limits.append(f"at most {entry.max_length} elements or characters")
    if entry.min_interval:
        limits.append(f"{entry.min_interval:g} s or more between writes")
    if entry.readback is not None:
        settle = entry.readback.settle_time
        after = "" if settle is None else f" within {settle:g} s"
        limits.append(f"followed by {entry.readback.channel}{after}")
    if entry.done is not None:
        limits.append(f"done when {entry.done.channel} is {entry.done.value!r}")
    limits += [f"only while {rule.channel} {rule.op} {rule.value!r}" for rule in entry.conditions]
    return limits
