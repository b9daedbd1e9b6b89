"""What gate and limits database know of a channel: the facts that a plan tells of it."""

import asyncio
import struct
from collections.abc import Sequence
from typing import NamedTuple

from gate.aside import aside
from gate.channel_access.directory import Directory
from gate.channel_access.frames import Frame, text_of
from gate.channel_access.ioc_circuit import IocCircuit, IocLostError
from gate.channel_access.own_channels import OwnChannels
from gate.channel_access.records import Record, parts
from gate.channel_access.values import Dbr, UnfitValueError, Value, decode_seen
from gate.rehearsal.following import is_busy, is_motor
from runpermit.limits import ChannelLimitsConfig, LimitsFile, LimitsValidator
from runpermit.models import PlannedChannel
from runpermit.plans import as_planned
from runpermit.text import one_line

_TOLD_CHARACTERS = 200
_TOGETHER = 20
_SEVERITIES = ("", "MINOR", "MAJOR", "INVALID")
_STATUSES = (
    "NO_ALARM", "READ", "WRITE", "HIHI", "HIGH", "LOLO", "LOW", "STATE", "COS", "COMM", "TIMEOUT",
    "HWLIMIT", "CALC", "SCAN", "LINK", "SOFT", "BAD_SUB", "UDF", "DISABLE", "SIMM", "READ_ACCESS",
    "WRITE_ACCESS",
)  # fmt: skip
_CLOSED_LOOP = "closed_loop"


class Live(NamedTuple):
    """What a channel reads now: its value, the name of its state, and its alarm in words."""

    value: Value
    state: str
    alarm: str


async def live_of(record: Record, frame: Frame) -> Live:
    """What a reply in `record.target.seen_type` says. Raises UnfitValueError."""
    seen = await aside(frame.count, decode_seen, record.target, frame.count, frame.payload)
    names, value = record.target.states, seen.value
    state = names[value] if isinstance(value, int) and value < len(names) else ""
    return Live(value, state, alarm_of(frame.payload))


def alarm_of(payload: bytes) -> str:
    """The alarm in a reply that comes with one, such as `MAJOR (HIHI)`; empty without one."""
    status, severity = struct.unpack_from(">HH", payload)
    if not severity:
        return ""
    words = _SEVERITIES[severity] if severity < len(_SEVERITIES) else f"severity {severity}"
    return f"{words} ({_STATUSES[status]})" if status < len(_STATUSES) else words


async def text_of_field(circuit: IocCircuit, name: str) -> str:
    """What a field reads as text; empty where the record has no such field, or tells nothing."""
    try:
        channel = await circuit.open(name)
        try:
            frame = await circuit.read(channel.sid, Dbr.STRING, 1)
        finally:
            circuit.clear(channel)
    except (LookupError, IocLostError):
        return ""
    return text_of(frame.payload).decode("utf-8", "replace")


async def number_of_field(circuit: IocCircuit, name: str) -> float:
    """What a field reads as a number. Raises IocLostError, LookupError."""
    channel = await circuit.open(name)
    try:
        frame = await circuit.read(channel.sid, Dbr.DOUBLE, 1)
    finally:
        circuit.clear(channel)
    (number,) = struct.unpack_from(">d", frame.payload)
    return float(number)


async def facts_of(
    circuit: IocCircuit, record: Record, live: Live, entry: ChannelLimitsConfig | None
) -> PlannedChannel:
    """The facts of a channel that reads `live`; its planned values are not among them."""
    description, units, loop = await asyncio.gather(
        text_of_field(circuit, f"{record.name}.DESC"),
        text_of_field(circuit, f"{record.name}.EGU"),
        text_of_field(circuit, f"{record.name}.OMSL"),
    )
    moved_by = ""
    if loop == _CLOSED_LOOP and record.channel == record.name:
        source = await text_of_field(circuit, f"{record.name}.DOL")
        moved_by = f"its record is in closed loop (.OMSL) and takes its value from {source}"
    why_not = why_not_restorable(record, live.value, entry)
    entry = entry or ChannelLimitsConfig()
    follows = [
        *([f"{record.name}.RBV"] if is_motor(record) else []),
        *([entry.readback.channel] if entry.readback else []),
        *([entry.done.channel] if entry.done else []),
        *entry.affects,
    ]
    return PlannedChannel(
        channel=record.channel,
        description=one_line(entry.description or description, _TOLD_CHARACTERS),
        units=one_line(entry.units or units, _TOLD_CHARACTERS),
        live=await aside(record.target.count, as_planned, live.value),
        state=live.state,
        alarm=live.alarm,
        exact=is_exact(record),
        min_value=entry.min_value,
        max_value=entry.max_value,
        max_step=entry.max_step,
        min_interval=entry.min_interval,
        restorable=not why_not,
        why_not=why_not,
        stoppable=entry.stop is not None,
        follows=list(dict.fromkeys(follows)),
        moved_by=one_line(moved_by, _TOLD_CHARACTERS),
    )


def is_exact(record: Record) -> bool:
    """Whether values must come exactly as planned: states, texts and fields other than VAL."""
    of_numbers = record.target.native not in {Dbr.ENUM, Dbr.STRING} and not record.target.text
    return record.channel != record.name or not of_numbers


def why_not_restorable(record: Record, value: Value, entry: ChannelLimitsConfig | None) -> str:
    """Why a channel that held `value` can't be put back, empty where it can."""
    if value == ():
        return "it was empty, and an empty array can't be written"
    if entry is not None and entry.restore is not None:
        return "" if entry.restore else "restore: false in the limits database"
    if is_busy(record):
        what = "1 while something is under way"
    elif not is_exact(record):
        return ""
    elif record.channel != record.name:
        what = "a field"
    else:
        what = "a state" if record.target.native is Dbr.ENUM else "a text"
    return f"{what}: its limits would have to say restore: true"


class Describer:
    """Tells what is known of channels that no session has open."""

    def __init__(self, directory: Directory, limits: LimitsFile, array_bytes: int) -> None:
        self._directory = directory
        self._limits = limits
        self._array_bytes = array_bytes

    async def describe(self, names: Sequence[str]) -> list[PlannedChannel]:
        """The facts of the channels `names`, each under its record's own name, in their order.

        Raises LookupError that names the channel which can't be read.
        """
        channels = OwnChannels(self._directory, self._array_bytes)
        free = asyncio.Semaphore(_TOGETHER)
        validator = self._limits.validator

        async def describe(name: str) -> PlannedChannel:
            async with free:
                return await _described(channels, name, validator)

        try:
            return list(await asyncio.gather(*map(describe, names)))
        finally:
            channels.close()


async def _described(
    channels: OwnChannels, name: str, validator: LimitsValidator
) -> PlannedChannel:
    try:
        parts(name)
        setpoint = await channels.open(name)
        frame = await setpoint.circuit.read(setpoint.sid, setpoint.record.target.seen_type, 0)
        live = await live_of(setpoint.record, frame)
    except (LookupError, IocLostError, UnfitValueError) as error:
        raise LookupError(f"{name} can't be read: {error}. Correct its name, or its IOC") from error
    entry = validator.find(setpoint.record.channel)
    return await facts_of(setpoint.circuit, setpoint.record, live, entry)
