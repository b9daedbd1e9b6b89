"""Channel Access on the wire: frames out of a byte stream, and back. Pure."""

import struct
from collections.abc import Iterator
from enum import IntEnum

HEADER = struct.Struct(">HHHHII")
_LARGE = struct.Struct(">II")
_LARGE_SIZE = 0xFFFF

# A channel of ours beside a client's on the same circuit: its ids lie above all of the client's.
OWN_IDS = 0xF000_0000

ECA_NORMAL = 1
ECA_PUTFAIL = 160
PROTOCOL = 13
ANY_ADDRESS = 0xFFFF_FFFF


class Command(IntEnum):
    """The commands that a gate has to know; any other closes the circuit."""

    VERSION = 0
    EVENT_ADD = 1
    EVENT_CANCEL = 2
    WRITE = 4
    SEARCH = 6
    EVENTS_OFF = 8
    EVENTS_ON = 9
    READ_SYNC = 10
    ERROR = 11
    CLEAR_CHANNEL = 12
    READ_NOTIFY = 15
    CREATE_CHAN = 18
    WRITE_NOTIFY = 19
    CLIENT_NAME = 20
    HOST_NAME = 21
    ACCESS_RIGHTS = 22
    ECHO = 23
    CREATE_CH_FAIL = 26
    SERVER_DISCONN = 27


class BadFrameError(ValueError):
    """Bytes that are no Channel Access, or more of it than is taken."""


class Frame:
    """One message. `raw` is all of it as it came; `payload` is what follows the header."""

    __slots__ = ("command", "count", "dtype", "p1", "p2", "payload", "raw")

    def __init__(
        self, header: tuple[int, int, int, int], count: int, payload: bytes, raw: bytes
    ) -> None:
        self.command, self.dtype, self.p1, self.p2 = header
        self.count = count
        self.payload = payload
        self.raw = raw


class FrameReader:
    """Cuts a stream into frames; a payload over `limit` bytes is refused before it is held."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._buffer += data

    @property
    def waiting(self) -> int:
        """How many bytes are held that make no frame yet, or were not asked for."""
        return len(self._buffer)

    def frames(self, most: int) -> Iterator[Frame]:
        """At most `most` of the whole frames that are here. Raises BadFrameError."""
        buffer, start = self._buffer, 0
        try:
            for _ in range(most):
                end, frame = self._next(start)
                if frame is None:
                    return
                start = end
                yield frame
        finally:
            del buffer[:start]

    def _next(self, start: int) -> tuple[int, Frame | None]:
        buffer = self._buffer
        held = len(buffer) - start
        body = start + HEADER.size
        if held < HEADER.size:
            return start, None
        command, size, dtype, count, p1, p2 = HEADER.unpack_from(buffer, start)
        if size == _LARGE_SIZE and count == 0:
            if held < HEADER.size + _LARGE.size:
                return start, None
            size, count = _LARGE.unpack_from(buffer, body)
            body += _LARGE.size
        if size > self._limit:
            raise BadFrameError(f"a payload of {size} bytes, more than {self._limit}")
        end = body + size
        if len(buffer) < end:
            return start, None
        raw = bytes(buffer[start:end])
        return end, Frame((command, dtype, p1, p2), count, raw[body - start :], raw)


def pack(
    command: int, dtype: int = 0, count: int = 0, p1: int = 0, p2: int = 0, payload: bytes = b""
) -> bytes:
    """One message; the payload is padded to 8 bytes."""
    payload += bytes(-len(payload) % 8)
    size = len(payload)
    if size >= _LARGE_SIZE or count > 0xFFFF:  # noqa: PLR2004  (what 16 bits hold)
        head = HEADER.pack(command, _LARGE_SIZE, dtype, 0, p1, p2) + _LARGE.pack(size, count)
    else:
        head = HEADER.pack(command, size, dtype, count, p1, p2)
    return head + payload


def text_payload(text: str | bytes) -> bytes:
    """`text` with its closing zero."""
    return (text.encode() if isinstance(text, str) else text) + b"\0"


def text_of(payload: bytes) -> bytes:
    """The text of a payload, up to its closing zero."""
    return payload.partition(b"\0")[0]
