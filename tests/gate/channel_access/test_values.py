"""Values: what a record will receive is what was sent, exactly, or it is refused."""

import contextlib
import itertools
import math
import struct
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.channel_access.record_types import ELEMENTS
from gate.channel_access.values import (
    GR_ENUM,
    STS_OFFSET,
    Dbr,
    Received,
    Target,
    UnfitValueError,
    Value,
    decode,
    decode_seen,
    encode,
    receive,
    states,
)

NATIVE = {
    "STRING": Dbr.STRING, "CHAR": Dbr.CHAR, "UCHAR": Dbr.CHAR, "SHORT": Dbr.SHORT,
    "USHORT": Dbr.LONG, "LONG": Dbr.LONG, "ULONG": Dbr.DOUBLE, "INT64": Dbr.DOUBLE,
    "UINT64": Dbr.DOUBLE, "FLOAT": Dbr.FLOAT, "DOUBLE": Dbr.DOUBLE, "ENUM": Dbr.ENUM,
}  # fmt: skip
STATES = ("10", "1", "0", "", "ü")
FORMATS = {1: "h", 2: "f", 3: "H", 4: "B", 5: "i", 6: "d"}
SIZES = {0: 40, 1: 2, 2: 4, 3: 2, 4: 1, 5: 4, 6: 8}


def element(name: str, count: int = 1) -> Target:
    return Target(NATIVE[name], count, ELEMENTS[name])


TARGETS = [
    *(element(name, count) for name in NATIVE for count in (1, 4)),
    *(Target(native, 1) for native in Dbr),
    *(Target(Dbr.ENUM, 1, states=names) for names in ((), ("a",), STATES)),
    *(Target(Dbr.CHAR, count, text=True) for count in (1, 30)),
]
TEXTS = [
    "0", "1", "10", "-1", "+1", "1.0", "1.9", "1e2", "1e400", "0x10", "nan", "inf", " 1", "1 ",
    "1_0", "", "ü", "\N{FULLWIDTH DIGIT ONE}", "9" * 39, "-" + "9" * 38, "a" * 39, "-0", ".5",
]  # fmt: skip
PIECES = st.one_of(
    st.binary(max_size=48),
    st.sampled_from(TEXTS).map(str.encode),
    st.sampled_from([0, 1, -1, 2**31, 2**53, 2**53 + 1, 2**63, 2**64, 1e300, 0.5, 1e-320, math.nan,
                     -math.inf, 40000, 256, 127]).map(lambda number: struct.pack(">d", number)),
    st.integers(-(2**31), 2**31 - 1).map(lambda number: struct.pack(">i", number)),
)  # fmt: skip


@st.composite
def writes(draw: st.DrawFn) -> tuple[int, int, bytes]:
    dtype = draw(st.one_of(st.sampled_from(list(Dbr)), st.integers(0, 40)))
    parts = draw(st.lists(PIECES, max_size=5))
    width = SIZES.get(dtype, 8)
    if draw(st.booleans()):
        parts = [part.ljust(width, b"\0")[:width] for part in parts]
    count = draw(st.one_of(st.just(len(parts)), st.integers(0, 6), st.integers(0, 2**32 - 1)))
    return dtype, count, b"".join(parts)


def sent(dtype: int, count: int, payload: bytes) -> list[object]:
    """The elements of a write, read without the gate's code."""
    if dtype == Dbr.STRING:
        return [payload[n * 40 : n * 40 + 40].partition(b"\0")[0] for n in range(count)]
    return list(struct.unpack_from(f">{count}{FORMATS[dtype]}", payload))


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(TARGETS), writes())
def test_what_is_received_is_what_was_sent_or_it_is_refused(
    target: Target, write: tuple[int, int, bytes]
) -> None:
    try:
        received = receive(target, *write)
    except UnfitValueError:
        return
    assert 1 <= received.count <= target.count
    assert decode(target, received.count, received.payload) == received.value
    # It arrives as it is: the record's own type needs no second conversion.
    again = receive(target, received.dtype, received.count, received.payload)
    assert repr(again) == repr(received)
    if not target.text:
        assert received.dtype == target.native
        assert len(received.payload) == received.count * SIZES[target.native]
        items = received.value if isinstance(received.value, tuple) else (received.value,)
        for item, original in zip(items, sent(*write), strict=True):
            assert_same(target, write[0], item, original)


def assert_same(target: Target, dtype: int, item: object, original: object) -> None:
    if isinstance(item, str):
        assert item.encode() == original
        return
    assert isinstance(item, int | float)
    assert math.isfinite(item)
    if target.range is not None:
        assert target.range.low <= item <= target.range.high
    if target.holds_integers:
        assert float(item).is_integer()
    if isinstance(original, bytes):
        text = original.decode()
        if target.native is Dbr.ENUM and text in target.states:
            assert item == target.states.index(text)
            return
        number = Fraction(text)
    else:
        signed = dtype == target.native == Dbr.CHAR and target.integers == ELEMENTS["CHAR"]
        number = Fraction(original) - (256 if signed and original >= 128 else 0)  # type: ignore[arg-type]
    if target.native is Dbr.FLOAT:
        assert item == struct.unpack(">f", struct.pack(">f", float(number)))[0]
    elif target.native is Dbr.DOUBLE and not target.holds_integers:
        assert item == float(number)
    else:
        assert item == number


@settings(deadline=None)
@given(st.sampled_from(TARGETS), st.integers(0, 8), st.binary(max_size=200))
def test_any_reply_is_decoded_or_refused(target: Target, count: int, payload: bytes) -> None:
    for reading in (decode, decode_seen):
        with contextlib.suppress(UnfitValueError):
            reading(target, count, payload)


# Each is what an IOC takes silently and stores as something else.
SILENT = [
    (element("SHORT"), Dbr.LONG, 40000),  # -25536
    (Target(Dbr.ENUM, 1, states=STATES), Dbr.LONG, 70000),  # 4464
    (Target(Dbr.ENUM, 1, states=("Off", "On")), Dbr.SHORT, -1),  # 65535
    (Target(Dbr.LONG, 1), Dbr.DOUBLE, 3e9),  # -2147483648
    (Target(Dbr.LONG, 1), Dbr.DOUBLE, 1.9),  # 1
    (Target(Dbr.LONG, 1), Dbr.FLOAT, 0.5),
    (Target(Dbr.ENUM, 1, states=STATES), Dbr.DOUBLE, 1.5),
    (Target(Dbr.ENUM, 1, states=STATES), Dbr.LONG, len(STATES)),
    (element("UCHAR"), Dbr.SHORT, 256),
    (element("UCHAR"), Dbr.SHORT, -1),
    (element("CHAR"), Dbr.SHORT, 128),
    (element("USHORT"), Dbr.LONG, -1),
    (element("ULONG"), Dbr.LONG, -1),
    (element("ULONG"), Dbr.DOUBLE, 2.0**32),
    (element("INT64"), Dbr.DOUBLE, 2.0**63),
    (element("UINT64"), Dbr.DOUBLE, -1.0),
    (element("UINT64"), Dbr.DOUBLE, 0.5),
    (element("FLOAT"), Dbr.DOUBLE, 1e39),
    *((element(name), Dbr.DOUBLE, number) for name in NATIVE if name != "STRING"
      for number in (math.nan, math.inf, -math.inf)),
]  # fmt: skip


@pytest.mark.parametrize(("target", "dtype", "number"), SILENT)
def test_what_an_ioc_would_change_silently_is_refused(
    target: Target, dtype: Dbr, number: float
) -> None:
    with pytest.raises(UnfitValueError):
        receive(target, dtype, 1, encode(dtype, (number,)))


@pytest.mark.parametrize("text", ["0x63", "nan", "inf", " 5", "5 ", "1_0", "", "5A", "1e400"])
@pytest.mark.parametrize("name", ["DOUBLE", "LONG", "FLOAT", "UCHAR", "INT64"])
def test_text_for_a_number_is_plain_decimal_or_refused(text: str, name: str) -> None:
    with pytest.raises(UnfitValueError):
        receive(element(name), Dbr.STRING, 1, encode(Dbr.STRING, (text,)))


def write_text(target: Target, text: str) -> Received:
    return receive(target, Dbr.STRING, 1, encode(Dbr.STRING, (text,)))


def test_state_names_come_before_numbers() -> None:
    mode = Target(Dbr.ENUM, 1, states=STATES)
    assert [write_text(mode, text).value for text in ("10", "1", "0", "4")] == [0, 1, 2, 4]
    assert write_text(mode, "0").state == "0"
    for text in ("5", "x", "-1", "1.0", "0x1", "\N{FULLWIDTH DIGIT ONE}"):
        with pytest.raises(UnfitValueError, match="state"):
            write_text(mode, text)


def test_whole_numbers_as_text_keep_every_digit() -> None:
    assert write_text(element("INT64"), "9007199254740992").value == 2.0**53
    with pytest.raises(UnfitValueError, match="more digits"):
        write_text(element("INT64"), "9007199254740993")


def test_bytes_of_a_signed_field_are_read_as_it_will_read_them() -> None:
    received = receive(element("CHAR", 3), Dbr.CHAR, 3, b"\x00\x80\xff")
    assert received.value == (0, -128, -1)
    assert received.payload == b"\x00\x80\xff"


def test_a_byte_for_a_wider_field_is_a_number_from_0_to_255() -> None:
    assert receive(element("LONG"), Dbr.CHAR, 1, b"\x80").value == 128


def test_text_is_no_longer_than_the_field() -> None:
    units = Target(Dbr.STRING, 1, text_bytes=15)
    assert write_text(units, "x" * 15).value == "x" * 15
    with pytest.raises(UnfitValueError, match="15 bytes"):
        write_text(units, "x" * 16)


def test_a_byte_of_unknown_sign_is_taken_where_both_agree() -> None:
    assert receive(Target(Dbr.CHAR, 1), Dbr.CHAR, 1, b"\x7f").value == 127
    with pytest.raises(UnfitValueError):
        receive(Target(Dbr.CHAR, 1), Dbr.CHAR, 1, b"\x80")


@pytest.mark.parametrize("dtype", [Dbr.STRING, Dbr.CHAR])
def test_a_long_text_has_room_for_its_zero(dtype: Dbr) -> None:
    target = Target(Dbr.CHAR, 20, text=True)
    assert (
        receive(target, dtype, 1 if dtype is Dbr.STRING else 19, b"x" * 19 + b"\0").value
        == "x" * 19
    )
    with pytest.raises(UnfitValueError):
        receive(target, dtype, 1 if dtype is Dbr.STRING else 20, b"x" * 20)


def test_a_text_ends_at_its_first_zero() -> None:
    target = Target(Dbr.CHAR, 20, text=True)
    received = receive(target, Dbr.CHAR, 5, b"ab\0cd")
    assert (received.value, received.payload) == ("ab", b"ab\0")


@pytest.mark.parametrize("target", [Target(Dbr.STRING, 1), Target(Dbr.CHAR, 60, text=True)])
def test_text_is_utf8(target: Target) -> None:
    assert write_text(target, "µ").value == "µ"
    with pytest.raises(UnfitValueError, match="UTF-8"):
        receive(target, Dbr.STRING, 1, b"\xff".ljust(40, b"\0"))


def test_a_number_is_no_text() -> None:
    with pytest.raises(UnfitValueError, match="channel of text"):
        receive(Target(Dbr.STRING, 1), Dbr.DOUBLE, 1, bytes(8))


@pytest.mark.parametrize("dtype", [7, 14, 34, 35, 36, 37, 38, 2**16 - 1])
def test_other_types_are_refused(dtype: int) -> None:
    with pytest.raises(UnfitValueError, match="0 to 6"):
        receive(Target(Dbr.DOUBLE, 1), dtype, 1, bytes(64))


@pytest.mark.parametrize(("count", "size"), [(0, 8), (1, 0), (1, 7), (2, 15), (2**32 - 1, 8)])
def test_empty_and_short_payloads_are_refused(count: int, size: int) -> None:
    with pytest.raises(UnfitValueError):
        receive(Target(Dbr.DOUBLE, 2), Dbr.DOUBLE, count, bytes(size))


def test_no_more_elements_than_the_channel_has() -> None:
    assert receive(element("SHORT", 3), Dbr.SHORT, 2, bytes(4)).value == (0, 0)
    with pytest.raises(UnfitValueError, match="4 elements for a channel of 3"):
        receive(element("SHORT", 3), Dbr.SHORT, 4, bytes(8))


@pytest.mark.parametrize("dtype", [Dbr.STRING, Dbr.CHAR, Dbr.DOUBLE])
def test_too_many_elements_cost_next_to_nothing(dtype: Dbr) -> None:
    payload: Any = None  # not a byte of it is looked at
    with pytest.raises(UnfitValueError, match="elements for a channel of 1"):
        receive(Target(Dbr.DOUBLE, 1), dtype, 16 * 2**20 // SIZES[dtype], payload)


class Counted(bytes):
    """Bytes that count how many were copied out of them."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, int):
            return found
        Counted.copied += len(found)
        return Counted(found)


def test_of_long_arrays_of_text_no_byte_is_copied_twice() -> None:
    count = 2000
    payload = b"abc".ljust(40, b"\0") * count
    target = Target(Dbr.STRING, count)
    Counted.copied = 0
    received = receive(target, Dbr.STRING, count, Counted(payload))
    assert decode(target, count, Counted(received.payload)) == received.value
    assert Counted.copied <= len(payload) + len(received.payload)


def is_state_name(text: str) -> bool:
    return len(text.encode()) < 26 and "\0" not in text


@given(st.lists(st.text(max_size=20).filter(is_state_name), max_size=16))
def test_states_are_told_by_their_names(names: list[str]) -> None:
    table = b"".join(name.encode().ljust(26, b"\0") for name in names).ljust(16 * 26, b"\0")
    assert states(struct.pack(">hhH", 0, 0, len(names)) + table + b"\0\1") == tuple(names)


@given(st.binary(max_size=500))
def test_a_broken_list_of_states_is_refused_or_read(payload: bytes) -> None:
    with contextlib.suppress(UnfitValueError):
        assert len(states(payload)) <= 16


def test_replies_with_status_have_their_padding() -> None:
    values: list[tuple[Dbr, Value]] = [
        (Dbr.STRING, "on"), (Dbr.SHORT, -2), (Dbr.FLOAT, 0.5), (Dbr.CHAR, 200),
        (Dbr.LONG, -70000), (Dbr.DOUBLE, 0.1),
    ]  # fmt: skip
    padding = {Dbr.CHAR: 1, Dbr.DOUBLE: 4}  # as libca's db_access.h has them
    for (dtype, value), severity in itertools.product(values, range(4)):
        reply = struct.pack(">hh", 3, severity) + bytes(padding.get(dtype, 0))
        reply += encode(dtype, (value,))  # type: ignore[arg-type]
        assert decode_seen(Target(dtype, 1), 1, reply) == (value, severity, ())
    assert (STS_OFFSET, GR_ENUM) == (7, 24)


def test_a_single_enum_tells_its_states_with_its_value() -> None:
    target = Target(Dbr.ENUM, 1, states=("old", "names"))
    names = b"".join(name.ljust(26, b"\0") for name in (b"Off", b"On", *[b""] * 14))
    reply = struct.pack(">hhH", 0, 2, 2) + names + struct.pack(">H", 1)
    assert target.seen_type == GR_ENUM
    assert decode_seen(target, 1, reply) == (1, 2, ("Off", "On"))
    assert Target(Dbr.ENUM, 5).seen_type == Dbr.ENUM + STS_OFFSET
