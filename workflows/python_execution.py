"""The lifecycle of an execution: generate → analyse → approve → run → result."""

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    # By `from` the sandbox would make a copy of its own, whose messages are other classes.
    import workflows.steps as steps  # noqa: PLR0402
    from runpermit.errors import (
        ChannelLimitsViolationError,
        CodeAnalysisError,
        PythonExecutorException,
        WorkflowError,
    )
    from runpermit.failures import to_application_error
    from runpermit.models import (
        ExecutionControlConfig,
        ExecutionMode,
        NotebookType,
        PlannedWrite,
        PythonExecutionRequest,
        PythonServiceResult,
        Revision,
        Severity,
        Stage,
        Verb,
    )
    from runpermit.names import WORKFLOW
    from workflows.approval import Question, approval_required
    from workflows.attempts import Attempts
    from workflows.ending import Ending, final_stage
    from workflows.question import build_question, gate_warnings, heed
    from workflows.refusals import (
        RESET_REFUSAL,
        accept_start,
        after_opening,
        refuse_writes,
        refused_in_reading,
        refused_write,
        was_opened,
    )
    from workflows.retries import Step
    from workflows.shelf import open_context
    from workflows.step_runner import run_local_step, run_step


@workflow.defn(name=WORKFLOW)
class PythonExecution(Ending):
    """One request from start to result.

    Input of any shape ends with a typed error, and no message can make a workflow task fail.
    """

    def __init__(self) -> None:
        super().__init__()
        self._questions = 0
        self._approved_revision: Revision | None = None
        # Set by the first steps of the lifecycle, before anything reads them.
        self._request: PythonExecutionRequest

    @workflow.run
    async def run(self, *inputs: Any) -> PythonServiceResult:  # noqa: ANN401
        """Live the lifecycle, and end it properly whatever comes between."""
        lifecycle = asyncio.create_task(self._lifecycle(inputs))
        self._desk.on_stop = lifecycle.cancel
        if self._desk.state.stop is not None:  # it came with the start
            lifecycle.cancel()
        try:
            result = await lifecycle
        except PythonExecutorException as error:
            await self._fail(final_stage(error), error)
            raise to_application_error(error, non_retryable=True) from None
        except (asyncio.CancelledError, FailureError) as interruption:
            if not is_cancelled_exception(interruption):
                raise
            end = self._stopped(interruption)
            await self._fail(Stage.STOPPED, end)
            if self._desk.state.stop is None:
                raise asyncio.CancelledError(end.message) from None
            raise to_application_error(end, non_retryable=True) from None
        return await self._succeed(result)

    async def _lifecycle(self, inputs: tuple[Any, ...]) -> PythonServiceResult:
        request = self._accept(inputs)
        await self._prepare(request)
        while True:
            try:
                if (result := await self._carry_out(await self._code())) is not None:
                    return result
            except PythonExecutorException as error:
                self._attempts.failed(error)

    async def _carry_out(self, code: str) -> PythonServiceResult | None:
        """What comes of one program, or None where an operator asked for another.

        One that is taken for reading and writes all the same comes back here once, to be asked
        about: the analysis chooses the start, the gate decides.
        """
        refused: PlannedWrite | None = None
        while True:
            seen = await self._analyse(code, refused)
            mode = self._mode(seen)
            if approval_required(self._deployment.approval_mode, mode) and not (
                await self._approved(code, seen, mode)
            ):
                return None
            try:
                return await self._run_code(code, seen, mode)
            except ChannelLimitsViolationError as violation:
                if mode is not ExecutionMode.READ_ONLY:
                    raise
                refused = refused_write(violation)

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

    async def _code(self) -> str:
        given = self._attempts.begin()
        self._approved_revision = None
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

    async def _analyse(self, code: str, refused: PlannedWrite | None) -> steps.Analysed:
        self._board.enter(Stage.ANALYSING, refused_in_reading(refused) if refused else "")
        self._state.analysis_failed = True  # until it has not
        self._state.execution_failed = None
        seen = await run_local_step(
            Step.ANALYSE,
            steps.analyse,
            steps.AnalyseTask(code=code, refused=refused),
            timeouts=self._deployment.timeouts,
            summary="syntax, calls, channels",
        )
        self._state.analysis_result = seen.analysis
        self._plan = seen.plan
        if seen.analysis.has_epics_writes:
            refuse_writes(self._deployment, workflow.info())
        if seen.analysis.severity is Severity.ERROR:
            issues = seen.analysis.issues
            raise CodeAnalysisError(f"The code is refused: {'; '.join(issues[:5])}", issues)
        self._state.analysis_failed = False
        return seen

    def _mode(self, seen: steps.Analysed) -> ExecutionMode:
        control = ExecutionControlConfig(
            control_system_writes_enabled=self._deployment.writes_enabled,
            control_system_type=self._deployment.control_system_type,
        )
        return control.get_execution_mode(
            seen.analysis.has_epics_writes, seen.analysis.has_epics_reads
        )

    async def _approved(self, code: str, seen: steps.Analysed, mode: ExecutionMode) -> bool:
        """Whether the code may run; False where it goes back to generation. A no raises."""
        self._state.requires_approval = True
        notebook = self._notebook(NotebookType.PRE_EXECUTION, "approval")
        draft = await run_step(
            Step.DRAFT,
            steps.draft,
            steps.DraftTask(folder=self._deployment.folder, notebook=notebook, code=code),
            timeouts=self._deployment.timeouts,
            summary=f"attempt {self._state.generation_attempt}",
            host=self._deployment.host,
        )
        first_run = draft.run_id == workflow.info().first_execution_run_id
        if mode is ExecutionMode.WRITE_ACCESS and not first_run:
            raise WorkflowError(RESET_REFUSAL, Stage.AWAITING_APPROVAL)
        self._questions += 1
        pending = build_question(
            request=self._request,
            deployment=self._deployment,
            code=code,
            draft=draft,
            seen=seen,
            mode=mode,
            number=self._questions,
            notebook=notebook,
            asked_at=workflow.now(),
        )
        self._state.approval_interrupt_data = pending
        self._board.ask(pending)
        answer = await self._desk.ask(
            Question(
                number=pending.number,
                sha256=pending.sha256,
                plain_approve=pending.number == 1 and first_run,
            ),
            self._deployment.question_expiry,
            f"revision {pending.revision} waits for approval",
        )
        self._state.approval_interrupt_data = None
        self._state.approval_result = answer
        self._state.approved = answer is not None and answer.verb is Verb.APPROVE
        decided = heed(answer, pending, self._deployment.question_expiry)
        if decided.verb is Verb.REVISE:
            self._attempts.revise(decided)
            return False
        self._approved_revision = pending.binds
        return True

    async def _run_code(
        self, code: str, seen: steps.Analysed, mode: ExecutionMode
    ) -> PythonServiceResult:
        writes = mode is ExecutionMode.WRITE_ACCESS
        self._board.enter(Stage.APPLYING if writes else Stage.EXECUTING)
        limit = self._deployment.timeouts.run
        seconds = min(self._request.timeout_seconds or limit, limit)
        attempt = self._state.generation_attempt
        task = steps.ExecuteTask(
            folder=self._deployment.folder,
            code=code,
            approved=self._approved_revision,
            attempt=attempt,
            mode=mode,
            timeout=seconds,
            notebook=self._notebook(NotebookType.EXECUTION_ATTEMPT, "execution"),
        )
        self._state.execution_failed = True  # until it has not
        self._attempts.may_have_written = writes
        try:
            ran = await run_step(
                Step.APPLY if writes else Step.EXECUTE,
                steps.apply if writes else steps.execute,
                task,
                timeouts=self._deployment.timeouts,
                summary=f"attempt {attempt}, {mode.replace('_', ' ')}, {seconds:g} s at most",
                host=self._deployment.host,
                run_seconds=seconds,
            )
        except PythonExecutorException as error:
            if writes:
                self._attempts.may_have_written = was_opened(error)
                self._attempts.learn_writes(error.technical_details)
                raise after_opening(error) from error
            raise
        self._state.execution_failed = False
        if ran.writes is not None:
            self._attempts.learn_writes(ran.writes.details())
        return PythonServiceResult(
            execution_result=ran.success,
            generated_code=code,
            generation_attempt=self._state.generation_attempt,
            analysis_warnings=seen.analysis.issues
            + gate_warnings(ran.in_force, mode)
            + ran.warnings,
            isolation=ran.isolation,
            writes=ran.writes,
            plan=seen.plan if seen.plan.writes else None,
            decisions=list(self._desk.state.records),
        )
