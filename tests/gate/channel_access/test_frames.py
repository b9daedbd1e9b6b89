"""Frames: whatever arrives, in whatever pieces, is cut into whole messages or refused."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.channel_access.frames import (
    HEADER,
    BadFrameError,
    Frame,
    FrameReader,
    pack,
    text_of,
    text_payload,
)

LIMIT = 100_000
U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
MESSAGES = st.lists(
    st.tuples(U16, U16, st.one_of(U16, st.integers(0, 2**32 - 1)), U32, U32, st.binary(max_size=80))
)


def drained(reader: FrameReader, most: int = 3) -> list[Frame]:
    found: list[Frame] = []
    while batch := list(reader.frames(most)):
        assert len(batch) <= most
        found += batch
    return found


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


@given(st.binary(max_size=500), st.lists(st.integers(0, 500)))
def test_any_bytes_make_frames_or_are_refused(data: bytes, cuts: list[int]) -> None:
    reader = FrameReader(64)
    taken = b""
    try:
        for piece in pieces(data, cuts):
            reader.feed(piece)
            taken += b"".join(frame.raw for frame in drained(reader))
            # What waits is less than the largest message that is taken.
            assert reader.waiting < HEADER.size + 8 + 64
    except BadFrameError:
        return
    assert data.startswith(taken)
    assert reader.waiting == len(data) - len(taken)


@given(MESSAGES, st.lists(st.integers(0, 10_000)))
def test_what_is_packed_comes_out_whatever_the_pieces(
    messages: list[tuple[int, int, int, int, int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(pack(*message) for message in messages)
    reader = FrameReader(LIMIT)
    found: list[Frame] = []
    for piece in pieces(stream, cuts):
        reader.feed(piece)
        found += drained(reader)
    assert b"".join(frame.raw for frame in found) == stream
    assert reader.waiting == 0
    for frame, (command, dtype, count, p1, p2, payload) in zip(found, messages, strict=True):
        told = (frame.command, frame.dtype, frame.count, frame.p1, frame.p2)
        assert told == (command, dtype, count, p1, p2)
        assert frame.payload == payload + bytes(-len(payload) % 8)


@pytest.mark.parametrize("size", [0, 1, 8, 0xFFF7, 0xFFF8, 0xFFFE, 0xFFFF, 0x10000, 0x20001])
def test_large_payloads_have_the_large_header(size: int) -> None:
    reader = FrameReader(0x30000)
    reader.feed(pack(4, 6, 1, 2, 3, b"x" * size) + pack(23))
    large, echo = reader.frames(9)
    assert large.payload.rstrip(b"\0") == b"x" * size
    assert (large.count, large.p1, large.p2, echo.command) == (1, 2, 3, 23)


def test_a_large_count_has_the_large_header_too() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(pack(15, 6, 70_000, 1, 2))
    assert next(reader.frames(1)).count == 70_000


TOO_LARGE = [pack(4, payload=bytes(72))[:16], HEADER.pack(4, 65535, 0, 0, 0, 0) + b"\xff" * 8]


@pytest.mark.parametrize("header", TOO_LARGE)
def test_a_payload_beyond_the_limit_is_refused_before_it_has_come(header: bytes) -> None:
    reader = FrameReader(64)
    reader.feed(header)
    with pytest.raises(BadFrameError, match="more than 64"):
        list(reader.frames(1))


def test_frames_that_were_not_asked_for_stay() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(pack(1) + pack(2) + pack(3))
    for frame in reader.frames(9):
        if frame.command == 2:
            break
    assert reader.waiting == HEADER.size
    assert [frame.command for frame in reader.frames(9)] == [3]


class Counted(bytearray):
    """A buffer that counts the bytes which are copied out of it."""

    copied = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        self.copied += len(found) if isinstance(place, slice) else 0
        return found


def counted(reader: FrameReader) -> Counted:
    reader._buffer = Counted()
    return reader._buffer


@pytest.mark.parametrize("most", [1, 200])
def test_of_many_frames_each_is_copied_once(most: int) -> None:
    reader = FrameReader(LIMIT)
    buffer = counted(reader)
    reader.feed(pack(23) * 8000)
    assert len(drained(reader, most)) == 8000
    assert buffer.copied == 8000 * HEADER.size


def test_a_payload_in_many_pieces_is_copied_once() -> None:
    reader = FrameReader(8 * 2**20)
    buffer = counted(reader)
    message = pack(4, payload=bytes(8 * 2**20))
    for place in range(0, len(message), 1000):
        assert buffer.copied == 0
        reader.feed(message[place : place + 1000])
        frames = list(reader.frames(200))
    assert len(frames) == 1
    assert buffer.copied == len(message)


@given(st.binary())
def test_a_text_ends_at_its_zero(text: bytes) -> None:
    assert text_of(text_payload(text)) == text.partition(b"\0")[0]
    assert text_of(text) == text.partition(b"\0")[0]
