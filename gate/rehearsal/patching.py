"""A rehearsed value in an IOC's live reply, as the IOC itself would tell it in that type. Pure."""

import math
from dataclasses import dataclass

from gate.channel_access.frames import ECA_NORMAL, Frame, pack, text_of
from gate.channel_access.values import (
    STRING_BYTES,
    Dbr,
    Scalar,
    Target,
    UnfitValueError,
    Value,
    decode,
    encode,
)
from runpermit.limits.values import decimal

ECA_GETFAIL = 152
_STSACK_STRING = 37
_STSACK_VALUE = 8
# Where the value begins: alone, and behind status, time, graphic and control information.
_OFFSETS: dict[Dbr, tuple[int, ...]] = {
    Dbr.STRING: (0, 4, 12, 4, 4),
    Dbr.SHORT: (0, 4, 14, 24, 28),
    Dbr.FLOAT: (0, 4, 12, 40, 48),
    Dbr.ENUM: (0, 4, 14, 422, 422),
    Dbr.CHAR: (0, 5, 15, 19, 21),
    Dbr.LONG: (0, 4, 12, 36, 44),
    Dbr.DOUBLE: (0, 8, 16, 64, 80),
}
_BITS = {Dbr.SHORT: 16, Dbr.LONG: 32, Dbr.ENUM: 16, Dbr.CHAR: 8}
_LONG_ENDS = 2**31
_MOST_FLOAT = 3.4028234663852886e38
# EPICS tells numbers beyond these otherwise than digit by digit.
_PLAIN_DIGITS = 8
_PLAIN_NUMBER = 1e7
_FIXED_NUMBER = 1e16
_FIXED_DIGITS = 3
_MOST_DIGITS = 17


@dataclass(frozen=True)
class Shadow:
    """What a channel reads in a rehearsal.

    payload: the same in the type `native`, where it is known. digits: how many of them its record
    shows behind the point; without it as many as its live text has.
    """

    value: Value
    native: Dbr | None = None
    payload: bytes = b""
    digits: int | None = None

    @property
    def elements(self) -> int:
        """How many they are."""
        return len(self.value) if isinstance(self.value, tuple) else 1


def is_quick(dtype: int, shadow: Shadow) -> bool:
    """Whether no element has to be converted for a reply of `dtype`."""
    placed = place(dtype)
    return placed is None or placed[0] is shadow.native


def patched(
    frame: Frame, shadow: Shadow, target: Target, identity: tuple[int, int], *, fixed: bool
) -> bytes:
    """The message with `shadow` in the place of the live value in `frame`, which is a reply.

    target: what the channel is, as the client opened it.
    identity: command and id of the message.
    fixed: whether the client asked for so many elements; else there are as many as the value has.
    """
    command, number = identity
    placed = place(frame.dtype)
    if placed is None or frame.p1 != ECA_NORMAL:
        return pack(command, frame.dtype, frame.count, frame.p1, number, frame.payload)
    kind, offset = placed
    head, live = frame.payload[:offset], frame.payload[offset:]
    try:
        items = _elements(shadow.value, target)[: frame.count if fixed else None]
        if kind is shadow.native and not target.text:
            values = shadow.payload
        else:
            values = encode(kind, _converted(items, kind, target, _digits(shadow, live)))
    except UnfitValueError:
        empty = bytes(len(frame.payload))
        return pack(command, frame.dtype, frame.count, ECA_GETFAIL, number, empty)
    count = frame.count if fixed else len(items)
    size = STRING_BYTES if kind is Dbr.STRING else len(encode(kind, (0,)))
    values = values[: count * size].ljust(count * size, b"\0")
    return pack(command, frame.dtype, count, frame.p1, number, head + values)


def live_value(frame: Frame, target: Target) -> Value | None:
    """The single value in a reply of the channel's own type; None where it is another reply."""
    placed = place(frame.dtype)
    if placed is None or frame.p1 != ECA_NORMAL or frame.count != 1 or target.count != 1:
        return None
    kind, offset = placed
    if kind is not target.native:
        return None
    try:
        return decode(target, 1, frame.payload[offset:])
    except UnfitValueError:
        return None


def place(dtype: int) -> tuple[Dbr, int] | None:
    """Of which plain type the value of a reply is, and where; None where it holds no value."""
    if dtype == _STSACK_STRING:
        return Dbr.STRING, _STSACK_VALUE
    form, plain = divmod(dtype, len(Dbr))
    kind = Dbr(plain)
    return (kind, _OFFSETS[kind][form]) if form < len(_OFFSETS[kind]) else None


def _elements(value: Value, target: Target) -> tuple[Scalar, ...]:
    """The elements of a channel: of a text its characters, where they are asked for as such."""
    if target.text and isinstance(value, str):
        characters = value.encode() + b"\0"
        if target.count == STRING_BYTES:  # a field has them all, a record of long texts has some
            characters = characters.ljust(STRING_BYTES, b"\0")
        return tuple(characters)
    if value in target.states:  # as the limits database names it
        return (target.states.index(str(value)),)
    return value if isinstance(value, tuple) else (value,)


def _converted(
    items: tuple[Scalar, ...], kind: Dbr, target: Target, digits: int | None
) -> tuple[Scalar, ...]:
    """The elements in a plain type, converted as an IOC does it."""
    if kind is Dbr.STRING:
        return tuple([_text(item, target, digits) for item in items])
    return tuple([_number(item, kind) for item in items])


def _number(item: Scalar, kind: Dbr) -> float:
    if isinstance(item, str):
        number = decimal(item)
        if number is None:
            raise UnfitValueError("a text that is no number", item)
        item = number
    if kind is Dbr.DOUBLE:
        return float(item)
    if kind is Dbr.FLOAT:
        return max(-_MOST_FLOAT, min(float(item), _MOST_FLOAT))
    if isinstance(item, float) and not -_LONG_ENDS <= item < _LONG_ENDS:
        item = -_LONG_ENDS  # what a processor makes of it
    bits = _BITS[kind]
    number = int(item) % (1 << bits)
    signed = kind in {Dbr.SHORT, Dbr.LONG} and number >= 1 << (bits - 1)
    return number - (1 << bits) if signed else number


def _text(item: Scalar, target: Target, digits: int | None) -> str:
    if isinstance(item, str):
        return _cut(item)
    if target.native is Dbr.ENUM:
        if target.count > 1:
            raise UnfitValueError("states without names", item)
        state = int(item)
        return target.states[state] if state < len(target.states) else str(state)
    if target.holds_integers:
        return str(int(item))
    return _decimals(float(item), digits)


def _decimals(number: float, digits: int | None) -> str:
    """As EPICS does it, with as many digits behind the point as its live text has."""
    if digits is None or not math.isfinite(number):
        return f"{number:g}"
    size = abs(number)
    if not 0 <= digits <= _PLAIN_DIGITS or size > _FIXED_NUMBER:
        digits = min(digits, _MOST_DIGITS) if digits >= 0 else _MOST_DIGITS
        return f"{number:{digits + 7}.{digits}e}"
    if size > _PLAIN_NUMBER:
        return f"{number:.{min(digits, _FIXED_DIGITS)}f}"
    whole = int(size)
    scale = 10**digits
    fraction = (int((size - whole) * scale * 10) + 5) // 10
    whole, fraction = whole + fraction // scale, fraction % scale
    sign = "-" if number < 0 else ""
    return f"{sign}{whole}.{fraction:0{digits}d}" if digits else f"{sign}{whole}"


def _digits(shadow: Shadow, live: bytes) -> int | None:
    """How many digits stand behind the point; None where neither record nor live text tells."""
    if shadow.digits is not None:
        return shadow.digits
    number, _, _ = text_of(live[:STRING_BYTES]).lower().partition(b"e")
    if not number[-1:].isdigit():
        return None
    return len(number.partition(b".")[2])


def _cut(text: str) -> str:
    return text.encode()[: STRING_BYTES - 1].decode("utf-8", "ignore")
