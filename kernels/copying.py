"""The files that a program left, copied into the execution's `work` folder."""

import contextlib
import os
import unicodedata
from pathlib import Path

from kernels.inside.report import RESULTS_FILE
from kernels.tree import Entry, Stamp, Stamps, Tree, UnsafeFileError, opened_file, opened_folder

MAX_FILES = 1000

_FILE_MODE, _FOLDER_MODE = 0o640, 0o750
_TEMPORARY = ".runpermit-part"
_PIECE = 1 << 20
_SENTENCES = 50


def copy_out(source: int, work: Path, before: Stamps, *, largest: int, room: int) -> list[str]:
    """Copy what is new or changed in the open folder `source`; what was left out, and why.

    A file has at most `largest` bytes, all together `room`. Raises OSError where `work` can't be
    written at all.
    """
    left_out: list[str] = []
    copied = 0
    tree = Tree(source)
    with opened_folder(work) as target:
        for entry in tree:
            if entry.path == RESULTS_FILE or before.get(entry.path) == Stamp.of(entry.status):
                continue
            if copied == MAX_FILES:
                left_out.append(f"More than {MAX_FILES} files: {entry.path!a} and further ones.")
                break
            try:
                room -= _copy(entry, target, min(largest, room))
                copied += 1
            except UnsafeFileError as error:
                left_out.append(f"{entry.path!a} was not kept: {error}.")
            except OSError as error:
                left_out.append(f"{entry.path!a} was not kept: {error.strerror}.")
    left_out += [f"Not kept: {sentence}" for sentence in tree.cut]
    if len(left_out) > _SENTENCES:
        left_out[_SENTENCES:] = [f"And {len(left_out) - _SENTENCES} files more were not kept."]
    return left_out


def _copy(entry: Entry, target: int, limit: int) -> int:
    """Copy one file below the open folder `target`; its bytes."""
    if entry.kind != "file":
        raise UnsafeFileError(f"it is a {entry.kind}")
    if not _is_plain(entry.path):
        raise UnsafeFileError("its name has characters that can't be shown")
    *folders, name = entry.path.split("/")
    if name == _TEMPORARY:
        raise UnsafeFileError("this name is ours")
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(opened_file(entry.name, entry.folder, limit))
        for folder in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, _FOLDER_MODE, dir_fd=target)
            target = stack.enter_context(opened_folder(folder, target))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_TEMPORARY, dir_fd=target)
        try:
            size = _write(source, target, limit)
            # It takes the place of a link, and never goes where that leads.
            os.rename(_TEMPORARY, name, src_dir_fd=target, dst_dir_fd=target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(_TEMPORARY, dir_fd=target)
            raise
    return size


def _write(source: int, folder: int, limit: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    size = 0
    with os.fdopen(os.open(_TEMPORARY, flags, _FILE_MODE, dir_fd=folder), "wb") as file:
        while size <= limit and (piece := os.read(source, min(_PIECE, limit + 1 - size))):
            file.write(piece)
            size += len(piece)
        os.fchmod(file.fileno(), _FILE_MODE)
    if size > limit:
        raise UnsafeFileError(f"it has more than {limit} bytes")
    return size


def _is_plain(path: str) -> bool:
    # Cc, Cf: control and bidirectional characters; Cs: bytes that are no UTF-8.
    return not any(unicodedata.category(character) in {"Cc", "Cf", "Cs"} for character in path)
