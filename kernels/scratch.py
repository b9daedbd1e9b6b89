"""The kernels' folder of one worker under /tmp; those of workers that are gone are removed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from runpermit.errors import ContainerConfigurationError

# Whatever TMPDIR says: the path of a unix socket has 107 bytes.
ROOT = Path("/tmp")  # noqa: S108  (each worker makes a folder of its own in it)
PREFIX = "runpermit-kernels-"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A fresh folder, locked as long as this process lives, which others may pass through.

    Raises ContainerConfigurationError where none can be made.
    """
    _remove_stale()
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=ROOT))
    except OSError as error:
        raise ContainerConfigurationError(
            f"Kernels need a folder in {ROOT}, and none can be made: {error.strerror}. Under "
            "systemd, a unit with ProtectSystem=strict needs PrivateTmp=yes, too."
        ) from error
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Not before it is locked: until then nobody may take it for stale.
        folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_stale() -> None:
    for folder in ROOT.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                status = os.fstat(lock)
                if status.st_uid == os.geteuid() and status.st_mode & 0o777 == 0o711:  # noqa: PLR2004
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
