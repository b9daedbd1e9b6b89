"""The journal's files: one a UTC month, only ever appended to, and by one gate at a time."""

import fcntl
import hashlib
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gate.journal.chain import START, Link, decode

_NAME = re.compile(r"\d{4}-\d{2}\.jsonl")
_CHUNK = 64 * 1024


def journal_files(directory: Path) -> list[Path]:
    """The files of the journal in their order. Raises OSError where there is no such folder."""
    return sorted(file for file in directory.iterdir() if _NAME.fullmatch(file.name))


@dataclass(frozen=True)
class End:
    """Where the journal ended: its last whole record, and the files that keep torn lines after."""

    link: Link
    torn: list[str]


class JournalFiles:
    """The open journal in `directory`, which is made where it is missing.

    Raises BlockingIOError where another gate has it, OSError where it can't be written, and
    ValueError where the last record does not follow the one before it.
    """

    def __init__(self, directory: Path, month: str) -> None:
        _make(directory)
        self.directory = directory
        self.unsynced_since: float | None = None
        # The folder itself is locked: its descriptor also makes new names in it durable.
        self._folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.end = self._recover()
            newest = max((file.stem for file in journal_files(directory)), default=month)
            self._begin(max(newest, month))
        except BaseException:
            os.close(self._folder)
            raise

    def append(self, month: str, lines: bytes) -> None:
        """Append whole lines; all of them or, where the disk fails, none. Raises OSError."""
        # A clock that was set back never reopens an older file: the chain runs through them all.
        if month > self._month:
            self.sync()
            os.close(self._file)
            self._begin(month)
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(lines)
        self.unsynced_since = self.unsynced_since or time.monotonic()

    def sync(self) -> None:
        """Make durable what was appended. Raises OSError."""
        if self.unsynced_since is not None:
            os.fdatasync(self._file)
            self.unsynced_since = None

    def close(self) -> None:
        """Let another gate have the journal."""
        os.close(self._file)
        os.close(self._folder)

    def _begin(self, month: str) -> None:
        path = self.directory / f"{month}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._size = os.fstat(self._file).st_size
        self._month = month
        os.fsync(self._folder)

    def _recover(self) -> End:
        """Find the last whole record, and cut off what a crash left behind it."""
        files = journal_files(self.directory)
        lines: list[bytes] = []
        torn = b""
        for file in reversed(files):
            found, rest = _last_lines(file)
            if file == files[-1]:
                torn = rest
            elif rest:
                raise ValueError(f"{file.name} ends in the middle of a line, and is not the last")
            lines = found + lines
            if len(lines) > 1:
                break
        link = _last_link(lines[-2:])
        # A torn line's own file has the number of the record that will tell of it: a crash in
        # between leaves a file without a record, which the next opening finds and tells of.
        name = f"torn-{link.seq + 1}-"
        if torn:
            kept = self.directory / f"{name}{hashlib.sha256(torn).hexdigest()[:8]}"
            _write_durably(kept, torn)
            os.fsync(self._folder)
            _cut(files[-1], len(torn))
        return End(link, sorted(file.name for file in self.directory.glob(f"{name}*")))


def _last_link(lines: list[bytes]) -> Link:
    link: Link | None = None
    for line in lines:
        _, link = decode(line, link)
    return link or START


def _last_lines(file: Path) -> tuple[list[bytes], bytes]:
    """The last two whole lines of `file`, or fewer, and what stands behind the last newline."""
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        reach = _CHUNK
        while True:
            opened.seek(max(size - reach, 0))
            *lines, rest = opened.read().split(b"\n")
            # The first of the lines that were read may be half of one.
            if reach >= size or len(lines) > 2:  # noqa: PLR2004
                return lines[-2:], rest
            reach *= 4


def _make(directory: Path) -> None:
    if directory.is_dir():
        return
    directory.mkdir(mode=0o700, parents=True)
    parent = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _write_durably(file: Path, content: bytes) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _cut(file: Path, count: int) -> None:
    with file.open("r+b") as opened:
        opened.truncate(opened.seek(0, os.SEEK_END) - count)
        os.fsync(opened.fileno())
