"""The lifecycle of an execution: generate → analyse → approve → run → result."""

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from runpermit.errors import (
        CodeAnalysisError,
        InvalidRequestError,
        PythonExecutorException,
        WorkflowError,
    )
    from runpermit.failures import to_application_error
    from runpermit.models import (
        ExecutionControlConfig,
        ExecutionMode,
        NotebookAttempt,
        NotebookType,
        Plan,
        PythonExecutionContext,
        PythonExecutionRequest,
        PythonServiceResult,
        Revision,
        Severity,
        Stage,
        Verb,
        accept_request,
    )
    from runpermit.names import WORKFLOW
    from runpermit.text import one_line
    from workflows import steps
    from workflows.approval import Question, approval_required
    from workflows.attempts import Attempts
    from workflows.conversation import Conversation
    from workflows.question import build_question, result_warnings
    from workflows.refusals import (
        RESET_REFUSAL,
        after_opening,
        refuse_caller_retries,
        refuse_hidden_id,
        refuse_writes,
        was_opened,
    )
    from workflows.retries import Step
    from workflows.shelf import next_notebook, open_context
    from workflows.stage_board import StageBoard
    from workflows.step_runner import run_local_step, run_step


@workflow.defn(name=WORKFLOW)
class PythonExecution(Conversation):
    """One request from start to result.

    Input of any shape ends with a typed error, and no message can make a workflow task fail.
    """

    def __init__(self) -> None:
        super().__init__()
        self._board = StageBoard(self._state)
        self._context = PythonExecutionContext()
        self._questions = 0
        self._plan: Plan | None = None
        self._approved_revision: Revision | None = None
        # Set by the first steps of the lifecycle, before anything reads them.
        self._request: PythonExecutionRequest
        self._deployment: steps.Deployment
        self._attempts: Attempts

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
            await self._fail(_final_stage(error), error)
            raise to_application_error(error, non_retryable=True) from None
        except (asyncio.CancelledError, FailureError) as interruption:
            if not is_cancelled_exception(interruption):
                raise
            stopped = self._stopped()
            await self._fail(Stage.STOPPED, stopped)
            if self._desk.state.stop is None:
                raise asyncio.CancelledError(stopped.message) from None
            raise to_application_error(stopped, non_retryable=True) from None
        return await self._succeed(result)

    async def _lifecycle(self, inputs: tuple[Any, ...]) -> PythonServiceResult:
        request = self._accept(inputs)
        await self._prepare(request)
        while True:
            try:
                code = await self._code()
                seen = await self._analyse(code)
                mode = self._mode(seen)
                if approval_required(self._deployment.approval_mode, mode) and not (
                    await self._approved(code, seen, mode)
                ):
                    continue  # a revision was asked for
                return await self._run_code(code, seen, mode)
            except PythonExecutorException as error:
                self._attempts.failed(error)

    def _accept(self, inputs: tuple[Any, ...]) -> PythonExecutionRequest:
        if len(inputs) != 1:
            raise InvalidRequestError(
                f"The workflow was started with {len(inputs)} inputs, one request is expected.",
                "request",
            )
        refuse_hidden_id(workflow.info())
        request = accept_request(inputs[0])
        refuse_caller_retries(workflow.info())
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

    async def _analyse(self, code: str) -> steps.Analysed:
        self._board.enter(Stage.ANALYSING)
        self._state.analysis_failed = True  # until it has not
        seen = await run_local_step(
            Step.ANALYSE,
            steps.analyse,
            steps.AnalyseTask(code=code),
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
        if answer is None:
            expiry = self._deployment.question_expiry
            raise WorkflowError(
                f"Nobody decided on revision {pending.revision} within {expiry:g} s "
                "(approval.question_expiry). Start it again when somebody can.",
                Stage.EXPIRED,
            )
        if answer.verb is Verb.REJECT:
            reason = answer.comment or "no reason was given"
            raise WorkflowError(
                f"Rejected by {answer.operator or 'an unnamed operator'}: {reason}", Stage.REJECTED
            )
        if answer.verb is Verb.REVISE:
            self._attempts.revise(answer)
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
            success = await run_step(
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
                raise after_opening(error) from error
            raise
        self._state.execution_failed = False
        return PythonServiceResult(
            execution_result=success,
            generated_code=code,
            generation_attempt=self._state.generation_attempt,
            analysis_warnings=result_warnings(seen.analysis, mode),
            isolation=self._deployment.isolation,
            plan=seen.plan if seen.plan.writes else None,
            decisions=list(self._desk.state.records),
        )

    async def _conclude(
        self,
        stage: Stage,
        *,
        result: PythonServiceResult | None = None,
        failure: str | None = None,
    ) -> None:
        """Have the final notebook written and the folder freed."""
        kind = NotebookType.FINAL_SUCCESS if result else NotebookType.FINAL_FAILURE
        await run_step(
            Step.CONCLUDE,
            steps.conclude,
            steps.ConcludeTask(
                folder=self._deployment.folder,
                workflow_id=workflow.info().workflow_id,
                first_run_id=workflow.info().first_execution_run_id,
                stage=stage,
                code=self._state.generated_code,
                model=self._state.code_generator_metadata or {},
                attempt=self._state.generation_attempt,
                plan=self._plan,
                warnings=result.analysis_warnings if result else [],
                decisions=list(self._desk.state.records),
                result=result.execution_result if result else None,
                failure=failure,
                wrote=self._attempts.may_have_written,
                notebook=self._notebook(kind, stage),
            ),
            timeouts=self._deployment.timeouts,
            summary=stage,
            host=self._deployment.host,
        )

    async def _succeed(self, result: PythonServiceResult) -> PythonServiceResult:
        """Publish the result. What the code did is done: nothing takes the result away now."""
        await self._desk.close()
        try:
            await self._conclude(Stage.SUCCEEDED, result=result)
        except (PythonExecutorException, FailureError, asyncio.CancelledError) as failure:
            warning = f"The final notebook could not be written: {failure}"
            warnings = [*result.analysis_warnings, one_line(warning, 500)]
            result = result.model_copy(update={"analysis_warnings": warnings})
        self._state.execution_result = result
        self._state.is_successful = True
        self._board.enter(Stage.SUCCEEDED)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return result

    async def _fail(self, stage: Stage, error: PythonExecutorException) -> None:
        """Publish how it ended, after writing down what can be written down."""
        await self._desk.close()
        self._state.is_failed = True
        self._state.failure_reason = error.message
        if self._context.is_initialized:
            error.folder_path = self._context.folder_path
            try:
                await self._conclude(stage, failure=error.message)
            except (PythonExecutorException, FailureError, asyncio.CancelledError) as second:
                # The first failure is the one to tell.
                workflow.logger.error("no final notebook: %s", second)
        self._board.enter(stage, error.message)
        await workflow.wait_condition(workflow.all_handlers_finished)

    def _stopped(self) -> WorkflowError:
        stop = self._desk.state.stop
        if stop is None:
            message = "Stopped: the execution was cancelled in Temporal."
        else:
            who = stop.operator or "an unnamed operator"
            message = f"Stopped by {who}: {stop.comment or 'no reason was given'}."
        if self._state.request is not None and self._attempts.may_have_written:
            message += " It was running and could write: look at the machine."
        return WorkflowError(message, Stage.STOPPED)

    def _notebook(self, kind: NotebookType, stage: str) -> NotebookAttempt:
        return next_notebook(self._context, self._deployment.folder, kind, stage, workflow.now())


def _final_stage(error: PythonExecutorException) -> Stage:
    if isinstance(error, WorkflowError) and error.stage in {Stage.REJECTED, Stage.EXPIRED}:
        return Stage(error.stage)
    return Stage.FAILED
