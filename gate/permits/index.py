"""Every permit that was ever consumed or voided, and every execution stopped, from the journal."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gate.journal.files import journal_files
from gate.journal.permit_story import CLOSED, CONSUMED, VOID, PermitStory
from runpermit.errors import ContainerConfigurationError
from runpermit.text import one_line

STOPPED, LEFT_ALONE = "stopped", "left_alone"
_EVENTS = (CONSUMED, VOID, STOPPED, CLOSED, "restore_started", "restore_ended", LEFT_ALONE)
_MARKS = tuple(f'"{event}"'.encode() for event in _EVENTS)
_MONTH = len("2026-01")
# Clocks of hosts differ by so much at most.
CLOCKS_APART = timedelta(seconds=60)


@dataclass(frozen=True)
class UsedPermit:
    """A permit that is not to be used again: since when, and by whom, or why it is void."""

    execution: str
    at: str
    session: str = ""
    first_run_id: str = ""
    void: str = ""

    @property
    def why(self) -> str:
        """Why nothing is written with it, in a sentence."""
        if self.session:
            return (
                f"This permit was used at {self.at}, in session {self.session}: nothing is written "
                "again"
            )
        return f"This permit is void since {self.at}: {self.void}. Nothing is written with it"


@dataclass(frozen=True)
class Stopped:
    """Who stopped an execution, when and why.

    `first_run_id` tells which one of that id; empty where nobody knew it: a later one may have the
    same id, so that it holds for what was approved until then. None in journals of gates that did
    not tell them apart: it holds for all.
    """

    at: str
    operator: str
    reason: str
    first_run_id: str | None

    def holds_for(self, first_run_id: str, decided_at: datetime) -> bool:
        """Whether a permit of that execution, given then, is refused."""
        if self.first_run_id != "":
            return self.first_run_id in {None, first_run_id}
        if decided_at.tzinfo is None:
            return True
        return decided_at <= datetime.fromisoformat(self.at) + CLOCKS_APART

    def why(self, execution: str) -> str:
        """Why nothing is written for `execution`, in a sentence."""
        because = f": {self.reason}" if self.reason else ""
        return (
            f"The execution {one_line(execution, 100)} was stopped at {self.at} by "
            f"{self.operator or 'somebody'}{because}. Nothing is written for it any more"
        )


class PermitIndex:
    """What the journal in `directory` says of permits. Reads its files, and never writes them.

    unfinished: of each execution the permits that did not come to their end, and may have written.
    restored: executions of which something was put back, or was to be.
    left_alone: executions of which somebody said that the machine stays as they left it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.used: dict[str, UsedPermit] = {}
        self._stopped: dict[tuple[str, str | None], Stopped] = {}
        self.unfinished: dict[str, list[str]] = {}
        self.restored: set[str] = set()
        self.left_alone: set[str] = set()

    @classmethod
    def scan(cls, directory: Path) -> "PermitIndex":
        """Read the whole journal once.

        Raises ContainerConfigurationError where a record of a permit can't be read: what is not
        known to be unused is not used.
        """
        index = cls(directory)
        try:
            for file in journal_files(directory):
                index._scan(file)
        except (OSError, ValueError, KeyError) as error:
            raise ContainerConfigurationError(
                f"The journal {directory} (gate.journal) does not tell which permits were used: "
                f"{error}. Keep the folder as evidence, find out what changed it, and only then "
                "give the gate a new one."
            ) from None
        return index

    def take(self, record: Mapping[str, Any]) -> None:
        """Remember what a record says of a permit or of a stop. Raises KeyError."""
        match record["event"]:
            case "permit_consumed":
                session = str(record["session"])
                # Gates before 0.1 did not tell it: what they left can't be put back by a signature.
                first = str(record.get("first_run_id", ""))
                used = UsedPermit(record["execution"], record["at"], session, first)
                self.consumed(record["permit"], used)
            case "permit_void":
                used = UsedPermit(record["execution"], record["at"], void=record["reason"])
                self.used.setdefault(record["permit"], used)
            case "stopped":
                who, why = str(record["operator"]), str(record["reason"])
                self.stop(
                    record["execution"],
                    Stopped(record["at"], who, why, record.get("first_run_id")),
                )
            case "session_closed" if "permit" in record:
                # What it does not say may have been written.
                completed = record.get("completed") is True
                self.closed(record["permit"], record.get("forwarded", 1), completed=completed)
            case "restore_started":
                self.restored.add(record["execution"])
            case "restore_ended" if record.get("complete") is True:
                self.unfinished.pop(record["execution"], None)
            case "left_alone":
                self.unfinished.pop(record["execution"], None)
                self.left_alone.add(record["execution"])

    def stop(self, execution: str, stopped: Stopped) -> None:
        """From now on nothing is written for what `stopped` holds for. Raises ValueError."""
        datetime.fromisoformat(stopped.at)
        self._stopped[execution, stopped.first_run_id] = stopped

    def stopped(self, execution: str, first_run_id: str, decided_at: datetime) -> Stopped | None:
        """What forbids a permit of that execution, given then; None where nothing does."""
        known = (self._stopped.get((execution, run)) for run in (None, "", first_run_id))
        return next((one for one in known if one and one.holds_for(first_run_id, decided_at)), None)

    def consumed(self, permit: str, used: UsedPermit) -> None:
        """A session uses `permit`: from now on its execution may have left something changed."""
        self.used[permit] = used
        self.unfinished.setdefault(used.execution, []).append(permit)
        self.left_alone.discard(used.execution)

    def last_first_run(self, execution: str) -> str | None:
        """The first run id of the last of `execution` that could write, None without one."""
        found = (
            used.first_run_id
            for used in reversed(self.used.values())
            if used.execution == execution and used.session
        )
        return next(found, None)

    def closed(self, permit: str, forwarded: int, *, completed: bool) -> None:
        """The session of `permit` has ended: what counts is the last one that wrote."""
        used = self.used.get(permit)
        permits = self.unfinished.get(used.execution, []) if used is not None else []
        if permit not in permits:
            return
        if not forwarded:
            permits.remove(permit)
        elif completed:
            permits.clear()
        else:
            permits[:] = permits[permits.index(permit) :]

    def story(self, permit: str) -> PermitStory:
        """All that the files say of `permit` now. It takes its time: call it aside.

        Raises OSError, and ValueError where a record of it can't be read.
        """
        story = PermitStory()
        used = self.used.get(permit)
        if used is None:
            return story
        sought = permit.encode()
        # No month before that of the record itself; one after it where the clock was set back.
        files = [f for f in journal_files(self.directory) if f.stem >= used.at[:_MONTH]]
        for line in _lines(files):
            if sought in line:
                _tell(story, permit, json.loads(line))
            elif story.consumed is not None and _starts_a_gate(line):
                break  # the gate that used it has ended, however it did
            if story.ended:
                break
        story.end()
        return story

    def _scan(self, file: Path) -> None:
        with file.open("rb") as opened:
            for number, line in enumerate(opened, 1):
                if not any(mark in line for mark in _MARKS):
                    continue
                try:
                    self.take(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise ValueError(f"{file}, line {number}: {error!r}") from None


def _starts_a_gate(line: bytes) -> bool:
    """By the record itself: a channel that a plan names may hold any text."""
    return b'"gate_started"' in line and json.loads(line)["event"] == "gate_started"


def _tell(story: PermitStory, permit: str, record: Mapping[str, Any]) -> None:
    """Add a record, if it is one of `permit`. Raises ValueError where it is malformed."""
    try:
        if record["permit"] == permit:
            story.take(record)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a record of the permit is malformed: {error!r}") from None


def _lines(files: list[Path]) -> Iterator[bytes]:
    """The whole lines; the one behind them is being written."""
    for file in files:
        with file.open("rb") as opened:
            yield from (line for line in opened if line.endswith(b"\n"))
