"""What follows from a write, as the limits database and the record's own type say. Pure."""

from dataclasses import dataclass, field

from gate.channel_access.records import Record
from gate.channel_access.values import Value
from runpermit.limits import ChannelLimitsConfig

MOTOR, BUSY = "motor", "busy"
# Fields that stay as they are whatever is written to the record's other ones.
_FIELDS = """
    NAME RTYP DESC ASG SCAN PINI PHAS DTYP DISV SDIS FLNK EGU PREC HOPR LOPR DRVH DRVL
    HIHI HIGH LOW LOLO HHSV HSV LSV LLSV HYST ADEL MDEL ZNAM ONAM ZRST ONST TWST THST FRST FVST
    SXST SVST EIST NIST TEST ELST TVST TTST FTST FFST ZSV OSV COSV NELM FTVL SIZV OMSL DOL OUT INP
    OFF DIR FOFF MRES ERES UREV SREV RRES HLM LLM DHLM DLLM VELO VBAS VMAX ACCL BDST BVEL RDBD RTRY
"""
_SETTLED = frozenset(_FIELDS.split())


@dataclass(frozen=True)
class Motor:
    """How a motor's own (dial) coordinates lie to the user's."""

    offset: float = 0.0
    direction: int = 1

    def dial(self, position: float) -> float:
        """The dial's position at the user's `position`."""
        return (position - self.offset) * self.direction


@dataclass(frozen=True)
class Following:
    """What other channels read after a write, and those of which nothing tells what they read."""

    values: dict[str, Value] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def channels(self) -> list[str]:
        """All of them."""
        return [*self.values, *self.unknown]


def following(
    record: Record, entry: ChannelLimitsConfig | None, value: Value, motor: Motor | None = None
) -> Following:
    """What follows once `record` was set to `value`, and has come to rest."""
    values: dict[str, Value] = {}
    unknown: list[str] = []
    if motor is not None and isinstance(value, int | float):
        dial = motor.dial(value)
        fields = {"RBV": value, "DVAL": dial, "DRBV": dial, "DMOV": 1, "MOVN": 0}
        values |= {f"{record.name}.{name}": now for name, now in fields.items()}
    if is_busy(record):
        values[record.channel] = 0
    if entry is not None:
        if entry.readback is not None:
            scale, offset = entry.readback.scale, entry.readback.offset
            now = _scaled(value, scale, offset)
            if now is None:
                unknown.append(entry.readback.channel)
            else:
                values[entry.readback.channel] = now
        if entry.done is not None:
            values[entry.done.channel] = entry.done.value
        unknown += [name for name in entry.affects if name not in values]
    return Following(values, tuple(unknown))


def is_motor(record: Record) -> bool:
    """Whether a write to this channel moves a motor."""
    return record.record_type == MOTOR and record.channel == record.name


def is_busy(record: Record) -> bool:
    """Whether this channel is 1 while something is under way, and 0 again after it."""
    return record.record_type == BUSY and record.channel == record.name


def is_settled(field_name: str) -> bool:
    """Whether a field of a record that was written still reads what it did."""
    return field_name in _SETTLED


def _scaled(value: Value, scale: float, offset: float) -> Value | None:
    if isinstance(value, str):
        return None
    if not isinstance(value, tuple):
        return value * scale + offset
    if any(isinstance(item, str) for item in value):
        return None
    return tuple(float(item) * scale + offset for item in value)
