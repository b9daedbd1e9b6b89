"""Walking a folder that a program could write: bounded, by open folders, links not followed."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

MAX_ENTRIES = 10_000
MAX_DEPTH = 16


class UnsafeFileError(ValueError):
    """A file that the host does not take: a link, no regular file, too large."""


class Stamp(NamedTuple):
    """By which a file is known to be unchanged. `changed` in ns."""

    size: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """That of a file with this status."""
        return cls(status.st_size, status.st_mtime_ns)


Stamps = dict[str, Stamp]


class Entry(NamedTuple):
    """What lies in a tree and is no folder; `name` is valid in the open `folder`, for now."""

    path: str
    name: str
    folder: int
    status: os.stat_result

    @property
    def kind(self) -> str:
        """What it is, in a word; "file" for a regular file without other names."""
        mode = self.status.st_mode
        if stat.S_ISREG(mode):
            return "file" if self.status.st_nlink == 1 else "hard link"
        kinds = {stat.S_IFLNK: "link", stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}
        return kinds.get(stat.S_IFMT(mode), "device")


class Tree:
    """What lies below an open folder, at most `MAX_ENTRIES` and `MAX_DEPTH` levels of it.

    `cut` says, after a walk, what was not walked.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._left = MAX_ENTRIES
        self.cut: list[str] = []

    def __iter__(self) -> Iterator[Entry]:
        """Files before folders, each in the order of their names."""
        return self._walk(self._top, "", 0)

    def _walk(self, folder: int, path: str, depth: int) -> Iterator[Entry]:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in islice(entries, self._left + 1))
        if len(names) > self._left:
            self.cut.append(f"More than {MAX_ENTRIES} files: those from {path + names[0]!a} on.")
            return
        self._left -= len(names)
        folders = []
        for name in names:
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append(name)
            else:
                yield Entry(path + name, name, folder, status)
        for name in folders:
            if depth == MAX_DEPTH:
                self.cut.append(f"{path + name!a}: more than {MAX_DEPTH} folders deep.")
                return
            try:
                with opened_folder(name, folder) as below:
                    yield from self._walk(below, f"{path}{name}/", depth + 1)
            except OSError as error:
                self.cut.append(f"{path + name!a}: {error.strerror}.")


@contextmanager
def opened_folder(path: str | Path, within: int | None = None) -> Iterator[int]:
    """Open a folder, which is no link. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_file(name: str, folder: int, limit: int) -> Iterator[int]:
    """Open the regular file `name` of at most `limit` bytes, which no other name leads to.

    Raises UnsafeFileError for anything else, OSError where it can't be opened.
    """
    # O_NONBLOCK: opening a named pipe would wait for its writer.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise UnsafeFileError(f"{name!a} is no regular file of its own")
        if status.st_size > limit:
            raise UnsafeFileError(f"{name!a} has more than {limit} bytes")
        yield descriptor
    finally:
        os.close(descriptor)
