"""The activities' typed interfaces and messages: what the workflow may ask of the outside.

The functions here are names and types alone; `activities/` implements them under the same names.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from temporalio import activity

from runpermit.limits import LimitsStatus
from runpermit.models import (
    AnalysisResult,
    DecisionRecord,
    ExecutionError,
    ExecutionMode,
    GateStatus,
    Isolation,
    NotebookAttempt,
    Plan,
    PlannedWrite,
    PythonExecutionRequest,
    PythonExecutionSuccess,
    Revision,
    Stage,
    WriteReport,
)
from runpermit.models.wire import Message

# The verdict on a run that is proven never to have begun.
NOT_OPENED = "not_opened"


class Timeouts(Message):
    """The deployment's time limits, in seconds; see the settings table in the README."""

    run: float = 600
    generation: float = 120
    heartbeat: float = 15
    retry: float = 300
    host: float = 600


class Folder(Message):
    """Where an execution keeps everything, as its host sees it.

    `suffix` is empty, or `-2`, `-3`, … where an execution continues in an earlier one's folder.
    """

    path: Path
    link: str
    suffix: str
    request_sha256: str

    @property
    def attempts(self) -> Path:
        """The notebooks of the way."""
        return self.path / "attempts"

    @property
    def work(self) -> Path:
        """The only part that the code can write."""
        return self.path / "work"

    @property
    def figures(self) -> Path:
        """The figures of the last run."""
        return self.path / f"figures{self.suffix}"

    @property
    def notebook(self) -> Path:
        """The final notebook."""
        return self.path / f"notebook{self.suffix}.ipynb"

    @property
    def journal(self) -> Path:
        """The copy of what the gate recorded of this execution."""
        return self.path / f"journal{self.suffix}.jsonl"

    def link_to(self, file: Path) -> str:
        """The URL of a file of this folder."""
        return f"{self.link}/{file.relative_to(self.path).as_posix()}"


class Deployment(Message):
    """What the deployment says at the start of an execution: the workflow's only settings."""

    host: str
    folder: Folder
    notebooks: list[NotebookAttempt]
    writes_enabled: bool
    control_system_type: str
    approval_mode: str
    question_expiry: float | None
    timeouts: Timeouts
    isolation: Isolation
    limits: LimitsStatus
    gate: GateStatus
    search_attributes: list[str]
    web_ui: str
    foreign_details: bool
    address: str
    namespace: str


class PrepareTask(Message):
    """`started_at` is the workflow's start, in UTC."""

    request: PythonExecutionRequest
    workflow_id: str
    first_run_id: str
    started_at: datetime


class GenerateTask(Message):
    """One program is wanted; `errors` tell what became of those before it."""

    folder: Folder
    attempt: int
    errors: list[ExecutionError]
    notebook: NotebookAttempt


class GeneratedCode(Message):
    """A program, and in JSON how it came about: generator, model, response id, token counts."""

    code: str
    metadata: dict[str, Any] = {}


class AnalyseTask(Message):
    """A program to look at, and the write that the gate refused it in a read-only run."""

    code: str
    refused: PlannedWrite | None = None


class Analysed(Message):
    """What the analysis says, and the writes that it can see with their channels' limits."""

    analysis: AnalysisResult
    plan: Plan


class DraftTask(Message):
    """A program that will wait for approval."""

    folder: Folder
    notebook: NotebookAttempt
    code: str


class InForce(Message):
    """What the gate enforces, and the worker's own limits, by which a plan is explained."""

    gate: GateStatus
    limits: LimitsStatus


class Stock(InForce):
    """What an approval binds beside the program: the gate's limits, input files, packages."""

    inputs: dict[str, str]
    kernel_environment: str


class Draft(Stock):
    """The stock as it was taken for a question.

    `run_id` is the run's as it stood when it was asked: a reset replays it, and has another.
    """

    run_id: str


class ExecuteTask(Message):
    """Run `code` once, `timeout` seconds at most; `approved` is what a person said yes to."""

    folder: Folder
    code: str
    approved: Revision | None
    attempt: int
    mode: ExecutionMode
    timeout: float
    notebook: NotebookAttempt


class Executed(Message):
    """A run that succeeded: what it left, how it was isolated, what it wrote and how sure that is.

    `writes` is None where it could only read; `in_force` is as it was when it began.
    """

    success: PythonExecutionSuccess
    isolation: Isolation
    in_force: InForce
    writes: WriteReport | None
    warnings: list[str]


class ConcludeTask(Message):
    """The end of an execution: what the final notebook tells.

    `writes_known`: whether the gate told of an apply that may have written, as `wrote` says.
    """

    folder: Folder
    workflow_id: str
    first_run_id: str
    stage: Stage
    code: str | None
    model: dict[str, Any]
    attempt: int
    isolation: Isolation
    plan: Plan | None
    warnings: list[str]
    decisions: list[DecisionRecord]
    result: PythonExecutionSuccess | None
    failure: str | None
    wrote: bool
    writes_known: bool
    notebook: NotebookAttempt


@activity.defn(name="prepare")
async def prepare(task: PrepareTask) -> Deployment:
    """Make the folder, store the request, tell the deployment. Idempotent."""
    raise NotImplementedError


@activity.defn(name="generate")
async def generate(task: GenerateTask) -> GeneratedCode:
    """Have the model write a program. Repeatable."""
    raise NotImplementedError


@activity.defn(name="analyse")
async def analyse(task: AnalyseTask) -> Analysed:
    """Parse a program and find the channels that it uses. Pure."""
    raise NotImplementedError


@activity.defn(name="draft")
async def draft(task: DraftTask) -> Draft:
    """Write down the code that will wait, and take stock of what its approval binds. Idempotent."""
    raise NotImplementedError


@activity.defn(name="execute")
async def execute(task: ExecuteTask) -> Executed:
    """Run a program that reads. Repeatable; a write that it tries ends it."""
    raise NotImplementedError


@activity.defn(name="apply")
async def apply(task: ExecuteTask) -> Executed:
    """Run an approved program that writes. At most once: one attempt, never retried."""
    raise NotImplementedError


@activity.defn(name="conclude")
async def conclude(task: ConcludeTask) -> None:
    """Write the final notebook and free the folder. Idempotent."""
    raise NotImplementedError
