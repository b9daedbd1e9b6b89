"""A dev server for the client's tests, and a stand-in for the workflow with the same interface."""

import asyncio
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from runpermit.errors import (
    ContainerConfigurationError,
    DecisionRefusedError,
    MaxAttemptsExceededError,
    PythonExecutorException,
    WorkflowError,
)
from runpermit.failures import to_application_error
from runpermit.models import (
    ApprovalRule,
    Assurance,
    Decision,
    DecisionReceipt,
    ExecutionMode,
    FollowOutcome,
    Isolation,
    LeftBehind,
    LeftChange,
    PendingApproval,
    PendingRestore,
    Plan,
    PlanKind,
    PlannedChannel,
    PlannedWrite,
    PythonExecutionRequest,
    PythonExecutionState,
    PythonExecutionSuccess,
    PythonServiceResult,
    Revision,
    RunProgress,
    Stage,
    StageChange,
    Verb,
    VerifiedChannel,
)
from runpermit.names import TASK_QUEUE
from runpermit.payloads import data_converter
from tests.runpermit.gate_process import gate, runpermit

__all__ = ["gate", "runpermit"]

CODE = "write_channel('SR:HCM1', 0.2)\nresults = {'done': True}\n"
FORGED = "write_channel('SR:HCM1', 99)\n"
STDOUT = "".join(f"line {number}\n" for number in range(6))


@activity.defn(name="print")
async def print_lines(stdout: str) -> None:
    """Print as a kernel does: the tail of stdout travels with the heartbeats."""
    told = ""
    for line in stdout.splitlines(keepends=True)[:-1]:
        told += line
        activity.heartbeat(RunProgress(elapsed=1, stdout_tail=told[-24:]))
        await asyncio.sleep(0.4)


@workflow.defn(name="PythonExecution")
class StandIn:
    """Does what `task_objective` says, with the interface of the real workflow."""

    def __init__(self) -> None:
        self._state = PythonExecutionState()
        self._pending: PendingApproval | None = None
        self._shown: PendingApproval | None = None
        self._left: PendingRestore | None = None
        self._answer: tuple[Verb, str] | None = None
        self._received: Decision | None = None
        self._is_newer = False

    @workflow.run
    async def run(self, raw: dict[str, Any]) -> Any:
        request = PythonExecutionRequest.model_validate(raw)
        self._is_newer = request.task_objective == "ask newer"
        try:
            return self._told(await self._live(request))
        except PythonExecutorException as error:
            if isinstance(error, WorkflowError):
                self._enter(Stage(error.stage), error.message)
            else:
                self._enter(Stage.FAILED, error.message)
            self._state.failure_reason = error.message
            raise to_application_error(error, non_retryable=True) from None

    async def _live(self, request: PythonExecutionRequest) -> PythonServiceResult:
        self._enter(Stage.PREPARING)
        task = request.task_objective
        self._state.generation_attempt = 1
        self._enter(Stage.GENERATING)
        if task == "fail":
            raise MaxAttemptsExceededError("code execution", 1, ["NameError: x"])
        if task == "misconfigured":
            raise ContainerConfigurationError("control_system.writes_enabled = false")
        if task.startswith("lose "):
            self._lose(task.removeprefix("lose "))
        if task == "expire":
            raise WorkflowError("Nobody answered in time.", Stage.EXPIRED)
        if task in {"ask", "ask signed", "ask newer", "forge", "incomplete"}:
            await self._ask(task)
        if task in {"leave changed", "leave changed signed"}:
            await self._ask_to_restore(task)
        if task == "restore waits":
            told = "RESTORE WAITS while writes are inhibited: SR:HCM1"
            self._enter(Stage.RESTORING, question=told, host="demo")
            await workflow.wait_condition(lambda: self._answer is not None)
        self._enter(Stage.EXECUTING)
        if task == "print":
            await workflow.execute_activity(
                "print",
                STDOUT,
                start_to_close_timeout=timedelta(seconds=30),
                heartbeat_timeout=timedelta(seconds=1),
            )
        folder = Path("/executions/x")
        result = PythonServiceResult(
            execution_result=PythonExecutionSuccess(
                results={"value": 42, "name": "\x1b[31mred\u202e"},
                stdout=STDOUT if task == "print" else "",
                execution_time=0.5,
                folder_path=folder,
                notebook_path=folder / "notebook.ipynb",
                notebook_link="http://notebooks/x",
            ),
            generated_code=CODE,
            isolation=Isolation.NONE,
            verified=[
                VerifiedChannel(
                    channel="SR:HCM1", written=0.2, reads=0.2, accepted=True, device="SR:HCM1:RB",
                    outcome=FollowOutcome.NOT_FOLLOWED,
                )
            ],
        )  # fmt: skip
        self._state.execution_result = result
        self._enter(Stage.SUCCEEDED)
        return result

    async def _ask_to_restore(self, task: str) -> None:
        info = workflow.info()
        self._left = PendingRestore(
            binds=LeftBehind(
                workflow_id=info.workflow_id,
                first_run_id=info.first_execution_run_id,
                number=1,
                changes=[LeftChange(channel="SR:HCM1", before=0.1, written=0.2, reads=0.2)],
            ),
            reason="the \x1b[2Jkernel died",
            rule=_rule(task),
            asked_at=workflow.now(),
        )
        self._state.pending_restore = self._left
        self._enter(
            Stage.AWAITING_RESTORE,
            question="MACHINE LEFT CHANGED. The kernel died",
            sha256=self._left.sha256,
        )
        await workflow.wait_condition(lambda: self._answer is not None)
        assert self._answer is not None
        self._left = self._state.pending_restore = None
        verb, comment = self._answer
        details = {
            "verdict": "partial",
            "writes": ["SR:HCM1: 0.1 → 0.2, confirmed\x1b[2J"],
            "left_changed": ["SR:HCM1: was 0.1, set to 0.2, reads 0.2"],
            "journal": "/executions/x/journal.jsonl",
        }
        raise WorkflowError(f"{verb}: {comment}", Stage.FAILED, technical_details=details)

    def _lose(self, host: str) -> None:
        """End as one whose host never told what it wrote."""
        self._state.failure_reason = "Nobody could ask the gate's journal."
        self._enter(
            Stage.FAILED,
            host=host,
            question=f"MACHINE STATE UNKNOWN: host {host}, 1 channel: T:AO",
            state_unknown=True,
        )
        raise to_application_error(
            WorkflowError("Nobody could ask the gate's journal.", Stage.APPLYING),
            non_retryable=True,
        )

    async def _ask(self, task: str) -> None:
        number = 1
        while True:
            self._pending = self._question(
                number, PlanKind("incomplete" if task == "incomplete" else "complete")
            )
            self._pending = self._pending.model_copy(update={"rule": _rule(task)})
            self._shown = self._pending
            if task == "forge":
                binds = self._pending.binds.model_copy(update={"code": FORGED})
                self._shown = self._pending.model_copy(update={"binds": binds})
            self._state.approval_interrupt_data = self._pending
            self._enter(
                Stage.AWAITING_APPROVAL,
                question="1 write: SR:HCM1 → 0.2 A",
                first_writes=["SR:HCM1"],
                sha256=self._pending.sha256,
                host="demo",
            )
            self._answer = None
            await workflow.wait_condition(lambda: self._answer is not None)
            self._pending = self._shown = None
            assert self._answer is not None
            verb, comment = self._answer
            if verb is Verb.APPROVE:
                return
            if verb in {Verb.REJECT, Verb.STOP}:
                stage = Stage.REJECTED if verb is Verb.REJECT else Stage.STOPPED
                raise WorkflowError(f"{stage}: {comment}", stage)
            number += 1
            self._state.generation_attempt += 1
            self._enter(Stage.GENERATING)

    def _question(self, number: int, kind: PlanKind) -> PendingApproval:
        plan = Plan(
            kind=kind,
            writes=[PlannedWrite(channel="SR:HCM1", old=0.1, new=0.2)],
            channels=[
                PlannedChannel(
                    channel="SR:HCM1", description="corrector", units="A", live=0.1, writes=1,
                    low=0.2, high=0.2, last=0.2, min_value=-1, max_value=1, restorable=True,
                )
            ],
            problem="boom" if kind is PlanKind.INCOMPLETE else "",
            rehearsed_at=workflow.now(),
        )  # fmt: skip
        binds = Revision(
            workflow_id=workflow.info().workflow_id,
            first_run_id=workflow.info().first_execution_run_id,
            number=number,
            code=CODE,
            plan=plan,
            limits_sha256="0" * 64,
            inputs={},
            kernel_environment="",
        )
        return PendingApproval(
            binds=binds,
            warnings=["approver not verified"],
            execution_mode=ExecutionMode.WRITE_ACCESS,
            user_query="Move the \x1b[2Jbeam",
            task_objective="ask",
            expected_results={},
            requester=None,
            analysis_issues=[],
            folder_path="/executions/x",
            notebook_path="/executions/x/notebook.ipynb",
            notebook_link="",
            asked_at=workflow.now(),
        )

    def _enter(self, stage: Stage, note: str = "", **memo: Any) -> None:
        attempt = self._state.generation_attempt
        self._state.current_stage = stage
        self._state.stages.append(
            StageChange(stage=stage, attempt=attempt, at=workflow.now(), note=note)
        )
        workflow.upsert_memo({"stage": stage.value, "attempt": attempt, **memo})

    def _told(self, answer: BaseModel | None) -> Any:
        """`answer` as it is, or as a newer version would give it."""
        if answer is None or not self._is_newer:
            return answer
        return answer.model_dump(mode="json") | {"novel": 1}

    @workflow.query
    def state(self) -> Any:
        return self._told(self._state)

    @workflow.query
    def pending_approval(self) -> Any:
        return self._told(self._shown)

    @workflow.query
    def pending_restore(self) -> PendingRestore | None:
        return self._left

    @workflow.query
    def code(self) -> str | None:
        return CODE if self._pending else None

    @workflow.query
    def received(self) -> Decision | None:
        return self._received

    @workflow.signal
    def stop(self, *arguments: Any) -> None:
        decision = Decision.model_validate(arguments[0])
        self._answer = (Verb.STOP, decision.comment or "")

    @workflow.update
    def decide(self, raw: dict[str, Any]) -> Any:
        decision = Decision.model_validate(raw)
        self._received = decision
        verb = decision.decision
        assert verb is not None
        if decision.comment == "crash":
            raise ApplicationError("boom", type="Unforeseen")
        waiting = self._pending or self._left
        if waiting is None:
            reason = "nothing waits for a decision"
        elif verb not in {Verb.REJECT, Verb.REVISE} and decision.sha256 != waiting.sha256:
            reason = "its sha256 is another one's"
        else:
            self._answer = (verb, decision.comment or "")
            return self._told(
                DecisionReceipt(
                    accepted=True, verb=verb, reason="counted", revision=waiting.revision
                )
            )
        error = DecisionRefusedError(f"not counted: {reason}", reason)
        raise to_application_error(error, non_retryable=True)


def _rule(task: str) -> ApprovalRule:
    signed = task.endswith("signed")
    return ApprovalRule(assurance=Assurance.SIGNED if signed else Assurance.CLAIMED)


class DevServer:
    """A Temporal dev server and the stand-in's worker, in a thread so that tests may block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._environment: WorkflowEnvironment = self.call(self._start)
        self._worker: Worker | None = None
        self.address: str = self._environment.client.service_client.config.target_host
        self.start_worker()

    async def _start(self) -> WorkflowEnvironment:
        return await WorkflowEnvironment.start_local(
            dev_server_existing_path=shutil.which("temporal"),
            data_converter=data_converter,
            dev_server_log_level="error",
        )

    @property
    def client(self) -> Client:
        return self._environment.client

    def call(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        async def awaited() -> Any:
            return await function(*args)

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(60)

    def start_worker(self) -> None:
        if self._worker is None:
            self.call(self._start_worker)

    async def _start_worker(self) -> None:
        self._worker = Worker(
            self.client,
            task_queue=TASK_QUEUE,
            workflows=[StandIn],
            activities=[print_lines],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        self._running = asyncio.create_task(self._worker.run())

    def stop_worker(self) -> None:
        if self._worker is not None:
            self.call(self._worker.shutdown)
            self.call(asyncio.wait, [self._running])
            self._worker = None

    def close(self) -> None:
        self.stop_worker()
        self.call(self._environment.shutdown)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="session")
def dev_server() -> Iterator[DevServer]:
    server = DevServer()
    yield server
    server.close()


@pytest.fixture
def server(dev_server: DevServer) -> Iterator[DevServer]:
    """The dev server with its worker running."""
    dev_server.start_worker()
    yield dev_server
    dev_server.start_worker()
