"""What the host takes out of a folder that a program could write: it trusts nothing in there."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kernels.interface import Figure
from runpermit.serialization import MAX_FILE_BYTES, strict_json_loads

MAX_FIGURES = 50
MAX_FIGURE_BYTES = 16 * 1024 * 1024
MAX_ALL_FIGURES_BYTES = 64 * 1024 * 1024
MAX_ENTRIES = 10_000

_SUFFIXES = (".png", ".jpg", ".jpeg")
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


class UnsafeFileError(ValueError):
    """A file that the host does not take: a link, no regular file, too large."""


class _Stamp(NamedTuple):
    inode: int
    size: int
    changed: int


Snapshot = dict[str, _Stamp]


def read_bounded(path: str, limit: int, *, folder: int) -> bytes:
    """Read the regular file `path` in the open `folder`, links not followed.

    Raises UnsafeFileError for anything else and for more than `limit` bytes, OSError otherwise.
    """
    # O_NONBLOCK: opening a named pipe would wait for its writer.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise UnsafeFileError(f"{path!a} is no regular file of its own")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UnsafeFileError(f"{path!a} has more than {limit} bytes")
    return content


def take_results(work: Path, name: str, sha256: str) -> dict[str, Any]:
    """Read the results in `work`/`name` and remove it. Raises ValueError or OSError if unfit."""
    folder = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        content = read_bounded(name, MAX_FILE_BYTES, folder=folder)
        os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{name} is not what the kernel reported")
    results = strict_json_loads(content)
    if not isinstance(results, dict):
        raise ValueError(f"{name} holds no JSON object")  # noqa: TRY004  (bad data, no bad call)
    return results


def snapshot(work: Path) -> Snapshot:
    """List the image files that are there before a run."""
    return {path: stamp for path, stamp, _, _ in _images(work)}


def take_figures(work: Path, before: Snapshot) -> tuple[list[Figure], list[str]]:
    """Collect the image files that a run left or changed, and say why others were left out."""
    figures: list[Figure] = []
    left_out: list[str] = []
    room = MAX_ALL_FIGURES_BYTES
    for path, stamp, name, folder in _images(work):
        if before.get(path) == stamp:
            continue
        if len(figures) >= MAX_FIGURES:
            left_out.append(f"More than {MAX_FIGURES} image files: {path!a} and further ones.")
            break
        try:
            content = read_bounded(name, min(MAX_FIGURE_BYTES, room), folder=folder)
        except (OSError, UnsafeFileError) as error:
            left_out.append(f"Image file {path!a} was not collected: {error}.")
            continue
        if not content.startswith(_SIGNATURES):
            left_out.append(f"Image file {path!a} was not collected: neither PNG nor JPEG.")
            continue
        room -= len(content)
        figures.append(Figure(_plain_name(path), content))
    return figures, left_out[:MAX_FIGURES]


def with_unique_names(figures: list[Figure]) -> tuple[Figure, ...]:
    """Rename figures where needed: a name that occurs again gets a number before its suffix."""
    used: set[str] = set()
    unique = []
    for figure in figures:
        name, count = figure.name, 2
        while name.lower() in used:
            stem, _, suffix = figure.name.rpartition(".")
            name, count = f"{stem}_{count}.{suffix}", count + 1
        used.add(name.lower())
        unique.append(Figure(name, figure.content))
    return tuple(unique)


def _images(work: Path) -> Iterator[tuple[str, _Stamp, str, int]]:
    """Relative path, stamp, name and open folder of every image file, in order of their paths."""
    entries = 0
    for top, folders, files, folder in os.fwalk(work, follow_symlinks=False):
        folders.sort()
        entries += len(folders) + len(files)
        if entries > MAX_ENTRIES:
            return
        for name in sorted(files):
            if not name.lower().endswith(_SUFFIXES):
                continue
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError:
                continue
            path = str((Path(top) / name).relative_to(work))
            stamp = _Stamp(status.st_ino, status.st_size, status.st_mtime_ns)
            yield path, stamp, name, folder


def _plain_name(path: str) -> str:
    """Make a name for the figures' folder: no separators, nothing hidden, nothing long."""
    stem, _, suffix = re.sub(r"[^A-Za-z0-9._-]", "_", path).rpartition(".")
    return f"{stem.lstrip('.')[:80] or 'figure'}.{suffix.lower()}"
