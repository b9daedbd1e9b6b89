"""Values of Channel Access: what a record will receive of what was sent. Pure.

An IOC converts what it is sent without a word. So a value is converted here, strictly, to the type
of the field itself; what that can't hold exactly is refused, and only the converted value is
judged and forwarded.
"""

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from gate.channel_access.frames import text_of
from gate.channel_access.record_types import IntegerRange
from runpermit.limits.values import decimal, shown

STRING_BYTES = 40
STATE_BYTES = 26
MOST_STATES = 16


class Dbr(IntEnum):
    """The plain types of Channel Access; writes of any other are refused."""

    STRING = 0
    SHORT = 1
    FLOAT = 2
    ENUM = 3
    CHAR = 4
    LONG = 5
    DOUBLE = 6


STS_OFFSET = 7
"""What is added to a plain type for one that comes with status and severity."""
GR_ENUM = 24
INVALID = 3
"""The severity of a value that means nothing: never set, or cut off from its device."""
_GR_ENUM_VALUE = 6 + MOST_STATES * STATE_BYTES
_FORMATS = {
    Dbr.SHORT: "h",
    Dbr.FLOAT: "f",
    Dbr.ENUM: "H",
    Dbr.CHAR: "B",
    Dbr.LONG: "i",
    Dbr.DOUBLE: "d",
}
# Bytes between the severity and the value.
_STS_PADDING = {Dbr.CHAR: 1, Dbr.DOUBLE: 4}
_TYPE_RANGES = {
    Dbr.SHORT: IntegerRange(-(2**15), 2**15 - 1),
    Dbr.LONG: IntegerRange(-(2**31), 2**31 - 1),
    # Whether it is signed is not told: what both hold.
    Dbr.CHAR: IntegerRange(0, 2**7 - 1),
    Dbr.ENUM: IntegerRange(0, 2**16 - 1),
}

Scalar = int | float | str
Value = Scalar | tuple[Scalar, ...]


class UnfitValueError(ValueError):
    """What was sent can't be what the record will hold; `sent` is what it was, where readable."""

    def __init__(self, reason: str, sent: object = None) -> None:
        super().__init__(reason)
        self.sent = sent


@dataclass(frozen=True)
class Target:
    """What a channel's field takes.

    count: the elements that it has at most. integers: its range where it holds integers alone.
    states: the names of an enum's states. text: whether its characters are one text. text_bytes:
    how long each text is at most.
    """

    native: Dbr
    count: int
    integers: IntegerRange | None = None
    states: tuple[str, ...] = ()
    text: bool = False
    text_bytes: int = STRING_BYTES - 1

    @property
    def seen_type(self) -> int:
        """The type in which it is read with its alarm; a single enum with its states as well."""
        if self.native is Dbr.ENUM and self.count == 1:
            return GR_ENUM
        return self.native + STS_OFFSET

    @property
    def holds_integers(self) -> bool:
        """Whether a fraction would be cut off."""
        return self.integers is not None or self.native in _TYPE_RANGES

    @property
    def range(self) -> IntegerRange | None:
        """The integers that it holds, None where it holds other things as well."""
        return self.integers or _TYPE_RANGES.get(self.native)


class Seen(NamedTuple):
    """What a channel reads: its value, its alarm, and the names of the states of an enum."""

    value: Value
    severity: int
    states: tuple[str, ...] = ()


@dataclass(frozen=True)
class Received:
    """A write as the record will receive it: its value, and the same for the wire."""

    value: Value
    dtype: Dbr
    count: int
    payload: bytes
    state: str | None = None


def receive(target: Target, dtype: int, count: int, payload: bytes) -> Received:
    """What a record behind `target` will hold of a write. Raises UnfitValueError."""
    if count > target.count:
        raise UnfitValueError(f"{count} elements for a channel of {target.count}")
    sent = _sent(dtype, count, payload)
    if target.text:
        return _text(target, Dbr(dtype), sent)
    items = tuple([_element(target, Dbr(dtype), item) for item in sent])
    value: Value = items[0] if target.count == 1 else items
    state = None
    if target.native is Dbr.ENUM and target.count == 1 and target.states:
        index = int(items[0])
        state = target.states[index] if index < len(target.states) else None
    return Received(value, target.native, count, encode(target.native, items), state)


def decode(target: Target, count: int, payload: bytes) -> Value:
    """The value in a reply of `target`'s native type. Raises UnfitValueError."""
    try:
        items = _unpacked(target.native, count, payload)
    except struct.error as error:
        raise UnfitValueError(f"{count} elements in {len(payload)} bytes") from error
    if target.text:
        return bytes(int(item) for item in items).partition(b"\0")[0].decode("utf-8", "replace")
    if _is_signed_byte(target):
        items = tuple(_signed(int(item)) for item in items)
    return items[0] if target.count == 1 and items else items


def decode_seen(target: Target, count: int, payload: bytes) -> Seen:
    """What a reply of `target.seen_type` says. Raises UnfitValueError."""
    if len(payload) < 4:  # noqa: PLR2004  (status and severity)
        raise UnfitValueError("no status")
    (severity,) = struct.unpack_from(">H", payload, 2)
    if target.seen_type == GR_ENUM:
        names = states(payload)
        return Seen(decode(target, count, payload[_GR_ENUM_VALUE:]), severity, names)
    start = 4 + _STS_PADDING.get(target.native, 0)
    return Seen(decode(target, count, payload[start:]), severity)


def states(payload: bytes) -> tuple[str, ...]:
    """The names of the states in a DBR_GR_ENUM reply. Raises UnfitValueError."""
    if len(payload) < 6 + MOST_STATES * STATE_BYTES:
        raise UnfitValueError("a short list of states")
    (number,) = struct.unpack_from(">H", payload, 4)
    names = (payload[6 + n * STATE_BYTES :][:STATE_BYTES] for n in range(min(number, MOST_STATES)))
    return tuple(text_of(name).decode("utf-8", "replace") for name in names)


def encode(dtype: Dbr, items: tuple[Scalar, ...]) -> bytes:
    """`items` on the wire."""
    if dtype is Dbr.STRING:
        return b"".join(str(item).encode().ljust(STRING_BYTES, b"\0") for item in items)
    if dtype is Dbr.CHAR:
        return bytes(int(item) % 2**8 for item in items)
    return struct.pack(f">{len(items)}{_FORMATS[dtype]}", *items)


def _sent(dtype: int, count: int, payload: bytes) -> tuple[Scalar, ...]:
    """The elements that were sent, in the type that they were sent in."""
    if dtype not in Dbr.__members__.values():
        raise UnfitValueError(f"a write of type {dtype}; only the plain types 0 to 6 are taken")
    if count < 1:
        raise UnfitValueError("a write of no element")
    try:
        return _unpacked(Dbr(dtype), count, payload)
    except struct.error:
        raise UnfitValueError(f"{count} elements in {len(payload)} bytes") from None


def _unpacked(dtype: Dbr, count: int, payload: bytes) -> tuple[Scalar, ...]:
    if dtype is not Dbr.STRING:
        return struct.unpack_from(f">{count}{_FORMATS[dtype]}", payload)
    # A single text is sent without what follows its zero.
    if count > 1 and len(payload) < count * STRING_BYTES:
        raise struct.error
    starts = range(0, count * STRING_BYTES, STRING_BYTES)
    pieces = (payload[start : start + STRING_BYTES] for start in starts)
    return tuple([_string(piece) for piece in pieces])


def _string(piece: bytes) -> str:
    text = text_of(piece)
    if len(text) >= STRING_BYTES:
        raise UnfitValueError(f"a text of {len(text)} bytes or more; {STRING_BYTES - 1} are taken")
    return text.decode("utf-8", "surrogateescape")


def _element(target: Target, dtype: Dbr, item: Scalar) -> Scalar:
    if target.native is Dbr.STRING:
        if not isinstance(item, str):
            raise UnfitValueError(f"the number {shown(item)} for a channel of text", item)
        if len(_utf8(item).encode()) > target.text_bytes:
            raise UnfitValueError(f"a text for a channel of {target.text_bytes} bytes", item)
        return item
    if target.native is Dbr.ENUM and isinstance(item, str):
        return _state_index(target, item)
    if isinstance(item, str):
        number = decimal(item)
        if number is None:
            raise UnfitValueError(f"the text {_shown_text(item)} for a channel of numbers", item)
        item = _exact(item, number)
    if dtype is Dbr.CHAR and _is_signed_byte(target):
        # A byte is a byte: this is how the field will read it.
        item = _signed(int(item))
    if isinstance(item, float) and not math.isfinite(item):
        raise UnfitValueError(f"{item} is no finite number", item)
    if target.holds_integers:
        return _integer(target, item)
    return _rounded(target, item)


def _is_signed_byte(target: Target) -> bool:
    return target.native is Dbr.CHAR and target.integers is not None and target.integers.low < 0


def _exact(text: str, number: float) -> int | float:
    """The number that `text` says; a whole one of any length exactly."""
    return int(text) if text.lstrip("+-").isdecimal() else number


def _integer(target: Target, item: float) -> int:
    bounds = target.range
    if isinstance(item, float) and not item.is_integer():
        raise UnfitValueError(f"{shown(item)} for a channel of whole numbers", item)
    if bounds is not None and not bounds.low <= item <= bounds.high:
        raise UnfitValueError(
            f"{shown(item)} for a channel that holds {bounds.low} to {bounds.high}", item
        )
    if target.native is Dbr.ENUM and target.states and item >= len(target.states):
        raise UnfitValueError(f"state {shown(item)} of {len(target.states)}", item)
    if target.native in {Dbr.DOUBLE, Dbr.FLOAT} and int(float(item)) != int(item):
        raise UnfitValueError(f"{item} has more digits than Channel Access can send", item)
    return int(item)


def _rounded(target: Target, item: float) -> float:
    """As double or float, which is what the field will hold."""
    try:
        number = float(item)
        if target.native is Dbr.FLOAT:
            (number,) = struct.unpack(">f", struct.pack(">f", number))
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UnfitValueError(f"{shown(item)} is too large for the channel", item)
    return number


def _state_index(target: Target, text: str) -> int:
    """The state that an IOC takes `text` for: names come before numbers."""
    if text in target.states:
        return target.states.index(text)
    if not text.isascii() or not text.isdecimal():
        names = ", ".join(shown(name) for name in target.states) or "none"
        raise UnfitValueError(f"no state is called {_shown_text(text)} (there are: {names})", text)
    return _integer(target, int(text))


def _text(target: Target, dtype: Dbr, sent: tuple[Scalar, ...]) -> Received:
    """Characters for a channel whose characters are one text."""
    if dtype is Dbr.STRING and len(sent) == 1:
        text = _utf8(str(sent[0]))
    elif dtype is Dbr.CHAR:
        text = _utf8(text_of(bytes(int(item) for item in sent)).decode("utf-8", "surrogateescape"))
    else:
        raise UnfitValueError("numbers for a channel of text", sent)
    payload = text.encode() + b"\0"
    if len(payload) > target.count:
        raise UnfitValueError(
            f"a text of {len(payload) - 1} bytes for a channel of {target.count - 1}", text
        )
    return Received(text, Dbr.CHAR, len(payload), payload)


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnfitValueError("a text that is not UTF-8", _shown_text(text)) from None
    return text


def _shown_text(text: str) -> str:
    return shown(text.encode("utf-8", "backslashreplace").decode())


def _signed(byte: int) -> int:
    return byte - 2**8 if byte >= 2**7 else byte
