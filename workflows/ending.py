"""The end of an execution: result, failure or stop, published and written down."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

from runpermit.errors import PythonExecutorException, WorkflowError
from runpermit.failures import to_application_error
from runpermit.models import (
    NotebookAttempt,
    NotebookType,
    PythonExecutionContext,
    PythonServiceResult,
    Stage,
    Verdict,
)
from runpermit.text import one_line
from workflows import steps
from workflows.aftermath import undisturbed
from workflows.attempts import Attempts
from workflows.left_changed import LeftChanged
from workflows.refusals import judged
from workflows.retries import Step
from workflows.shelf import next_notebook
from workflows.step_runner import run_step


class Ending(LeftChanged):
    """Whatever comes, the final notebook is written, the folder freed, the last stage shown."""

    def __init__(self) -> None:
        super().__init__()
        self._context = PythonExecutionContext()
        # Set by the first steps of the lifecycle, before anything reads it.
        self._attempts: Attempts

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
        self._board.enter(Stage.SUCCEEDED, machine=self._done())
        await workflow.wait_condition(workflow.all_handlers_finished)
        return result

    async def _failed(self, error: PythonExecutorException) -> ApplicationError:
        """End with `error`, as the workflow raises it."""
        await self._wind_up(final_stage(error), error)
        return to_application_error(error, non_retryable=True)

    async def _stopped(self) -> ApplicationError | asyncio.CancelledError:
        """End with the error of a stop, or as Temporal's own cancel wants it."""
        stop = self._desk.begin_aftermath()
        if stop is None:
            message = "Stopped: the execution was cancelled in Temporal."
        else:
            who = stop.who
            message = f"Stopped by {who}: {stop.comment or 'no reason was given'}."
        error: PythonExecutorException = WorkflowError(message, Stage.STOPPED)
        self._was_cancelled = stop is None
        if self._permit is not None:
            settled, cancelled = await undisturbed(self._settle(self._permit))
            self._was_cancelled |= cancelled
            self._attempts.may_have_written = not settled.verdict.may_apply_again
        if self._settled is not None and not self._settled.verdict.may_apply_again:
            error = judged(error, self._settled)
            if self._settled.verdict is Verdict.COMPLETED:
                error.message += " Nobody waited for its devices: look whether they followed."
        await self._wind_up(Stage.STOPPED, error)
        if stop is None:
            return asyncio.CancelledError(error.message)
        return to_application_error(error, non_retryable=True)

    async def _wind_up(self, stage: Stage, error: PythonExecutorException) -> None:
        """Ask what becomes of the machine, write down what can be written down, publish the end."""
        problem = await self._ask_to_restore(error.message)
        if problem:
            error.message = f"{error.message} {problem}"
        await self._desk.close()
        self._state.is_failed = True
        self._state.failure_reason = error.message
        error.technical_details |= self._told()
        if self._context.is_initialized:
            error.folder_path = self._context.folder_path
            try:
                await self._conclude(stage, failure=error.message)
            except (PythonExecutorException, FailureError, asyncio.CancelledError) as second:
                # The first failure is the one to tell.
                workflow.logger.error("no final notebook: %s", second)
        self._board.enter(stage, error.message, self._machine(), self._unknown())
        await workflow.wait_condition(workflow.all_handlers_finished)

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
                isolation=result.isolation if result else self._deployment.isolation,
                plan=self._plan,
                warnings=result.analysis_warnings if result else [],
                decisions=list(self._desk.state.records),
                result=result.execution_result if result else None,
                failure=failure,
                wrote=self._attempts.may_have_written,
                verdict=self._settled.verdict if self._settled else None,
                writes=self._settled.writes if self._settled else None,
                verified=self._verified,
                changes=self._left if failure else [],
                restored=self._restored,
                notebook=self._notebook(kind, stage),
            ),
            timeouts=self._deployment.timeouts,
            summary=stage,
            host=self._deployment.host,
        )

    def _notebook(self, kind: NotebookType, stage: str) -> NotebookAttempt:
        return next_notebook(self._context, self._deployment.folder, kind, stage, workflow.now())


def final_stage(error: PythonExecutorException) -> Stage:
    """The stage at which an execution stands that ends with `error`."""
    if isinstance(error, WorkflowError) and error.stage in {Stage.REJECTED, Stage.EXPIRED}:
        return Stage(error.stage)
    return Stage.FAILED
