"""The activities' typed interfaces and messages: what the workflow may ask of the outside.

The functions here are names and types alone; `activities/` implements them under the same names.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from temporalio import activity

from runpermit.limits import Condition, LimitsStatus
from runpermit.models import (
    AnalysisResult,
    ApprovalRule,
    DecisionRecord,
    ExecutionError,
    GateStatus,
    Isolation,
    LeftChange,
    NotebookAttempt,
    Permit,
    Plan,
    PythonExecutionRequest,
    PythonExecutionSuccess,
    RestoreReport,
    Stage,
    Statement,
    Verdict,
    VerifiedChannel,
    WriteReport,
)
from runpermit.models.wire import Message


class Timeouts(Message):
    """The deployment's time limits, in seconds; see the settings table in the README."""

    run: float = 600
    generation: float = 120
    heartbeat: float = 15
    retry: float = 300
    host: float = 600
    rehearsal: float = 120
    verdict: float = 3600


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
    def plan(self) -> Path:
        """The plan that was asked about last."""
        return self.path / f"plan{self.suffix}.json"

    @property
    def applied(self) -> Path:
        """What an apply told of its end, for whoever asks again."""
        return self.path / f"applied{self.suffix}.json"

    @property
    def journal(self) -> Path:
        """The copy of what the gate recorded of this execution."""
        return self.path / f"journal{self.suffix}.jsonl"

    def link_to(self, file: Path) -> str:
        """The URL of a file of this folder."""
        return f"{self.link}/{file.relative_to(self.path).as_posix()}"


class Deployment(Message):
    """What the deployment says at the start of an execution: the workflow's only settings.

    `rule` says whose yes counts; `requesters` asked for the execution, and may not approve it.
    """

    host: str
    folder: Folder
    notebooks: list[NotebookAttempt]
    writes_enabled: bool
    control_system_type: str
    approval_mode: str
    rule: ApprovalRule = ApprovalRule()
    requesters: list[str] = []
    question_expiry: float | None
    plan_max_age: float
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
    """A program to look at."""

    code: str


class RehearseTask(Message):
    """A program to try, for `timeout` seconds at most.

    `guards` must hold when it is applied, for which it will have `run_seconds`.
    """

    folder: Folder
    code: str
    attempt: int
    timeout: float
    run_seconds: float
    guards: list[Condition]
    notebook: NotebookAttempt


class DraftTask(Message):
    """A program that will wait for approval, and what it would write."""

    folder: Folder
    notebook: NotebookAttempt
    code: str
    plan: Plan


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


class RunTask(Message):
    """Run a program once, `timeout` seconds at most."""

    folder: Folder
    attempt: int
    timeout: float
    notebook: NotebookAttempt


class ExecuteTask(RunTask):
    """Run `code`, which only reads."""

    code: str


class ApplyTask(RunTask):
    """Run what a person said yes to: the code of `permit`, while `guards` hold."""

    permit: Permit
    guards: list[Condition]

    @property
    def code(self) -> str:
        """What was approved, and nothing else."""
        return self.permit.revision.code


class Executed(Message):
    """A run that succeeded: what it left, and how it was isolated.

    `in_force` is as it was when it began.
    """

    success: PythonExecutionSuccess
    isolation: Isolation
    in_force: InForce
    warnings: list[str]


class SettleTask(Message):
    """An apply is over, or lost: the gate's journal is to say what was written.

    `permit` is the id of its permit, `execution` whose it was.
    """

    folder: Folder
    permit: str
    execution: str


class Settled(Message):
    """What was written, from the journal alone; `reason` says how the session ended.

    `executed` is what the apply would have told, where it completed and left it in the folder.
    `read_at` is when the gate read what `changes` say.
    """

    verdict: Verdict
    writes: WriteReport
    changes: list[LeftChange] = []
    read_at: datetime | None = None
    reason: str = ""
    executed: Executed | None = None


class VerifyTask(Message):
    """The writes with `permit` are done: whether the devices followed is to be seen."""

    folder: Folder
    permit: str
    execution: str


class Verified(Message):
    """Each channel that was written, after its device had time to follow."""

    channels: list[VerifiedChannel]


class ReachTask(Message):
    """Whether the host of `execution` answers at all."""

    execution: str


class Reached(Message):
    """A gate that answers: `inhibited` says why it refuses every write now."""

    inhibited: str | None = None


class RestoreTask(Message):
    """Put back what the writes of `execution` left changed, or leave it, as `operator` wants it.

    `signature` is over `statement`, where the answer was signed.
    """

    folder: Folder
    execution: str
    operator: str | None
    statement: Statement | None = None
    signature: str | None = None


class SignalReceived(Message):
    """The `number`th signal of this `name` that a run received, from 1."""

    name: str
    number: int


class IdentifyTask(Message):
    """Somebody said `statement`: by a signature, or else by a signal of the run `run_id`."""

    statement: Statement
    operator: str | None
    signature: str | None
    run_id: str
    signal: SignalReceived | None


class Identified(Message):
    """Whose word it is, or why nobody is proven to have said it.

    `key`: the fingerprint of what signed, where it was signed.
    """

    name: str | None = None
    key: str | None = None
    problem: str = ""


class ConcludeTask(Message):
    """The end of an execution: what the final notebook tells.

    `wrote`: whether it may have written; `verdict` is the word of the gate's journal on that, where
    it was asked for.
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
    verdict: Verdict | None = None
    writes: WriteReport | None = None
    verified: list[VerifiedChannel] = []
    changes: list[LeftChange] = []
    restored: RestoreReport | None = None
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
async def analyse(task: AnalyseTask) -> AnalysisResult:
    """Parse a program and find the channels that it uses. Pure."""
    raise NotImplementedError


@activity.defn(name="rehearse")
async def rehearse(task: RehearseTask) -> Plan:
    """Run a program whose writes go nowhere, and tell what it would write. Repeatable."""
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
async def apply(task: ApplyTask) -> None:
    """Run an approved program that writes; `settle` tells what came of it.

    At most once: it has one attempt, and the gate takes its permit once.
    """
    raise NotImplementedError


@activity.defn(name="settle")
async def settle(task: SettleTask) -> Settled:
    """Fence an apply, wait for its writes in flight, and tell what was written. Idempotent."""
    raise NotImplementedError


@activity.defn(name="reach")
async def reach(task: ReachTask) -> Reached:
    """Tell that worker and gate of a host answer, and whether that writes. Reads alone."""
    raise NotImplementedError


@activity.defn(name="verify")
async def verify(task: VerifyTask) -> Verified:
    """Wait for the devices to follow, and tell whether they did. Idempotent."""
    raise NotImplementedError


@activity.defn(name="restore")
async def restore(task: RestoreTask) -> RestoreReport:
    """Put back what was left changed. Resumable: what is back already is not written again."""
    raise NotImplementedError


@activity.defn(name="leave")
async def leave(task: RestoreTask) -> None:
    """Tell the gate that what was left changed is left so on purpose. Idempotent."""
    raise NotImplementedError


@activity.defn(name="identify")
async def identify(task: IdentifyTask) -> Identified:
    """Tell who answered a question. Reads alone."""
    raise NotImplementedError


@activity.defn(name="conclude")
async def conclude(task: ConcludeTask) -> None:
    """Write the final notebook and free the folder. Idempotent."""
    raise NotImplementedError
