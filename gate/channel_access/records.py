"""What stands behind a channel: the record's own name, its type, and what its field takes."""

import asyncio
from dataclasses import dataclass

from gate.channel_access.frames import text_of
from gate.channel_access.ioc_circuit import IocCircuit, OwnChannel
from gate.channel_access.record_types import ELEMENTS, IntegerRange, element_field, field_range
from gate.channel_access.values import GR_ENUM, STRING_BYTES, Dbr, Target, UnfitValueError, states

VALUE = "VAL"
_TWO_STATES = frozenset({"bi", "bo", "busy"})
_LONGEST_SHORT_NAME = STRING_BYTES - 2


class UnknownRecordError(LookupError):
    """The record behind a channel can't be told, so neither can its limits."""


@dataclass(frozen=True)
class Record:
    """A record's field as limits, locks and journal know it.

    channel: the record's own name, whatever alias was used, with the field unless it is VAL.
    """

    name: str
    channel: str
    record_type: str
    target: Target

    def has_other_states(self, names: tuple[str, ...]) -> bool:
        """Whether `names`, which its IOC tells now, are not those that a write was judged by."""
        return bool(names) and _all_states(names, self.record_type) != self.target.states


@dataclass(frozen=True)
class ChannelParts:
    """A channel's name taken apart; `text` where its characters are asked for as one text."""

    record: str
    field: str
    text: bool

    @property
    def channel(self) -> str:
        """As the limits database has it: without `.VAL`, and without the mark of a text."""
        return _channel(self.record, self.field)


def _channel(record: str, field: str) -> str:
    return record if field == VALUE else f"{record}.{field}"


def parts(channel: str) -> ChannelParts:
    """Take a channel's name apart. Raises UnknownRecordError for a modifier (`{…}`, `[…]`)."""
    record, _, field = channel.partition(".")
    text = field.endswith("$")
    field = field.removesuffix("$") or VALUE
    if not record or not field.isalnum():
        raise UnknownRecordError("a channel with a modifier can't be written; use its plain name")
    return ChannelParts(record, field, text)


async def identify(circuit: IocCircuit, channel: str, sid: int, dtype: int, count: int) -> Record:
    """Ask the IOC what stands behind `channel`, open there as `sid` with native `dtype`.

    Raises UnknownRecordError where it does not tell, IocLostError where it does not answer.
    """
    named = parts(channel)
    if dtype not in Dbr.__members__.values():
        raise UnknownRecordError(f"its type {dtype} is none that can be written")
    native = Dbr(dtype)
    try:
        name, record_type = await asyncio.gather(
            _name(circuit, named.record), _text(circuit, f"{named.record}.RTYP")
        )
        integers = field_range(record_type, named.field)
        if element := element_field(record_type, named.field):
            integers = await _element_range(circuit, f"{named.record}.{element}")
        text_bytes = STRING_BYTES - 1
        if native is Dbr.STRING and count == 1:
            text_bytes = await _text_bytes(circuit, f"{named.record}.{named.field}$")
        names: tuple[str, ...] = ()
        if native is Dbr.ENUM and count == 1:
            frame = await circuit.read(sid, GR_ENUM, 1)
            names = _all_states(states(frame.payload), record_type)
    except (LookupError, UnfitValueError) as error:
        raise UnknownRecordError(
            f"the record behind it can't be told ({error}), so no limits can be found for it"
        ) from error
    text = named.text and native is Dbr.CHAR
    target = Target(native, count, integers, names, text=text, text_bytes=text_bytes)
    return Record(name, _channel(name, named.field), record_type, target)


async def _name(circuit: IocCircuit, record: str) -> str:
    """The record's own name: an alias answers it, not itself."""
    try:
        name = await _text(circuit, f"{record}.NAME$")
    except LookupError:
        name = await _text(circuit, f"{record}.NAME")
        if len(name) > _LONGEST_SHORT_NAME:
            raise LookupError(f"only the beginning of its name is told: {name}") from None
    if not name:
        raise LookupError("it has no name")
    return name


async def _text_bytes(circuit: IocCircuit, name: str) -> int:
    """How long a text the field holds; it is told where its characters can be had as such."""
    try:
        channel = await circuit.open(name)
    except LookupError:
        return STRING_BYTES - 1
    circuit.clear(channel)
    return min(channel.count, STRING_BYTES) - 1


async def _element_range(circuit: IocCircuit, name: str) -> IntegerRange | None:
    element = await _text(circuit, name)
    if element not in ELEMENTS:
        raise LookupError(f"its elements are of the unknown type {element!r}")
    return ELEMENTS[element]


async def _text(circuit: IocCircuit, name: str) -> str:
    channel = await circuit.open(name)
    try:
        return await _read_text(circuit, channel)
    finally:
        circuit.clear(channel)


async def _read_text(circuit: IocCircuit, channel: OwnChannel) -> str:
    dtype = Dbr.CHAR if channel.dtype == Dbr.CHAR else Dbr.STRING
    count = channel.count if dtype is Dbr.CHAR else 1
    frame = await circuit.read(channel.sid, dtype, count)
    return text_of(frame.payload).decode("utf-8", "backslashreplace")


def _all_states(names: tuple[str, ...], record_type: str) -> tuple[str, ...]:
    """A binary record has two states, though it tells those alone that have a name."""
    missing = 2 - len(names)
    return names + ("",) * missing if record_type in _TWO_STATES else names
