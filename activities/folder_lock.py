"""One execution at a time in a folder, across processes and days."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.folder import disk, write_whole
from runpermit.errors import InvalidRequestError, ServiceUnavailableError
from runpermit.models.wire import Message

_NAME = ".lock"


class Holder(Message):
    """The execution that works in a folder; `suffix` is what its files end with."""

    workflow_id: str
    first_run_id: str
    suffix: str


async def take(folder: Path, workflow_id: str, first_run_id: str, client: Client) -> Holder:
    """Lock `folder` for one execution, as often as it asks.

    A lock whose execution has ended (it was terminated, say) is taken over. Raises
    InvalidRequestError that names the holder where another execution runs in the folder.
    """
    present = _read(folder)
    others = present is not None and not _is(present, workflow_id, first_run_id)
    if present is not None and others and await _is_running(present, client):
        raise InvalidRequestError(
            f"existing_execution_folder: {folder} is in use by execution "
            f"{present.workflow_id} until that ends.",
            "existing_execution_folder",
        )
    with _guarded(folder):
        again = _read(folder)
        if again is not None and _is(again, workflow_id, first_run_id):
            return again
        if again != present:
            raise ServiceUnavailableError(
                f"{folder} was just taken by another execution.", "folder"
            )
        mine = Holder(
            workflow_id=workflow_id, first_run_id=first_run_id, suffix=_next_suffix(folder)
        )
        write_whole(folder / _NAME, mine.model_dump_json())
        return mine


def free(folder: Path, workflow_id: str, first_run_id: str) -> None:
    """Give up the lock, where it is this execution's."""
    with _guarded(folder):
        present = _read(folder)
        if present is not None and _is(present, workflow_id, first_run_id):
            with disk(folder):
                (folder / _NAME).unlink()


def _is(holder: Holder, workflow_id: str, first_run_id: str) -> bool:
    return (holder.workflow_id, holder.first_run_id) == (workflow_id, first_run_id)


def _next_suffix(folder: Path) -> str:
    number = 1
    while (folder / f"request{_suffix(number)}.json").exists():
        number += 1
    return _suffix(number)


def _suffix(number: int) -> str:
    return "" if number == 1 else f"-{number}"


def _read(folder: Path) -> Holder | None:
    try:
        return Holder.model_validate_json((folder / _NAME).read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError):
        raise InvalidRequestError(
            f"existing_execution_folder: {folder / _NAME} can't be read. Remove it if no execution "
            "uses the folder.",
            "existing_execution_folder",
        ) from None


async def _is_running(holder: Holder, client: Client) -> bool:
    handle = client.get_workflow_handle(
        holder.workflow_id, first_execution_run_id=holder.first_run_id
    )
    try:
        description = await handle.describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise ServiceUnavailableError(
            f"Temporal does not tell whether execution {holder.workflow_id} still runs: {error}",
            "temporal",
        ) from None
    same = description.raw_description.workflow_execution_info.first_run_id == holder.first_run_id
    return description.status is WorkflowExecutionStatus.RUNNING and same


@contextlib.contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    """Keep other workers of this host out while the lock file is read and written."""
    with disk(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
