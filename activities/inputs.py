"""The input files of an execution, as an approval binds them."""

import hashlib
import json
import os
import stat
from pathlib import Path

from activities.folder import disk

_LISTED_INPUTS = 200


def manifest(work: Path) -> dict[str, str]:
    """The sha256 of every input file; one digest over all where they are many."""
    digests: dict[str, str] = {}
    with disk(work):
        for path in sorted(work.rglob("*")):
            digest = _digest(path)
            if digest is not None:
                digests[path.relative_to(work).as_posix()] = digest
    if len(digests) <= _LISTED_INPUTS:
        return digests
    whole = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    return {f"{len(digests)} files": whole}


def _digest(path: Path) -> str | None:
    """The sha256 of a regular file; links and devices, which code may have left, are no inputs."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return hashlib.file_digest(file, "sha256").hexdigest()
