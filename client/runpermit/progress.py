"""What an execution tells while it goes on, worked out from successive looks at it (pure)."""

from collections import Counter
from datetime import datetime
from enum import StrEnum

from runpermit.models import (
    PendingApproval,
    PendingRestore,
    PythonExecutionState,
    RunProgress,
    Stage,
    WritesSoFar,
)
from runpermit.models.wire import Message
from runpermit.plans.telling import Telling
from runpermit.plans.words import name_text, value_text
from runpermit.waiting import WAITING_STAGES

# At the end; more of them are told by their count.
_TOLD_WRITES = 5


class ProgressKind(StrEnum):
    """What a ProgressEvent is about."""

    STAGE = "stage"
    ATTEMPT = "attempt"
    STDOUT = "stdout"
    WRITES = "writes"
    QUESTION = "question"
    NOTICE = "notice"
    END = "end"


class ProgressEvent(Message):
    """One thing that happened.

    stage: `stage` was reached, `text` is its note. attempt: program number `attempt` is made.
    stdout: `text` was printed by the code. writes: `writes` are what it wrote so far, of which
    `text` tells one, or how many there are where many came at once. question: an operator is
    asked; `pending` is the question, or `restore` the one about a machine left changed, None where
    it is too large to travel with the state. notice: `text` tells of an outage, or its end. end:
    nothing follows; `stage` is the final one, where it is known, `text` the reason of a failure.
    """

    kind: ProgressKind
    stage: Stage | None = None
    attempt: int = 0
    at: datetime | None = None
    text: str = ""
    writes: WritesSoFar | None = None
    pending: PendingApproval | None = None
    restore: PendingRestore | None = None

    def __str__(self) -> str:
        """What happened, for people: one line, but for what the code printed."""
        match self.kind:
            case ProgressKind.STAGE | ProgressKind.END | ProgressKind.QUESTION:
                return f"{self.stage or self.kind} {self.text}".strip()
            case ProgressKind.ATTEMPT:
                return f"attempt {self.attempt}"
        return self.text


class Tracker:
    """Remembers what was told, so that nothing is told twice."""

    def __init__(self) -> None:
        self._stages = 0
        self._attempt = 0
        self._step: tuple[str, int] | None = None
        self._tail = ""
        self._wrote = 0
        self._tries: dict[str, int] = {}
        self._telling: Telling | None = None

    def look(self, state: PythonExecutionState) -> list[ProgressEvent]:
        """What is new in `state`."""
        if state.approval_interrupt_data is not None:
            self._telling = Telling(state.approval_interrupt_data.plan)
        events = []
        news = state.stages[self._stages :]
        for change in news:
            if change.attempt > self._attempt:
                if self._attempt:
                    self._tail, self._wrote = "", 0  # another program's
                self._attempt = change.attempt
                events.append(
                    ProgressEvent(kind=ProgressKind.ATTEMPT, attempt=change.attempt, at=change.at)
                )
            if change.stage is Stage.SUCCEEDED:
                events += self._rest_of_stdout(state)
                events += self._rest_of_writes(state)
            events.append(
                ProgressEvent(
                    kind=ProgressKind.STAGE,
                    stage=change.stage,
                    attempt=change.attempt,
                    at=change.at,
                    text=change.note,
                )
            )
        self._stages = max(self._stages, len(state.stages))
        if news and news[-1].stage in WAITING_STAGES:
            asked = news[-1]
            approval = asked.stage is Stage.AWAITING_APPROVAL
            events.append(
                ProgressEvent(
                    kind=ProgressKind.QUESTION,
                    stage=asked.stage,
                    attempt=asked.attempt,
                    at=asked.at,
                    pending=state.approval_interrupt_data if approval else None,
                    restore=None if approval else state.pending_restore,
                )
            )
        return events

    def hear(self, step: tuple[str, int], progress: RunProgress) -> list[ProgressEvent]:
        """What a running step's code did since its last heartbeat; `step` is its id and try."""
        if not progress.stdout_tail and progress.writes is None:
            return []
        if step != self._step:
            self._step, self._tail, self._wrote = step, "", 0
        new = _added(self._tail, progress.stdout_tail)
        self._tail = progress.stdout_tail
        written = self._written(progress.writes) if progress.writes is not None else []
        return self._printed(new) + written

    def retried(self, step: str, attempt: int, why: str) -> list[ProgressEvent]:
        """That a step is tried again, once for each try."""
        if self._tries.get(step, 1) >= attempt:
            return []
        self._tries[step] = attempt
        return [ProgressEvent(kind=ProgressKind.NOTICE, text=f"Try {attempt}: {why}")]

    def _rest_of_stdout(self, state: PythonExecutionState) -> list[ProgressEvent]:
        """What the last run printed after its last heartbeat."""
        if state.execution_result is None:
            return []
        stdout = state.execution_result.execution_result.stdout
        # A result's output has no empty lines at its ends; what was heard while it ran may have.
        heard = self._tail.strip("\n")
        _, found, after = stdout.rpartition(heard) if heard else ("", "", stdout)
        if not found:
            return self._printed(stdout)
        return self._printed(after.removeprefix("\n") if self._tail.endswith("\n") else after)

    def _rest_of_writes(self, state: PythonExecutionState) -> list[ProgressEvent]:
        """What the last run wrote after its last heartbeat."""
        report = state.execution_result.writes if state.execution_result is not None else None
        if report is None or report.forwarded != len(report.writes):
            return []  # the result tells of them
        outcomes = Counter(record.outcome for record in report.writes)
        last = report.writes[-_TOLD_WRITES:]
        return self._written(WritesSoFar.of(last, outcomes, report.forwarded))

    def _written(self, writes: WritesSoFar) -> list[ProgressEvent]:
        """One event for each write of which something became known, or one for many."""
        new, self._wrote = writes.known - self._wrote, writes.known
        if new <= 0 or not writes.last:
            return []
        if new <= len(writes.last):
            told = self._telling.write if self._telling else str
            texts = [told(record) for record in writes.last[-new:]]
        else:
            last, telling = writes.last[-1], self._telling
            value = telling.value(last.channel, last.new) if telling else value_text(last.new)
            texts = [f"{writes}, last {name_text(last.channel)} = {value}"]
        return [
            ProgressEvent(kind=ProgressKind.WRITES, attempt=self._attempt, text=text, writes=writes)
            for text in texts
        ]

    def _printed(self, text: str) -> list[ProgressEvent]:
        if not text:
            return []
        return [ProgressEvent(kind=ProgressKind.STDOUT, attempt=self._attempt, text=text)]


def _added(before: str, now: str) -> str:
    """What `now`, the tail of a growing text, has beyond `before`, an earlier tail of it."""
    if now.startswith(before):
        return now[len(before) :]
    for length in range(min(len(before), len(now)), 0, -1):
        if before.endswith(now[:length]):
            return now[length:]
    return f"\n…\n{now}"
