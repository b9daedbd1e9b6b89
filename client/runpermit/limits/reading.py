"""Reading the limits file without ever waiting on it or filling the memory."""

import os
import stat
from pathlib import Path

MAX_BYTES = 32 * 1024 * 1024


def read_regular(path: Path) -> tuple[bytes, os.stat_result]:
    """The content of the file at `path`, and what it was like when opened.

    Raises OSError where it can't be read, ValueError where it is no regular file or is larger
    than MAX_BYTES.
    """
    # A pipe put in the file's place would block the opening for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES // 1024**2} MB")
    return content, found
