"""A limits database beside the machine: what `runpermit limits check --live` finds (pure)."""

from collections.abc import Iterator, Mapping, Sequence

from runpermit.limits import ChannelLimitsConfig, LimitsDatabase
from runpermit.limits_report import ChannelReport
from runpermit.models import FoundChannel
from runpermit.plans.words import name_text, number_text, unit_text
from runpermit.text import one_line

_WIDTH = 100
_TOLD_STATES = 16

Found = Mapping[str, FoundChannel]


def channels_of(database: LimitsDatabase) -> list[str]:
    """Every channel that the database names, each once: its entries first."""
    named = [name for entry in database.channels.values() for _, name in _references(entry)]
    return list(dict.fromkeys([*database.channels, *named]))


def compare(
    reports: Sequence[ChannelReport], database: LimitsDatabase, found: Found
) -> list[ChannelReport]:
    """`reports` with what was found of each channel, and what does not fit to it."""
    return [
        report.model_copy(
            update={
                "facts": (*report.facts, ("at its IOC", _told(found[report.channel]))),
                "warnings": (
                    *report.warnings,
                    *_warnings(database.channels[report.channel], report.channel, found),
                ),
            }
        )
        for report in reports
    ]


def _told(channel: FoundChannel) -> str:
    if channel.problem:
        return "unknown"
    parts = [
        channel.record_type
        if channel.elements == 1
        else f"{channel.record_type} of {channel.elements}"
    ]
    if channel.states:
        parts.append("states " + ", ".join(channel.states[:_TOLD_STATES]))
    if channel.drive_low is not None and channel.drive_high is not None:
        span = f"{number_text(channel.drive_low)} to {number_text(channel.drive_high)}"
        parts.append(f"drive limits {span}")
    if channel.reads is not None:
        parts.append(f"reads {_value(channel.reads, channel)}")
    return one_line(", ".join(parts), _WIDTH)


def _value(reads: float, channel: FoundChannel) -> str:
    if channel.states:
        return channel.states[int(reads)] if reads < len(channel.states) else number_text(reads)
    return f"{number_text(reads)} {unit_text(channel.units)}".strip()


def _warnings(entry: ChannelLimitsConfig, name: str, found: Found) -> Iterator[str]:
    here = found[name]
    if here.problem:
        yield f"does not answer: {here.problem}"
    else:
        yield from _identity(entry, here)
        if entry.writable:
            yield from _kind(entry, here)
            yield from _range(entry, here)
    for what, channel in _references(entry):
        if found[channel].problem:
            yield f"{what} {name_text(channel)} does not answer: {found[channel].problem}"
    yield from _readback(entry, here, found)


def _identity(entry: ChannelLimitsConfig, here: FoundChannel) -> Iterator[str]:
    if here.channel != here.name:
        yield (
            f"is another name of {name_text(here.channel)}: writes are judged by that one, and "
            "this entry never counts"
        )
    if entry.units and here.units and entry.units != here.units:
        yield f"units {unit_text(entry.units)} here, {unit_text(here.units)} at its IOC"


def _kind(entry: ChannelLimitsConfig, here: FoundChannel) -> Iterator[str]:
    """Rules that no value of its record can fit."""
    if entry.bounds_numbers and here.holds_text:
        yield "numbers are bounded, and its record holds texts: no write passes"
    for value in entry.allowed_values or ():
        if here.states and isinstance(value, str) and value not in here.states:
            yield f"allowed_values holds {value!a}, which is none of its states"
        elif here.states and isinstance(value, int) and not 0 <= value < len(here.states):
            yield f"allowed_values holds {value}, and it has {len(here.states)} states"
        elif isinstance(value, str) and not (here.states or here.holds_text):
            yield f"allowed_values holds the text {value!a}, and its record holds numbers"


def _range(entry: ChannelLimitsConfig, here: FoundChannel) -> Iterator[str]:
    """Bounds beside the record's own drive limits, and beside what it reads."""
    low, high = entry.min_value, entry.max_value
    if here.drive_problem:
        yield here.drive_problem
    if high is not None and here.drive_high is not None and high > here.drive_high:
        yield f"max_value {high:g} is beyond its drive limits: {here.beyond_high}"
    if low is not None and here.drive_low is not None and low < here.drive_low:
        yield f"min_value {low:g} is beyond its drive limits: {here.beyond_low}"
    if here.reads is None:
        return
    if high is not None and here.reads > high:
        yield f"reads {number_text(here.reads)}, above max_value {high:g}"
    if low is not None and here.reads < low:
        yield f"reads {number_text(here.reads)}, below min_value {low:g}"


def _readback(entry: ChannelLimitsConfig, here: FoundChannel, found: Found) -> Iterator[str]:
    if entry.readback is None or found[entry.readback.channel].problem:
        return
    readback = entry.readback
    there = found[readback.channel]
    name = name_text(readback.channel)
    if there.holds_text:
        yield f"readback {name} holds texts: it follows nothing"
    if here.reads is None or there.reads is None or readback.tolerance is None:
        return
    expected = here.reads * readback.scale + readback.offset
    if abs(there.reads - expected) > readback.tolerance:
        yield (
            f"readback {name} reads {number_text(there.reads)}, and "
            f"{number_text(expected)} belongs to the setpoint: beyond {readback.tolerance:g}"
        )


def _references(entry: ChannelLimitsConfig) -> Iterator[tuple[str, str]]:
    """The other channels that an entry names, each with the field that does."""
    if entry.readback is not None:
        yield "readback", entry.readback.channel
    if entry.done is not None:
        yield "done", entry.done.channel
    for channel in entry.affects:
        yield "affects", channel
    if entry.stop is not None:
        yield "stop", entry.stop.channel
    for condition in entry.conditions:
        yield "condition", condition.channel
