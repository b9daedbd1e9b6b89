"""A program's output, of which the host holds a bounded part."""

import asyncio
import contextlib
import os
from collections import deque

STDOUT_BYTES = 256 * 1024
LAST_WORDS_BYTES = 4096


class Output:
    """Takes text of any length piece by piece; `text` says how much of it was left out."""

    def __init__(self, limit: int = STDOUT_BYTES) -> None:
        self._half = limit // 2
        self._head = b""
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._total = 0

    def add(self, text: str) -> None:
        """Append `text`."""
        piece = text.encode("utf-8", "backslashreplace")
        self._total += len(piece)
        room = self._half - len(self._head)
        self._head += piece[:room]
        # Of one huge piece only its end can matter.
        rest = piece[room:][-self._half :]
        if rest:
            self._tail.append(rest)
            self._tail_bytes += len(rest)
        while self._tail_bytes - len(self._tail[0] if self._tail else b"") >= self._half:
            self._tail_bytes -= len(self._tail.popleft())

    @property
    def text(self) -> str:
        """Head and tail, or all where it was little."""
        tail = b"".join(self._tail)[-self._half :]
        left_out = self._total - len(self._head) - len(tail)
        if left_out == 0:
            return (self._head + tail).decode("utf-8", "replace")
        note = f"\n… {left_out} bytes left out …\n"
        return self._head.decode("utf-8", "ignore") + note + tail.decode("utf-8", "ignore")


class LastWords:
    """The end of what a process writes to `write_end`, read so that it never waits for us.

    Not the subprocess's own pipes: those, held open by a grandchild, would delay its end.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._tail = b""
        self._loop.add_reader(self._read_end, self._take)

    @property
    def text(self) -> str:
        """What it was so far, at most 4 KB."""
        with contextlib.suppress(BlockingIOError):
            while self._take():
                pass
        return self._tail.decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Read no more."""
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self.write_end)

    def _take(self) -> bool:
        piece = os.read(self._read_end, 64 * 1024)
        self._tail = (self._tail + piece)[-LAST_WORDS_BYTES:]
        return bool(piece)
