"""What lies in a folder that a program could write."""

import os
import stat
from pathlib import Path

from tests.security.catalogue import Effect
from tests.security.findings import Finding

MOST_FILES, DEEPEST, LARGEST = 20_000, 100, 1 << 27


def survey(folder: Path) -> list[Finding]:
    """Whether it is more than a host can bear, and what nobody may make."""
    count = deepest = largest = 0
    found = []
    for top, _, names in os.walk(folder):
        deepest = max(deepest, top.count("/") - str(folder).count("/"))
        count += len(names)
        if count > MOST_FILES or deepest > DEEPEST:
            break
        for name in names:
            try:
                status = Path(top, name).lstat()
            except FileNotFoundError:  # a thread of the program still goes on
                continue
            largest = max(largest, status.st_size)
            if status.st_mode & 0o6000:
                found.append(Finding(Effect.RIGHTS, f"{name!a} makes who runs it its owner"))
            if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                found.append(Finding(Effect.RIGHTS, f"{name!a} is a device"))
    if count > MOST_FILES or deepest > DEEPEST or largest > LARGEST:
        what = f"{count} files, {deepest} folders deep, the largest has {largest} bytes"
        found.append(Finding(Effect.TOOK, what))
    return found


def texts(folder: Path) -> str:
    """All that lies in files of a folder, its links not followed."""
    return "".join(
        path.read_bytes().decode("latin-1")
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20
    )
