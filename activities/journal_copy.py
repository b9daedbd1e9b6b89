"""The folder's copy of what the gate told: a JSON line for each write and refusal.

Where there were more than the gate tells, a last line says how many of them are here.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from activities.folder import FILE_MODE, disk
from gate.client import Opening, Refusal, SessionReport
from runpermit.models import WriteRecord
from runpermit.models.writes import share
from runpermit.plans.words import value_text

_Record = TypeVar("_Record", WriteRecord, Refusal)

_WRITE, _REFUSED, _LEFT_OUT = "write", "refused", "left_out"


def copy_journal(path: Path, opening: Opening, report: SessionReport) -> None:
    """Append what happened in a session, in its order; earlier attempts stay above."""
    entries = [
        {"record": kind} | record.model_dump(mode="json")
        for kind, records in ((_WRITE, report.writes), (_REFUSED, report.refusals))
        for record in records
    ]
    entries.sort(key=lambda entry: entry["at"])
    entries += [{"record": _LEFT_OUT, "reason": reason} for reason in _left_out(report)]
    if not entries:
        return
    about = _about(opening) | {"session": report.session}
    entries = [about | entry for entry in entries]
    lines = [json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries]
    with disk(path):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, FILE_MODE), "wb") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())


def _about(opening: Opening) -> dict[str, Any]:
    """Whose session it was; a permit is named by its id, since it holds code and plan."""
    about = opening.model_dump(mode="json", exclude={"permit", "guards"})
    return about | ({"permit": opening.permit.id} if opening.permit else {})


def _left_out(report: SessionReport) -> Iterator[str]:
    """What to say of the writes, and of the refusals, where the gate does not tell all of them."""
    if len(report.writes) < report.forwarded:
        yield share(len(report.writes), report.forwarded)
    if len(report.refusals) < report.refused:
        yield f"{len(report.refusals)} of {report.refused} refusals are here"


def copied_writes(path: Path) -> list[WriteRecord]:
    """The writes of all attempts, in their order; lines that can't be read are left out."""
    return list(_copied(path, _WRITE, WriteRecord))


def copied_refusals(path: Path) -> list[str]:
    """The refused writes of all attempts in words, likewise."""
    return [
        f"{refused.channel} = {value_text(refused.value)}: {refused.violation_type}, "
        f"{refused.reason}"
        for refused in _copied(path, _REFUSED, Refusal)
    ]


def _copied(path: Path, kind: str, model: type[_Record]) -> Iterator[_Record]:
    with disk(path), contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if entry["record"] == kind:
                    yield model.model_validate({name: entry[name] for name in model.model_fields})
