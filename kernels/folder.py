"""Results and images out of a folder that a program could write: nothing in there is trusted."""

import hashlib
import os
import re
from typing import Any

from kernels.interface import Figure
from kernels.tree import Stamp, Stamps, Tree, UnsafeFileError, opened_file
from runpermit.serialization import MAX_FILE_BYTES, strict_json_loads

MAX_FIGURES = 50
MAX_FIGURE_BYTES = 16 * 1024 * 1024
MAX_ALL_FIGURES_BYTES = 64 * 1024 * 1024

_SUFFIXES = (".png", ".jpg", ".jpeg")
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def read_bounded(name: str, limit: int, *, folder: int) -> bytes:
    """Read the regular file `name` in the open `folder`, links not followed.

    Raises UnsafeFileError for anything else and for more than `limit` bytes, OSError otherwise.
    """
    with (
        opened_file(name, folder, limit) as descriptor,
        os.fdopen(descriptor, "rb", closefd=False) as file,
    ):
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UnsafeFileError(f"{name!a} has more than {limit} bytes")
    return content


def take_results(work: int, name: str, sha256: str) -> dict[str, Any]:
    """Read the results in the open folder `work`. Raises ValueError or OSError if unfit."""
    content = read_bounded(name, MAX_FILE_BYTES, folder=work)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{name} is not what the kernel reported")
    results = strict_json_loads(content)
    if not isinstance(results, dict):
        raise ValueError(f"{name} holds no JSON object")  # noqa: TRY004  (bad data, no bad call)
    return results


def take_figures(work: int, before: Stamps) -> tuple[list[Figure], list[str]]:
    """Collect the image files that a run left or changed, and say why others were left out."""
    figures: list[Figure] = []
    left_out: list[str] = []
    room = MAX_ALL_FIGURES_BYTES
    for path, name, folder, status in Tree(work):
        if not name.lower().endswith(_SUFFIXES) or before.get(path) == Stamp.of(status):
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


def _plain_name(path: str) -> str:
    """Make a name for the figures' folder: no separators, nothing hidden, nothing long."""
    stem, _, suffix = re.sub(r"[^A-Za-z0-9._-]", "_", path).rpartition(".")
    return f"{stem.lstrip('.')[:80] or 'figure'}.{suffix.lower()}"
