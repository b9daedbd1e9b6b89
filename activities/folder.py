"""The folder of an execution: names, whole-file writes, and the errors of a disk."""

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from runpermit.errors import (
    ContainerConfigurationError,
    InvalidRequestError,
    PythonExecutorException,
    ServiceUnavailableError,
)
from runpermit.models import PythonExecutionRequest
from runpermit.text import one_line
from workflows.steps import Folder, PrepareTask

_FOLDER_MODE = 0o750
FILE_MODE = 0o640
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOENT,
    errno.ELOOP,
}


def new_folder_path(root: Path, task: PrepareTask) -> Path:
    """`<root>/YYYY-MM/<name>_<8 hex>`: the same for the same execution, whenever asked."""
    identity = hashlib.sha256(f"{task.workflow_id}\0{task.first_run_id}".encode()).hexdigest()
    month = f"{task.started_at:%Y-%m}"
    return root / month / f"{task.request.execution_folder_name}_{identity[:8]}"


def existing_folder_path(root: Path, name: str) -> Path:
    """The folder that a request wants to continue in.

    Raises InvalidRequestError where it is no folder below the configured root, links resolved, or
    would share files with another execution.
    """
    field = "existing_execution_folder"
    try:
        path = (root / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "no such folder"
        raise InvalidRequestError(f"{field}: {one_line(name, 200)}: {reason}.", field) from None
    base = root.resolve()
    if base not in path.parents or not path.is_dir():
        raise InvalidRequestError(
            f"{field}: {one_line(name, 200)} is no folder below {base} (executions.root).", field
        )
    # The lock of a folder says nothing of the folders in it and around it.
    around = (folder for folder in path.parents if base in folder.parents)
    if any((folder / "request.json").exists() for folder in around) or any(
        path.glob("*/request.json")
    ):
        raise InvalidRequestError(
            f"{field}: {one_line(name, 200)} lies in the folder of another execution or around "
            "one. Name an execution's own folder, or one without executions.",
            field,
        )
    # Where they lead, code and notebooks would be written.
    for place in ("attempts", "work"):
        if (path / place).is_symlink():
            raise InvalidRequestError(
                f"{field}: {one_line(name, 200)}: {place} is a link. Make it a folder.", field
            )
    return path


def make_folders(*folders: Path) -> None:
    """Create folders with mode 0750, whatever the umask; those that are there stay as they are."""
    for folder in folders:
        with disk(folder):
            if folder.is_symlink():
                raise ContainerConfigurationError(
                    f"{folder} is a link, and nothing is written through links. Remove it."
                )
            if folder.is_dir():
                continue
            folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
            folder.chmod(_FOLDER_MODE)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name and rename it: nobody ever sees half of it.

    Raises ServiceUnavailableError for a full disk, ContainerConfigurationError for one that
    can't be written.
    """
    data = content.encode() if isinstance(content, str) else content
    with disk(path):
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(FILE_MODE)
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise


def load_request(folder: Folder) -> PythonExecutionRequest:
    """The request that Prepare stored, proven by its sha256.

    Raises ContainerConfigurationError where the file is gone or was changed.
    """
    path = folder.path / f"request{folder.suffix}.json"
    with disk(path):
        content = path.read_bytes()
    try:
        request = PythonExecutionRequest.model_validate_json(content)
    except ValueError:
        request = None
    if request is None or request.sha256 != folder.request_sha256:
        raise ContainerConfigurationError(
            f"{path} was changed since the execution started. Nothing but Runpermit may "
            "write there."
        )
    return request


@contextlib.contextmanager
def disk(path: Path) -> Iterator[None]:
    """Tell an operating system error about `path` as what it means for an execution."""
    try:
        yield
    except OSError as error:
        raise _disk_error(path, error) from error


def _disk_error(path: Path, error: OSError) -> PythonExecutorException:
    details = {"path": str(path), "errno": error.errno}
    what = f"{path}: {error.strerror or error}"
    if error.errno in _FULL:
        return ServiceUnavailableError(
            f"{what}. The disk is full: make room below executions.root.",
            "disk",
            technical_details=details,
        )
    if error.errno in _FORBIDDEN:
        return ContainerConfigurationError(
            f"{what}. The worker must be able to write below executions.root in runpermit.toml.",
            details,
        )
    return ServiceUnavailableError(f"{what}.", "disk", technical_details=details)
