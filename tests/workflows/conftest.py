"""A time-skipping server, a real worker, and a script where a fault or a time is needed."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import (
    Interceptor,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from activities.analysis import Analysis
from activities.failures import FailureInterceptor
from activities.house import House
from gate.client import GateClient
from runpermit.config import ControlSystemSettings, Settings
from runpermit.errors import PythonExecutorException
from runpermit.failures import unwrap
from runpermit.limits import LimitsFile
from runpermit.models import (
    AnalysisResult,
    FollowOutcome,
    GateStatus,
    Isolation,
    LeftChange,
    Memo,
    PendingApproval,
    PendingRestore,
    Plan,
    PlanKind,
    PlannedChannel,
    PlannedWrite,
    PythonExecutionState,
    PythonExecutionSuccess,
    PythonServiceResult,
    RestoredChannel,
    RestoreOutcome,
    RestoreReport,
    Stage,
    Verdict,
    VerifiedChannel,
    WriteOutcome,
    WriteRecord,
    WriteReport,
)
from runpermit.names import TASK_QUEUE, host_queue
from runpermit.payloads import data_converter
from workflows.python_execution import PythonExecution
from workflows.steps import (
    AnalyseTask,
    ApplyTask,
    ConcludeTask,
    Deployment,
    Draft,
    DraftTask,
    Executed,
    ExecuteTask,
    Folder,
    GeneratedCode,
    GenerateTask,
    Identified,
    IdentifyTask,
    InForce,
    PrepareTask,
    Reached,
    ReachTask,
    RehearseTask,
    RestoreTask,
    RunTask,
    Settled,
    SettleTask,
    Timeouts,
    Verified,
    VerifyTask,
)

Step = Callable[[Any], Awaitable[Any]]

HOST = "testhost"
READ_AT = datetime(2026, 1, 1, 13, 28, 2, tzinfo=UTC)
_TEST_SERVERS_OWN = timedelta(days=3650)
_PROGRAMS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
OPEN_GATE = GateStatus(
    inhibited=None,
    writes=True,
    limits_error=None,
    limits_enabled=True,
    limits_sha256="",  # the script's own
    journal_protected=True,
)
CHANNEL = "SR:HCM1:SP"
LIMITS = {CHANNEL: {"min_value": -1, "max_value": 1, "units": "A"}}


class Programs:
    """The programs of the tests, by what they do."""

    read = 'results = {"current": read_channel("SR:BEAM:CURRENT")}\n'
    other_read = 'results = {"orbit": read_channel("SR:BPM1:X")}\n'
    write = 'write_channel("SR:HCM1:SP", 0.1)\nresults = {"done": True}\n'
    other_write = 'write_channel("SR:HCM1:SP", 0.2)\nresults = {"done": True}\n'
    beyond_limits = 'write_channel("SR:HCM1:SP", 5)\nresults = {}\n'
    no_python = "results = {'mean': (1.0 + 2.0}\n"


def planned(*values: float, live: float = 0.0, **fields: Any) -> Plan:
    """A plan that sets the corrector, which reads `live`, to `values` one after the other."""
    olds = [live, *values[:-1]]
    channel = PlannedChannel(
        channel=CHANNEL,
        units="A",
        live=live,
        writes=len(values),
        low=min(values, default=None),
        high=max(values, default=None),
        last=values[-1] if values else None,
        tolerance=0.01,
        min_value=-1,
        max_value=1,
        restorable=True,
    )
    known: dict[str, Any] = {
        "kind": PlanKind.COMPLETE if values else PlanKind.READS_ONLY,
        "writes": [
            PlannedWrite(channel=CHANNEL, old=old, new=new)
            for old, new in zip(olds, values, strict=False)
        ],
        "channels": [channel] if values else [],
    }
    return Plan(**(known | fields))


def told(verdict: Verdict, *changes: LeftChange, forwarded: int = 1, **fields: Any) -> Settled:
    """What the gate says of an apply."""
    record = WriteRecord(channel=CHANNEL, old=0.0, new=0.1, outcome=WriteOutcome.CONFIRMED)
    if verdict in {Verdict.NOT_OPENED, Verdict.NOTHING_FORWARDED, Verdict.UNKNOWN}:
        forwarded = 0
    journal = Path("/srv/executions/journal.jsonl")
    report = WriteReport.of([record] * forwarded, forwarded, journal)
    known = {"reason": "as the script has it", "read_at": READ_AT}
    return Settled(verdict=verdict, writes=report, changes=list(changes), **(known | fields))


def changed(**fields: Any) -> LeftChange:
    """The corrector as an apply left it."""
    known = {"channel": CHANNEL, "before": 0.0, "written": 0.1, "reads": 0.1}
    return LeftChange(**(known | fields))


class Script:
    """Stands in for the activities with faults and times; the analysis is the real one.

    `programs` and `runs` are answered one after the other, the last again and again: text or a
    result, an exception to raise, or an async function to await first. Approved writes are
    answered from `applies` where that holds anything. None is the usual answer: a rehearsal's one
    write, what became of the last apply, a device that followed, a channel that is back, whoever a
    signature says that it is by. `principals` are whom the server knows to have sent the signals.
    """

    planned = staticmethod(planned)
    told = staticmethod(told)
    changed = staticmethod(changed)

    def __init__(self, limits: Path) -> None:
        self.writes_enabled = True
        self.deployment: dict[str, Any] = {}
        self.preparations: list[Any] = [None]
        self.programs: list[Any] = [Programs.read]
        self.analyses: list[Any] = [None]
        self.runs: list[Any] = [{"done": True}]
        self.rehearsals: list[Any] = [None]
        self.applies: list[Any] = []
        self.verdicts: list[Any] = [None]
        self.reaches: list[Any] = [None]
        self.verifications: list[Any] = [None]
        self.restores: list[Any] = [None]
        self.leaves: list[Any] = [None]
        self.identities: list[Any] = [None]
        self.principals: list[str] = []
        self.drafts: list[Any] = [None]
        self.conclusions: list[Any] = [None]
        self.calls: list[tuple[str, Any]] = []
        self.gates: list[GateStatus] = [OPEN_GATE]
        self.limits = LimitsFile(limits)
        self._applied: Executed | None = None
        self._planned = 0

    def gate(self, when: int) -> GateStatus:
        """The gate's state when it is asked: the first, second, third of `gates`, or the last."""
        status = self.gates[min(when, len(self.gates) - 1)]
        own = self.limits.status().binds
        return status.model_copy(update={"limits_sha256": status.limits_sha256 or own})

    def tasks(self, *names: str) -> list[Any]:
        """The tasks that activities of these names were given, in their order."""
        return [task for name, task in self.calls if name in names]

    async def _next(self, name: str, task: Any, answers: list[Any]) -> Any:
        self.calls.append((name, task))
        answer = answers[min(len(self.tasks(name)), len(answers)) - 1]
        if callable(answer) and not isinstance(answer, type):
            answer = await cast("Step", answer)(task)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @activity.defn(name="prepare")
    async def prepare(self, task: PrepareTask) -> Deployment:
        await self._next("prepare", task, self.preparations)
        folder = Folder(
            path=Path("/srv/executions/2026-01") / task.request.execution_folder_name,
            link=f"http://notebooks/2026-01/{task.request.execution_folder_name}",
            suffix="",
            request_sha256=task.request.sha256,
        )
        values: dict[str, Any] = {
            "host": HOST,
            "folder": folder,
            "notebooks": [],
            "writes_enabled": self.writes_enabled,
            "control_system_type": "mock",
            "approval_mode": "control_writes",
            "foreign_details": False,
            "question_expiry": None,
            "plan_max_age": 900.0,
            "timeouts": Timeouts(),
            "isolation": Isolation.FULL,
            "gate": self.gate(0),
            "limits": self.limits.status().model_copy(update={"path": "/srv/limits.json"}),
            "search_attributes": [],
            "web_ui": "http://127.0.0.1:8233",
            "address": "",
            "namespace": "default",
        }
        return Deployment.model_validate(values | self.deployment)

    @activity.defn(name="analyse")
    async def analyse(self, task: AnalyseTask) -> AnalysisResult:
        await self._next("analyse", task, self.analyses)
        control = ControlSystemSettings(type="mock", writes_enabled=self.writes_enabled)
        house = House(
            settings=Settings(control_system=control),
            limits=self.limits,
            kernels=cast("Any", None),  # the analysis runs nothing
            gate=GateClient(Path("/nowhere")),
            generator=lambda: pytest.fail("the analysis generates nothing"),
            kernel_environment="",
            address="",
        )
        return await Analysis(house).analyse(task)

    @activity.defn(name="generate")
    async def generate(self, task: GenerateTask) -> GeneratedCode:
        code = await self._next("generate", task, self.programs)
        return GeneratedCode(code=code, metadata={"generator": "script"})

    @activity.defn(name="draft")
    async def draft(self, task: DraftTask) -> Draft:
        await self._next("draft", task, self.drafts)
        limits = self.limits.status().model_copy(update={"path": "/srv/limits.json"})
        run_id = activity.info().workflow_run_id or ""
        return Draft(
            run_id=run_id,
            inputs={},
            limits=limits,
            kernel_environment="python 3.11",
            gate=self.gate(1),
        )

    @activity.defn(name="rehearse")
    async def rehearse(self, task: RehearseTask) -> Plan:
        plan = await self._next("rehearse", task, self.rehearsals) or planned(0.1)
        # By the server's clock, which skips.
        at = plan.rehearsed_at or activity.info().started_time
        return plan.model_copy(update={"rehearsed_at": at})

    @activity.defn(name="execute")
    async def execute(self, task: ExecuteTask) -> Executed:
        return self._executed(task, await self._next("execute", task, self.runs))

    @activity.defn(name="apply")
    async def apply(self, task: ApplyTask) -> None:
        self._applied, self._planned = None, task.permit.revision.plan.count
        answer = await self._next("apply", task, self.applies or self.runs)
        self._applied = self._executed(task, answer)

    @activity.defn(name="settle")
    async def settle(self, task: SettleTask) -> Settled:
        answer: Settled | None = await self._next("settle", task, self.verdicts)
        if answer is not None:
            return answer
        if self._applied is None:
            return told(Verdict.NOTHING_FORWARDED)
        return told(Verdict.COMPLETED, changed(), forwarded=self._planned, executed=self._applied)

    @activity.defn(name="reach")
    async def reach(self, task: ReachTask) -> Reached:
        return await self._next("reach", task, self.reaches) or Reached()

    @activity.defn(name="verify")
    async def verify(self, task: VerifyTask) -> Verified:
        return await self._next("verify", task, self.verifications) or Verified(
            channels=[
                VerifiedChannel(
                    channel=CHANNEL,
                    written=0.1,
                    reads=0.1,
                    accepted=True,
                    outcome=FollowOutcome.FOLLOWED,
                )
            ]
        )

    @activity.defn(name="restore")
    async def restore(self, task: RestoreTask) -> RestoreReport:
        back = RestoredChannel(
            channel=CHANNEL, before=0.0, reads=0.0, outcome=RestoreOutcome.RESTORED, writes=1
        )
        return await self._next("restore", task, self.restores) or RestoreReport(
            channels=[back], operator=task.operator
        )

    @activity.defn(name="leave")
    async def leave(self, task: RestoreTask) -> None:
        await self._next("leave", task, self.leaves)

    @activity.defn(name="identify")
    async def identify(self, task: IdentifyTask) -> Identified:
        """Whose signature it says it is; of a signal, whoever the server is made to know."""
        found = await self._next("identify", task, self.identities)
        if found is not None:
            return cast("Identified", found)
        if task.signature is not None and task.signature.startswith("by "):
            name, _, key = task.signature.removeprefix("by ").partition(" with the key of ")
            return Identified(name=name, key=f"SHA256:{key or name}")
        if task.signature is None and task.signal is not None and self.principals:
            return Identified(name=self.principals[task.signal.number - 1])
        return Identified(problem="nobody")

    @activity.defn(name="conclude")
    async def conclude(self, task: ConcludeTask) -> None:
        await self._next("conclude", task, self.conclusions)

    def _executed(self, task: RunTask, answer: dict[str, Any] | Executed) -> Executed:
        if isinstance(answer, Executed):
            return answer
        return self.executed(task, answer)

    def executed(self, task: RunTask, results: dict[str, Any], **fields: Any) -> Executed:
        """A run that succeeded with `results`."""
        success = PythonExecutionSuccess(
            results=results,
            stdout="",
            execution_time=0.5,
            folder_path=task.folder.path,
            notebook_path=task.folder.notebook,
            notebook_link=task.folder.link_to(task.folder.notebook),
        )
        known: dict[str, Any] = {
            "success": success,
            "isolation": Isolation.FULL,
            "in_force": InForce(gate=self.gate(2), limits=self.limits.status()),
            "warnings": [],
        }
        return Executed(**(known | fields))

    def workers(self, client: Client, **options: Any) -> list[Worker]:
        """The worker of the shared queue, with `options`, and that of the host."""
        shared = Worker(
            client,
            task_queue=TASK_QUEUE,
            workflows=[PythonExecution],
            activities=[self.prepare, self.analyse],
            interceptors=[FailureInterceptor(), NoTimeoutsOfTheTestServer()],
            **options,
        )
        return [shared, self.host_worker(client)]

    def host_worker(self, client: Client) -> Worker:
        """The worker of the host alone."""
        here = [
            self.generate,
            self.rehearse,
            self.draft,
            self.execute,
            self.apply,
            self.settle,
            self.reach,
            self.verify,
            self.restore,
            self.leave,
            self.identify,
            self.conclude,
        ]
        return Worker(
            client,
            task_queue=host_queue(HOST),
            activities=cast("list[Callable[..., Any]]", here),
            interceptors=[FailureInterceptor()],
            max_heartbeat_throttle_interval=timedelta(seconds=0.1),
            default_heartbeat_throttle_interval=timedelta(seconds=0.1),
        )


def time_skipping_server() -> str | None:
    """The time-skipping server of this environment."""
    return shutil.which("temporal-test-server", path=_PROGRAMS)


class NoTimeoutsOfTheTestServer(Interceptor):
    """The test server gives every workflow timeouts of ten years; a real one gives none."""

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002
    ) -> type[WorkflowInboundInterceptor]:
        del input
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    def info(self) -> workflow.Info:
        info = super().info()
        return replace(
            info,
            run_timeout=_asked_for(info.run_timeout),
            execution_timeout=_asked_for(info.execution_timeout),
        )


def _asked_for(timeout: timedelta | None) -> timedelta | None:
    return timeout if timeout and timeout < _TEST_SERVERS_OWN else None


class Hold:
    """Holds an activity until the test lets it go on; deaf to cancellation, or not."""

    def __init__(self, *, deaf: bool = False, answer: Any = None) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self._deaf = deaf
        self._answer = answer

    async def __call__(self, _task: Any) -> Any:
        self.entered.set()
        if self._deaf:
            await self.open.wait()
        else:
            while not self.open.is_set():
                activity.heartbeat()
                await asyncio.sleep(0.05)
        return self._answer


class Lab:
    """Starts executions, talks to them, and tells how they ended."""

    def __init__(self, environment: WorkflowEnvironment, script: Script) -> None:
        self.environment = environment
        self.client = environment.client
        self.script = script
        self.programs = Programs
        self.hold = Hold
        self._started = 0

    def request(self, **fields: Any) -> dict[str, Any]:
        """A request as JSON."""
        return {
            "user_query": "How is the beam?",
            "task_objective": "Read the beam current",
            "execution_folder_name": "orbit",
        } | fields

    async def start(self, *, inputs: Iterable[Any] | None = None, **fields: Any) -> "Running":
        """An execution of a request with `fields`, or of other `inputs`."""
        return await self.start_with({}, inputs=inputs, **fields)

    async def start_with(
        self, options: dict[str, Any], *, inputs: Iterable[Any] | None = None, **fields: Any
    ) -> "Running":
        """The same, with options of Temporal's start."""
        self._started += 1
        handle = await self.client.start_workflow(
            "PythonExecution",
            args=[self.request(**fields)] if inputs is None else list(inputs),
            id=f"execution-{self._started}",
            task_queue=TASK_QUEUE,
            result_type=PythonServiceResult,
            **options,
        )
        return Running(handle, self.environment)

    async def approved(self, **fields: Any) -> "Running":
        """An execution that writes, and to which somebody said yes."""
        self.script.programs = [self.programs.write]
        running = await self.start(**fields)
        await running.pending()
        await running.signal("approve", {"operator": "jd"})
        return running

    def attach(self, workflow_id: str) -> "Running":
        """An execution that was started by other means."""
        handle = self.client.get_workflow_handle(workflow_id, result_type=PythonServiceResult)
        return Running(handle, self.environment)


class Running:
    """One execution."""

    def __init__(
        self, handle: WorkflowHandle[Any, PythonServiceResult], environment: WorkflowEnvironment
    ) -> None:
        self.handle = handle
        self._environment = environment

    async def state(self) -> PythonExecutionState:
        return cast("PythonExecutionState", await self._query("state", PythonExecutionState))

    async def _query(self, name: str, kind: Any) -> Any:
        """A worker loses a query that meets the eviction of its execution: it is asked again."""
        for _ in range(5):
            with contextlib.suppress(RPCError):
                return await self.handle.query(
                    name, result_type=kind, rpc_timeout=timedelta(seconds=3)
                )
        return await self.handle.query(name, result_type=kind)

    async def until(self, stage: Stage) -> PythonExecutionState:
        """The state at that stage, once the memo shows it."""
        async with asyncio.timeout(10):
            while (now := await self._stage()) is not stage:
                assert now is None or not now.is_final, (await self.state()).failure_reason
                await asyncio.sleep(0.02)
        return await self.state()

    async def _stage(self) -> Stage | None:
        memo = await (await self.handle.describe()).memo()
        return Stage(memo["stage"]) if memo else None

    async def pending(self) -> PendingApproval:
        """The question, once it waits."""
        await self.until(Stage.AWAITING_APPROVAL)
        pending = await self._query("pending_approval", PendingApproval | None)
        assert isinstance(pending, PendingApproval)
        return pending

    async def left_changed(self, *, number: int = 1) -> PendingRestore:
        """The question of that number what becomes of the machine, once it waits."""
        async with asyncio.timeout(10):
            while True:
                await self.until(Stage.AWAITING_RESTORE)
                pending = await self._query("pending_restore", PendingRestore | None)
                if isinstance(pending, PendingRestore) and pending.binds.number == number:
                    return pending
                await asyncio.sleep(0.02)

    async def stages(self) -> list[Stage]:
        """The stages that it came through."""
        return [change.stage for change in (await self.state()).stages]

    async def metadata(self) -> WorkflowMetadata:
        """What the Web UI reads."""
        return cast(
            "WorkflowMetadata",
            await self._query("__temporal_workflow_metadata", WorkflowMetadata),
        )

    async def memo(self) -> Memo:
        description = await self.handle.describe()
        return Memo.model_validate(await description.memo())

    async def signal(self, name: str, *arguments: Any) -> None:
        await self.handle.signal(name, args=list(arguments))

    async def until_number(self, number: int) -> PendingApproval:
        """The question of that number, once it waits."""
        async with asyncio.timeout(10):
            while True:
                await self.until(Stage.AWAITING_APPROVAL)
                pending = await self._query("pending_approval", PendingApproval | None)
                if isinstance(pending, PendingApproval) and pending.number == number:
                    return pending
                await asyncio.sleep(0.02)

    async def sleep(self, duration: timedelta) -> None:
        await self._environment.sleep(duration)

    async def result(self) -> PythonServiceResult:
        async with asyncio.timeout(30):
            return await self.handle.result()

    async def failure(self) -> PythonExecutorException:
        """The typed exception with which it ended."""
        with pytest.raises(WorkflowFailureError) as failed:
            await self.result()
        return unwrap(failed.value)

    async def cause(self) -> BaseException | None:
        """What Temporal says of the end."""
        with pytest.raises(WorkflowFailureError) as failed:
            await self.result()
        return failed.value.cause

    async def payloads(self) -> list[Payload]:
        """Every payload of the history."""
        history = await self.handle.fetch_history()
        found: list[Payload] = []
        for event in history.events:
            _collect(event, found)
        return found

    async def failed_tasks(self) -> int:
        """How many workflow tasks failed: none ever may."""
        history = await self.handle.fetch_history()
        return sum(
            event.HasField("workflow_task_failed_event_attributes") for event in history.events
        )


def _collect(message: Any, found: list[Payload]) -> None:
    if isinstance(message, Payload):
        found.append(message)
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            values: Iterable[Any] = [v for v in value.values() if hasattr(v, "ListFields")]
        else:
            values = [value] if hasattr(value, "ListFields") else value
        for item in values:
            _collect(item, found)


@pytest.fixture
async def environment() -> AsyncIterator[WorkflowEnvironment]:
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=time_skipping_server(),
        data_converter=data_converter,
    )
    async with environment:
        yield environment


@pytest.fixture
async def real_environment() -> AsyncIterator[WorkflowEnvironment]:
    """A server whose time passes, and which gives no workflow timeouts of its own."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=shutil.which("temporal"), data_converter=data_converter
    )
    async with environment:
        yield environment


@pytest.fixture
def without_the_test_servers_own() -> Interceptor:
    return NoTimeoutsOfTheTestServer()


@pytest.fixture
def script(tmp_path: Path) -> Script:
    limits = tmp_path / "limits.json"
    limits.write_text(json.dumps(LIMITS))
    return Script(limits)


@pytest.fixture
def real_lab(real_environment: WorkflowEnvironment, script: Script) -> Lab:
    """The lab at a real server, without a worker."""
    return Lab(real_environment, script)


@pytest.fixture
def idle_lab(environment: WorkflowEnvironment, script: Script) -> Lab:
    """The lab without a worker."""
    return Lab(environment, script)


@pytest.fixture
async def lab(environment: WorkflowEnvironment, script: Script) -> AsyncIterator[Lab]:
    """The lab with its worker running."""
    shared, own = script.workers(environment.client)
    async with shared, own:
        yield Lab(environment, script)


@pytest.fixture
def strictly() -> Callable[[Payload], None]:
    """Reads a payload with a parser that takes no NaN."""

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    def parse(payload: Payload) -> None:
        if payload.metadata["encoding"] == b"json/plain":
            json.loads(payload.data, parse_constant=refuse)

    return parse


@pytest.fixture
def raw_signal(lab: Lab) -> Callable[[Running, str, Payload], Awaitable[None]]:
    """Signals a payload as it is, past every converter."""

    async def send(running: Running, name: str, payload: Payload) -> None:
        await lab.client.workflow_service.signal_workflow_execution(
            SignalWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=running.handle.id),
                signal_name=name,
                input=Payloads(payloads=[payload]),
            )
        )

    return send
