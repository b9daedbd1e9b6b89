"""The steps of the lifecycle: what each asks of an activity, and what the state says meanwhile."""

import asyncio
from dataclasses import dataclass
from typing import Any

from temporalio import workflow

from runpermit.errors import CodeAnalysisError, PythonExecutorException, WorkflowError
from runpermit.models import (
    AnalysisResult,
    Assurance,
    DecisionRecord,
    ExecutionMode,
    NotebookType,
    PendingApproval,
    Permit,
    Plan,
    PlanKind,
    PythonExecutionRequest,
    PythonServiceResult,
    Revision,
    Severity,
    Stage,
    Verb,
    Verdict,
)
from runpermit.models.permit import ISSUES, Yes
from runpermit.models.wire import MAX_REVISIONS
from runpermit.page import Machine, planned, question
from workflows import steps
from workflows.aftermath import undisturbed
from workflows.approval import Question
from workflows.attempts import Attempts
from workflows.ending import Ending
from workflows.question import build_question, gate_warnings, heed
from workflows.refusals import accept_start, judged, refuse_writes
from workflows.retries import Step
from workflows.shelf import open_context
from workflows.step_runner import run_local_step, run_step


@dataclass(frozen=True)
class Approval:
    """The yes of one person or more, and the revision that it was said to."""

    revision: Revision
    answers: tuple[DecisionRecord, ...]

    def permit(self, issue: int = 1) -> Permit:
        """What the gate consumes."""
        return Permit(
            revision=self.revision,
            issue=issue,
            decided_at=self.answers[-1].at,
            approvals=[
                Yes(operator=said.operator, assurance=said.assurance, signature=said.signature)
                for said in self.answers
            ],
        )


class Work(Ending):
    """Each method is one step; all of them leave the state as it then is."""

    def __init__(self) -> None:
        super().__init__()
        self._questions = 0
        # Set by the first steps of the lifecycle, before anything reads them.
        self._request: PythonExecutionRequest

    def _accept(self, inputs: tuple[Any, ...]) -> PythonExecutionRequest:
        request = accept_start(inputs, workflow.info())
        self._request = self._state.request = request
        self._attempts = Attempts(request, self._state)
        self._board.received(request.sha256)
        return request

    async def _prepare(self, request: PythonExecutionRequest) -> None:
        self._board.enter(Stage.PREPARING)
        info = workflow.info()
        self._deployment = await run_step(
            Step.PREPARE,
            steps.prepare,
            steps.PrepareTask(
                request=request,
                workflow_id=info.workflow_id,
                first_run_id=info.first_execution_run_id,
                started_at=info.workflow_start_time,
            ),
            timeouts=steps.Timeouts(),
            summary=f"folder for {request.execution_folder_name}",
        )
        self._context = open_context(self._deployment)
        self._state.execution_folder = self._context
        self._state.capability_context_data = request.capability_context_data
        self._state.request = request.model_copy(
            update={"execution_folder_path": str(self._deployment.folder.path)}
        )
        self._board.know(self._deployment)
        self._desk.prover.know(self._deployment)

    async def _code(self) -> str:
        given = self._attempts.begin()
        if given is not None:
            return given
        self._board.enter(Stage.GENERATING)
        attempt = self._state.generation_attempt
        generated = await run_step(
            Step.GENERATE,
            steps.generate,
            steps.GenerateTask(
                folder=self._deployment.folder,
                attempt=attempt,
                errors=self._attempts.feedback(),
                notebook=self._notebook(NotebookType.CODE_GENERATION_ATTEMPT, "generation"),
            ),
            timeouts=self._deployment.timeouts,
            summary=f"attempt {attempt}",
            host=self._deployment.host,
        )
        self._state.generated_code = generated.code
        self._state.code_generator_metadata = generated.metadata
        return generated.code

    async def _analyse(self, code: str) -> AnalysisResult:
        self._board.enter(Stage.ANALYSING)
        self._state.analysis_failed = True  # until it has not
        self._state.execution_failed = None
        self._plan = None
        seen = await run_local_step(
            Step.ANALYSE,
            steps.analyse,
            steps.AnalyseTask(code=code),
            timeouts=self._deployment.timeouts,
            summary="syntax, calls, channels",
        )
        self._state.analysis_result = seen
        if seen.has_epics_writes:
            refuse_writes(self._deployment, workflow.info())
        if seen.severity is Severity.ERROR:
            raise CodeAnalysisError(
                f"The code is refused: {'; '.join(seen.issues[:5])}", seen.issues
            )
        self._state.analysis_failed = False
        return seen

    async def _rehearse(self, code: str, why: str = "") -> Plan:
        """What the code would write. Raises what is wrong with the code before its first write."""
        self._board.enter(Stage.REHEARSING, why, self._untouched() if why else Machine())
        attempt = self._state.generation_attempt
        self._plan = await run_step(
            Step.REHEARSE,
            steps.rehearse,
            steps.RehearseTask(
                folder=self._deployment.folder,
                code=code,
                attempt=attempt,
                timeout=min(self._seconds, self._deployment.timeouts.rehearsal),
                run_seconds=self._seconds,
                guards=self._request.guards,
                notebook=self._notebook(NotebookType.EXECUTION_ATTEMPT, "rehearsal"),
            ),
            timeouts=self._deployment.timeouts,
            summary=f"attempt {attempt}, writes go nowhere",
            host=self._deployment.host,
        )
        return self._plan

    async def _approved(
        self, code: str, seen: AnalysisResult, plan: Plan, changed: list[str]
    ) -> Approval | None:
        """The yes to what the code would do; None where it goes back to generation. A no raises."""
        if self._questions >= MAX_REVISIONS:
            raise WorkflowError(
                f"{MAX_REVISIONS} revisions were asked about, and no more are made. Start again.",
                Stage.AWAITING_APPROVAL,
            )
        self._state.requires_approval = True
        notebook = self._notebook(NotebookType.PRE_EXECUTION, "approval")
        draft = await run_step(
            Step.DRAFT,
            steps.draft,
            steps.DraftTask(
                folder=self._deployment.folder, notebook=notebook, code=code, plan=plan
            ),
            timeouts=self._deployment.timeouts,
            summary=f"attempt {self._state.generation_attempt}",
            host=self._deployment.host,
        )
        self._questions += 1
        last = self._state.approval_result
        pending = build_question(
            request=self._request,
            deployment=self._deployment,
            code=code,
            draft=draft,
            seen=seen,
            plan=plan,
            changed=changed,
            revised=last if last is not None and last.verb is Verb.REVISE else None,
            number=self._questions,
            notebook=notebook,
            asked_at=workflow.now(),
        )
        self._show(pending)
        self._desk.on_approval = self._show_approved
        first_run = draft.run_id == workflow.info().first_execution_run_id
        try:
            answer = await self._desk.ask(
                Question(
                    number=pending.number,
                    sha256=pending.sha256,
                    plain_yes=pending.number == 1 and first_run,
                    problem="" if plan.may_be_approved else plan.problem,
                    rule=self._deployment.rule,
                    requesters=frozenset(self._deployment.requesters),
                ),
                self._deployment.question_expiry,
                f"revision {pending.revision} waits for approval",
            )
        finally:  # a stop ends it, too, and nobody is shown it any more
            self._state.approval_interrupt_data = None
        self._state.approval_result = answer
        self._state.approved = answer is not None and answer.verb is Verb.APPROVE
        decided = heed(answer, pending, self._deployment.question_expiry)
        if decided.verb is Verb.REVISE:
            self._attempts.revise(decided)
            return None
        return Approval(pending.binds, self._desk.approvals)

    def _show(self, pending: PendingApproval) -> None:
        self._state.approval_interrupt_data = pending
        self._board.ask(pending)

    def _show_approved(self, approvals: tuple[DecisionRecord, ...]) -> None:
        """The same question, once one of two persons has approved it."""
        names = [said.operator or "" for said in approvals]
        pending = self._state.approval_interrupt_data
        if pending is None or len(names) >= pending.rule.persons:
            return
        yes = approvals[-1].verb is Verb.APPROVE
        if yes or not workflow.patched("a no is not shown as one of two approvals"):
            self._show(pending.model_copy(update={"approved_by": names}))

    def _is_old(self, plan: Plan) -> bool:
        """Whether the plan was rehearsed too long ago for what was approved to count as it is."""
        if plan.rehearsed_at is None:
            return True
        age = (workflow.now() - plan.rehearsed_at).total_seconds()
        return age > self._deployment.plan_max_age

    async def _execute(self, code: str) -> steps.Executed:
        """Run a program that only reads."""
        self._settled = None  # of an apply before, which wrote nothing
        self._board.enter(Stage.EXECUTING)
        self._state.execution_failed = True  # until it has not
        ran = await run_step(
            Step.EXECUTE,
            steps.execute,
            steps.ExecuteTask(code=code, **self._run("execution")),
            timeouts=self._deployment.timeouts,
            summary=self._summary(ExecutionMode.READ_ONLY),
            host=self._deployment.host,
            run_seconds=self._seconds,
        )
        self._state.execution_failed = False
        return ran

    async def _apply(self, approval: Approval) -> steps.Executed:
        """Run what was approved; once more only where it is proven that nothing was written.

        Whatever the activity says of itself, the gate's journal is asked what was written: somebody
        may have completed it by hand.
        """
        told = planned(f"It writes: {question(approval.revision.plan)}", approval.revision.plan)
        for issue in ISSUES:
            self._board.enter(Stage.APPLYING, machine=told)
            self._state.execution_failed = True  # until it has not
            self._permit = permit = approval.permit(issue)
            failure: PythonExecutorException | None = None
            try:
                await run_step(
                    Step.APPLY,
                    steps.apply,
                    steps.ApplyTask(
                        **self._run("apply"), permit=permit, guards=self._request.guards
                    ),
                    timeouts=self._deployment.timeouts,
                    summary=self._summary(ExecutionMode.WRITE_ACCESS),
                    host=self._deployment.host,
                    run_seconds=self._seconds,
                )
            except PythonExecutorException as error:
                failure = error
            settled, cancelled = await undisturbed(self._settle(permit))
            self._attempts.may_have_written = not settled.verdict.may_apply_again
            if cancelled:
                raise asyncio.CancelledError from failure
            if settled.executed is not None:
                self._state.execution_failed = False
                return settled.executed
            if settled.verdict is Verdict.COMPLETED:  # and what it left is lost
                await self._verify()
            last = issue == ISSUES[-1] or failure is None or not failure.is_infrastructure_error()
            if last or not settled.verdict.may_apply_again:
                raise judged(failure, settled)
        raise WorkflowError("No permit was left to apply.", Stage.APPLYING)

    def _result(
        self,
        code: str,
        seen: AnalysisResult,
        plan: Plan,
        ran: steps.Executed,
        warnings: list[str] | None = None,
    ) -> PythonServiceResult:
        writes = self._settled.writes if self._settled is not None else None
        mode = ExecutionMode.READ_ONLY if writes is None else ExecutionMode.WRITE_ACCESS
        return PythonServiceResult(
            execution_result=ran.success,
            generated_code=code,
            generation_attempt=self._state.generation_attempt,
            analysis_warnings=seen.issues
            + gate_warnings(ran.in_force, mode)
            + ran.warnings
            + self._unverified()
            + (warnings or []),
            isolation=ran.isolation,
            writes=writes,
            verified=self._verified,
            plan=plan if plan.kind is not PlanKind.READS_ONLY else None,
            decisions=list(self._desk.state.records),
        )

    def _unverified(self) -> list[str]:
        """What a result says of a yes that anybody may have given."""
        yes = self._state.approval_result
        claimed = yes is not None and yes.accepted and yes.assurance is Assurance.CLAIMED
        return ["approver not verified: any signal could approve."] if claimed else []

    @property
    def _seconds(self) -> float:
        """How long the code may run."""
        limit = self._deployment.timeouts.run
        return min(self._request.timeout_seconds or limit, limit)

    def _run(self, stage: str) -> dict[str, Any]:
        return {
            "folder": self._deployment.folder,
            "attempt": self._state.generation_attempt,
            "timeout": self._seconds,
            "notebook": self._notebook(NotebookType.EXECUTION_ATTEMPT, stage),
        }

    def _summary(self, mode: ExecutionMode) -> str:
        attempt = self._state.generation_attempt
        return f"attempt {attempt}, {mode.replace('_', ' ')}, {self._seconds:g} s at most"
