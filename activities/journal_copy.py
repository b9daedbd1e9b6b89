"""The folder's copy of what the gate recorded: one JSON line for each write and refusal."""

import contextlib
import json
import os
from pathlib import Path

from activities.folder import FILE_MODE, disk
from gate.client import Opening, SessionReport
from runpermit.models import WriteRecord

_WRITE, _REFUSED = "write", "refused"


def copy_journal(path: Path, opening: Opening, report: SessionReport) -> None:
    """Append what happened in a session, in its order; earlier attempts stay above."""
    about = opening.model_dump(mode="json") | {"session": report.session}
    entries = [
        about | {"record": kind} | record.model_dump(mode="json")
        for kind, records in ((_WRITE, report.writes), (_REFUSED, report.refusals))
        for record in records
    ]
    if not entries:
        return
    entries.sort(key=lambda entry: entry["at"])
    lines = [json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries]
    with disk(path):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, FILE_MODE), "wb") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())


def copied_writes(path: Path) -> list[WriteRecord]:
    """The writes of all attempts, in their order; lines that can't be read are left out."""
    writes = []
    with disk(path), contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if entry["record"] == _WRITE:
                    fields = {name: entry[name] for name in WriteRecord.model_fields}
                    writes.append(WriteRecord.model_validate(fields))
    return writes
