"""Where an execution stands."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from runpermit.models.analysis import AnalysisResult
from runpermit.models.approval import DecisionRecord, PendingApproval, PendingRestore
from runpermit.models.notebooks import PythonExecutionContext
from runpermit.models.request import PythonExecutionRequest
from runpermit.models.result import PythonServiceResult
from runpermit.models.wire import STATE_BYTES, Message
from runpermit.models.writes import WritesSoFar
from runpermit.text import bounded

_KEPT_TRACEBACK = 500
_LONG_TRACEBACK = 1000


class Stage(StrEnum):
    """What an execution is doing, or how it ended."""

    PREPARING = "preparing"
    GENERATING = "generating"
    ANALYSING = "analysing"
    REHEARSING = "rehearsing"
    AWAITING_APPROVAL = "awaiting_approval"
    EXECUTING = "executing"
    APPLYING = "applying"
    VERIFYING = "verifying"
    AWAITING_RESTORE = "awaiting_restore"
    RESTORING = "restoring"
    HOST_UNREACHABLE = "host_unreachable"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self in FINAL_STAGES


FINAL_STAGES = frozenset(
    {Stage.SUCCEEDED, Stage.FAILED, Stage.REJECTED, Stage.EXPIRED, Stage.STOPPED}
)


class ExecutionError(Message):
    """One failed attempt, as the next generation is told of it.

    `error_type` is one of generation, analysis, syntax, execution, system, revision.
    """

    error_type: str
    error_message: str
    failed_code: str | None = None
    traceback: str | None = None
    attempt_number: int = 1
    stage: str = ""
    analysis_issues: list[str] = []

    def to_prompt_text(self) -> str:
        """The failure in words for a model; a long traceback keeps its head and tail."""
        parts = [f"**Attempt {self.attempt_number} - {self.stage.upper()} FAILED**"]
        parts.append(f"Error type: {self.error_type}\nError: {self.error_message}")
        if self.analysis_issues:
            parts.append("Issues:\n" + "\n".join(f"- {issue}" for issue in self.analysis_issues))
        if self.traceback:
            parts.append(f"Traceback:\n{_shortened(self.traceback)}")
        if self.failed_code:
            parts.append(f"Code that failed:\n{self.failed_code}")
        return "\n\n".join(parts)


class StageChange(Message):
    """When an execution came to a stage, and with which attempt."""

    stage: Stage
    attempt: int
    at: datetime
    note: str = ""


class PythonExecutionState(BaseModel):
    """Everything about an execution, from its request to its result."""

    model_config = ConfigDict(extra="forbid")

    request: PythonExecutionRequest | None = None
    capability_context_data: dict[str, Any] | None = None
    generation_attempt: int = 0
    error_chain: list[ExecutionError] = []
    current_stage: Stage = Stage.PREPARING
    requires_approval: bool | None = None
    approval_interrupt_data: PendingApproval | None = None
    pending_restore: PendingRestore | None = None
    approval_result: DecisionRecord | None = None
    approved: bool | None = None
    generated_code: str | None = None
    analysis_result: AnalysisResult | None = None
    analysis_failed: bool | None = None
    execution_failed: bool | None = None
    execution_result: PythonServiceResult | None = None
    execution_folder: PythonExecutionContext | None = None
    code_generator_metadata: dict[str, Any] | None = None
    is_successful: bool = False
    is_failed: bool = False
    failure_reason: str | None = None
    stages: list[StageChange] = []
    decisions: list[DecisionRecord] = []

    def fitting(self) -> "PythonExecutionState":
        """This state in at most 1 MB: what the folder holds as well is left out first."""
        droppable: tuple[dict[str, Any], ...] = (
            {"capability_context_data": None},
            {"error_chain": [_shorter(error, 2048) for error in self.error_chain]},
            {"approval_interrupt_data": None},
            {"execution_result": None},
            {"request": None},
            {"error_chain": [_shorter(error, 256) for error in self.error_chain]},
            {"analysis_result": None},
            {"generated_code": None},
        )
        state = self
        for update in droppable:
            if len(state.model_dump_json().encode()) <= STATE_BYTES:
                break
            state = state.model_copy(update=update)
        return state


def _shortened(traceback: str) -> str:
    if len(traceback) <= _LONG_TRACEBACK:
        return traceback
    return f"{traceback[:_KEPT_TRACEBACK]}\n...\n{traceback[-_KEPT_TRACEBACK:]}"


def _shorter(error: ExecutionError, limit: int) -> ExecutionError:
    return error.model_copy(
        update={
            "error_message": bounded(error.error_message, limit),
            "failed_code": bounded(error.failed_code or "", limit) or None,
            "traceback": bounded(error.traceback or "", limit) or None,
            "analysis_issues": [bounded(issue, limit) for issue in error.analysis_issues[:5]],
        }
    )


class RunProgress(Message):
    """What a running step tells with each heartbeat. `elapsed` in seconds; `writes` of its code."""

    elapsed: float
    stdout_tail: str = ""
    writes: WritesSoFar | None = None


class Memo(Message):
    """What lists and people see of an execution without any worker; 2 KB in all.

    `approvals` of the `persons` that it needs were given. `state_unknown`: nobody could tell what
    it wrote, and `question` says so.
    """

    stage: Stage
    attempt: int = 0
    question: str = ""
    first_writes: list[str] = []
    sha256: str = ""
    host: str = ""
    request_sha256: str = ""
    requester: str = ""
    asked_at: datetime | None = None
    approvals: int = 0
    persons: int = 1
    state_unknown: bool = False
