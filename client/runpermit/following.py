"""Follows an execution through outages: looks at it again and again, tells what is new."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from pydantic import ValidationError
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus

from runpermit.errors import ServiceUnavailableError
from runpermit.models import PythonExecutionState, RunProgress, Stage
from runpermit.payloads import data_converter
from runpermit.progress import ProgressEvent, ProgressKind, Tracker
from runpermit.text import one_line
from runpermit.waiting import memo_of

_FIRST_PAUSE = 0.3
_LONGEST_PAUSE = 1.0


class Followed(Protocol):
    """What is asked of an execution to follow it."""

    async def describe(self) -> WorkflowExecutionDescription:
        """What Temporal knows; raises ServiceUnavailableError in an outage."""

    async def state(self) -> PythonExecutionState:
        """What the workflow knows; raises ServiceUnavailableError where no worker answers."""


async def follow(execution: Followed) -> AsyncIterator[ProgressEvent]:
    """The events of `execution` until its end; see Execution.progress."""
    tracker = Tracker()
    run_id = ""
    seen: tuple[int, WorkflowExecutionStatus | None] | None = None
    outage = ""
    pause = _FIRST_PAUSE
    while True:
        events: list[ProgressEvent] = []
        described: WorkflowExecutionDescription | None = None
        state: PythonExecutionState | None = None
        try:
            described = await execution.describe()
            if run_id and described.run_id != run_id:
                tracker, seen = Tracker(), None
                yield _notice(f"The execution was reset and starts over as run {described.run_id}.")
            run_id = described.run_id
            # Whatever the workflow does lengthens its history: no worker is asked while it waits.
            look = (described.history_length, described.status)
            if look != seen:
                state = await execution.state()
                events += tracker.look(state)
                seen = look
            # After the stages: what was printed belongs to the last of them.
            events += await _printed(tracker, described)
            back = "" if not outage else "Answers again."
            outage = ""
        except ServiceUnavailableError as away:
            back = "" if outage == away.service else away.message
            outage = away.service
        if back:
            yield _notice(back)
        for event in events:
            yield event
        if described is not None and _is_closed(described):
            for event in await _ending(described, state):
                yield event
            return
        pause = _FIRST_PAUSE if events else min(pause * 1.2, _LONGEST_PAUSE)
        await asyncio.sleep(pause)


async def _printed(
    tracker: Tracker, described: WorkflowExecutionDescription
) -> list[ProgressEvent]:
    """What the running steps printed, by their latest heartbeats, and why they are tried again."""
    events = []
    for step in described.raw_description.pending_activities:
        if step.attempt > 1 and step.last_failure.message:
            name, why = step.activity_type.name, one_line(step.last_failure.message, 300)
            events += tracker.retried(step.activity_id, step.attempt, f"{name} failed: {why}")
        if not step.heartbeat_details.payloads:
            continue
        [details, *_] = await data_converter.decode(step.heartbeat_details.payloads)
        try:
            progress = RunProgress.model_validate(details)
        except ValidationError:
            continue
        events += tracker.hear((step.activity_id, step.attempt), progress)
    return events


async def _ending(
    described: WorkflowExecutionDescription, state: PythonExecutionState | None
) -> list[ProgressEvent]:
    """The last events; where no worker tells the state, the memo has the final stage."""
    if state is not None:
        stage, attempt, text = (
            state.current_stage,
            state.generation_attempt,
            state.failure_reason or "",
        )
    else:
        memo = memo_of(await described.memo())
        stage, attempt, text = (memo.stage, memo.attempt, "") if memo else (Stage.PREPARING, 0, "")
    if not stage.is_final:
        status = described.status.name.lower() if described.status else "closed"
        text = text or f"Temporal ended it at stage {stage}: {status}"
        return [_event(ProgressKind.END, None, attempt, described, text)]
    end = _event(ProgressKind.END, stage, attempt, described, text)
    return [end] if state else [_event(ProgressKind.STAGE, stage, attempt, described), end]


def _event(
    kind: ProgressKind,
    stage: Stage | None,
    attempt: int,
    described: WorkflowExecutionDescription,
    text: str = "",
) -> ProgressEvent:
    return ProgressEvent(
        kind=kind, stage=stage, attempt=attempt, at=described.close_time, text=text
    )


def _is_closed(described: WorkflowExecutionDescription) -> bool:
    return described.status is not WorkflowExecutionStatus.RUNNING


def _notice(text: str) -> ProgressEvent:
    return ProgressEvent(kind=ProgressKind.NOTICE, text=text)
