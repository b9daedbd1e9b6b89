"""The input files of an execution, as an approval binds them."""

import hashlib
import json
import os
import stat
from pathlib import Path

from activities.folder import disk

_LISTED_BYTES = 32 * 1024  # they travel with every question


def manifest(work: Path) -> dict[str, str]:
    """The sha256 of every input file; one digest over all where they are many.

    The names are their paths below `work`; backslashes are doubled, and bytes that are no UTF-8
    shown as escapes.
    """
    digests: dict[str, str] = {}
    with disk(work):
        for path in sorted(work.rglob("*")):
            digest = _digest(path)
            if digest is not None:
                digests[_name(path.relative_to(work))] = digest
    text = json.dumps(digests, sort_keys=True).encode()
    if len(text) <= _LISTED_BYTES:
        return digests
    return {f"{len(digests)} files": hashlib.sha256(text).hexdigest()}


def _name(path: Path) -> str:
    return os.fsencode(path).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def _digest(path: Path) -> str | None:
    """The sha256 of a regular file; links and devices, which code may have left, are no inputs."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        # Python refuses to open a folder as a file, so it comes after the look.
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    finally:
        os.close(descriptor)
