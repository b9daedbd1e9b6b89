"""What a limits database means, channel by channel, for `runpermit limits check`."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from runpermit.limits import (
    ChannelLimitsConfig,
    LimitsDatabase,
    Readback,
    TargetValue,
    VerificationLevel,
)
from runpermit.text import one_line

_WIDTH = 100


class ChannelReport(BaseModel):
    """One channel's rules in words: facts as (label, text), and what may have been missed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report as text, labels aligned; warnings last."""
        width = max((len(label) for label, _ in self.facts), default=0)
        facts = [f"  {label:<{width}}  {text}" for label, text in self.facts]
        return [self.channel, *facts, *(f"  ! {warning}" for warning in self.warnings)]


def explain(database: LimitsDatabase) -> list[ChannelReport]:
    """One report per listed channel, in the file's order."""
    return [
        ChannelReport(
            channel=name,
            facts=tuple((label, one_line(text, _WIDTH)) for label, text in _facts(entry)),
            warnings=tuple(_warnings(name, entry, database)),
        )
        for name, entry in database.channels.items()
    ]


def _facts(entry: ChannelLimitsConfig) -> Iterator[tuple[str, str]]:
    if entry.description:
        yield "description", entry.description
    if not entry.writable:
        yield "write", "never"
        return
    yield from _write_facts(entry)
    yield from _device_facts(entry)


def _write_facts(entry: ChannelLimitsConfig) -> Iterator[tuple[str, str]]:
    yield "write", _range(entry)
    if entry.allowed_values is not None:
        yield "allowed", ", ".join(str(value) for value in entry.allowed_values)
    if entry.max_length is not None:
        yield "length", f"at most {entry.max_length} elements, or characters of a text"
    if entry.bounds_step:
        yield "step", _step(entry)
    yield "interval", f"{entry.min_interval:g} s at least between two writes"
    for condition in entry.conditions:
        yield "only while", f"{condition.channel} {condition.op} {condition.value}"
    if entry.plan_tolerance is not None:
        yield "plan", f"within {_in_units(entry.plan_tolerance, entry)} of the plan"


def _device_facts(entry: ChannelLimitsConfig) -> Iterator[tuple[str, str]]:
    yield "verified", _verification(entry)
    if entry.readback:
        yield "readback", _readback(entry.readback)
    if entry.done:
        yield "done", f"when {_target(entry.done)}"
    if entry.affects:
        yield "affects", ", ".join(entry.affects)
    if entry.stop:
        yield "stopped by", _target(entry.stop)
    if entry.restore is not None:
        yield "restore", "may be put back" if entry.restore else "never put back"


def _warnings(name: str, entry: ChannelLimitsConfig, database: LimitsDatabase) -> Iterator[str]:
    if not entry.writable:
        return
    if entry.allowed_values is None:
        yield from _number_warnings(entry)
    if entry.max_step_relative is not None:
        yield "max_step_relative: no write passes while the channel reads 0"
    if entry.min_interval == 0:
        yield "min_interval 0: writes may follow each other without pause"
    if entry.verification.level is VerificationLevel.NONE:
        yield "verification level none: nobody learns whether a write took effect"
    yield from _reference_warnings(name, entry, database)


def _number_warnings(entry: ChannelLimitsConfig) -> Iterator[str]:
    if not entry.bounds_numbers:
        yield "no bounds and no allowed_values: any number or text passes"
        return
    if entry.min_value is None:
        yield "no min_value: numbers are not bounded below"
    if entry.max_value is None:
        yield "no max_value: numbers are not bounded above"
    if not entry.bounds_step:
        yield "no max_step: the whole range may be crossed in one write"
    if entry.readback is None:
        yield "no readback: whether the device followed is not seen"


def _reference_warnings(
    name: str, entry: ChannelLimitsConfig, database: LimitsDatabase
) -> Iterator[str]:
    for affected in entry.affects:
        if affected == name:
            yield "affects itself"
        elif database.find(affected) is None:
            yield f"affects {affected}, which is not listed: look for a typing error"
    if entry.readback and entry.readback.channel == name:
        yield "readback is the setpoint itself: it can't show whether the device followed"
    if entry.stop and database.find(entry.stop.channel) is None:
        yield f"stop writes {entry.stop.channel}, which is not listed"


def _range(entry: ChannelLimitsConfig) -> str:
    low, high = entry.min_value, entry.max_value
    if low is not None and high is not None:
        return f"{low:g} to {_in_units(high, entry)}"
    if low is not None:
        return f"{_in_units(low, entry)} or more"
    if high is not None:
        return f"{_in_units(high, entry)} or less"
    if entry.bounds_numbers:
        return "any number"
    return "what is allowed" if entry.allowed_values is not None else "any value"


def _step(entry: ChannelLimitsConfig) -> str:
    parts = []
    if entry.max_step is not None:
        parts.append(_in_units(entry.max_step, entry))
        if entry.min_interval:
            slew = entry.max_step / entry.min_interval
            parts[0] += f" (slew at most {_in_units(slew, entry)}/s)"
    if entry.max_step_relative is not None:
        parts.append(f"{entry.max_step_relative:.3g} of the current value's size")
    return "at most " + " and ".join(parts)


def _verification(entry: ChannelLimitsConfig) -> str:
    verification = entry.verification
    if verification.level is VerificationLevel.NONE:
        return "not at all"
    how = "by callback"
    if verification.level is VerificationLevel.READBACK:
        how = "by reading back"
    if verification.tolerance_absolute is not None:
        return f"{how}, within {_in_units(verification.tolerance_absolute, entry)}"
    percent = verification.tolerance_percent
    if percent is None and not entry.bounds_numbers:
        return how
    return f"{how}, within {0.1 if percent is None else percent:g} % of the value"


def _readback(readback: Readback) -> str:
    text = readback.channel
    if readback.scale != 1 or readback.offset != 0:
        text += f" = setpoint × {readback.scale:g} + {readback.offset:g}"
    if readback.tolerance is not None:
        text += f", within {readback.tolerance:g}"
    if readback.settle_time is not None:
        text += f", after {readback.settle_time:g} s"
    return text


def _target(target: TargetValue) -> str:
    return f"{target.channel} = {target.value}"


def _in_units(value: float, entry: ChannelLimitsConfig) -> str:
    return f"{value:g} {entry.units}" if entry.units else f"{value:g}"
