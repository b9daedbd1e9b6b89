"""The input files of an execution, as an approval binds them."""

import hashlib
import json
import os
import stat
from pathlib import Path

from activities.folder import disk
from runpermit.errors import InvalidRequestError

_LISTED_BYTES = 32 * 1024  # they travel with every question
_ENTRIES = 10_000
_BYTES = 1 << 30


def manifest(work: Path) -> dict[str, str]:
    """The sha256 of every input file; one digest over all where they are many.

    The names are their paths below `work`; backslashes are doubled, and bytes that are no UTF-8
    shown as escapes. Raises InvalidRequestError for what an approval can't bind: links, and more
    than 10,000 entries or 1 GiB.
    """
    digests: dict[str, str] = {}
    entries = size = 0
    with disk(work):
        for path in sorted(work.rglob("*")):
            entries += 1
            status = path.lstat()
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
            if stat.S_ISLNK(status.st_mode):
                raise _unbound(f"{_name(path.relative_to(work))} is a link")
            if entries > _ENTRIES or size > _BYTES:
                raise _unbound(f"more than {_ENTRIES} entries or {_BYTES >> 30} GiB")
            digest = _digest(path)
            if digest is not None:
                digests[_name(path.relative_to(work))] = digest
    text = json.dumps(digests, sort_keys=True).encode()
    if len(text) <= _LISTED_BYTES:
        return digests
    return {f"{len(digests)} files": hashlib.sha256(text).hexdigest()}


def _unbound(what: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The inputs in work/ can't be bound by an approval: {what}. Remove it, or use another "
        "folder.",
        "existing_execution_folder",
    )


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
