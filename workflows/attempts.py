"""Counts the programs tried, and keeps what became of each as feedback for the next."""

from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeAnalysisError,
    CodeGenerationError,
    CodeRuntimeError,
    CodeSyntaxError,
    MaxAttemptsExceededError,
    PythonExecutorException,
)
from runpermit.models import (
    DecisionRecord,
    ExecutionError,
    PythonExecutionRequest,
    PythonExecutionState,
)
from runpermit.text import bounded
from workflows.retries import Lifecycle, treatment

# As many as a prompt can use; with the bounds below they stay far from Temporal's 2 MiB.
_FEEDBACK = 5
_CODE_BYTES = 16 * 1024
_ERROR_TYPES: dict[type[PythonExecutorException], str] = {
    CodeGenerationError: "generation",
    CodeSyntaxError: "syntax",
    CodeAnalysisError: "analysis",
    ChannelLimitsViolationError: "analysis",
    CodeRuntimeError: "execution",
}


class Attempts:
    """The attempts of one execution, recorded in its state."""

    def __init__(self, request: PythonExecutionRequest, state: PythonExecutionState) -> None:
        self._request = request
        self._state = state
        self._failed = 0
        self._given = request.approved_code
        self.may_have_written = False

    def begin(self) -> str | None:
        """Start the next attempt; the code that the request brought, or None: generate it."""
        self._state.generation_attempt += 1
        # What an attempt before it left must never be taken for its own.
        self._state.generated_code = self._given
        self._state.analysis_result = None
        self._state.analysis_failed = None
        self._state.execution_failed = None
        return self._given

    def feedback(self) -> list[ExecutionError]:
        """What the next generation is told."""
        return self._state.error_chain[-_FEEDBACK:]

    def failed(self, error: PythonExecutorException) -> None:
        """Take `error` as feedback for the next attempt, or raise what ends the execution.

        Raises `error` itself where its category allows no other code, where the code was given,
        or where the machine may have been written; MaxAttemptsExceededError after the last try.
        """
        if (
            self.may_have_written
            or treatment(error.category).lifecycle is not Lifecycle.NEXT_ATTEMPT
        ):
            raise error
        self._failed += 1
        issues = getattr(error, "issues", None) or getattr(error, "syntax_issues", [])
        self._learn(
            _ERROR_TYPES.get(type(error), "system"),
            error.message,
            traceback=getattr(error, "traceback_info", None),
            issues=issues,
        )
        if self._given is not None:
            raise error
        if self._failed >= self._request.retries:
            chain = [error.error_message for error in self._state.error_chain]
            raise MaxAttemptsExceededError("Python execution", self._failed, chain)

    def revise(self, decision: DecisionRecord) -> None:
        """Take an operator's wish as feedback; it does not count as a failed attempt."""
        self._given = None
        wish = decision.comment or "no comment was given; find another way to do the task"
        self._learn("revision", f"The operator did not approve and asks for a change: {wish}")

    def _learn(
        self,
        error_type: str,
        message: str,
        traceback: str | None = None,
        issues: list[str] | None = None,
    ) -> None:
        code = self._state.generated_code
        self._state.error_chain.append(
            ExecutionError(
                error_type=error_type,
                error_message=bounded(message),
                failed_code=bounded(code, _CODE_BYTES) if code else None,
                traceback=bounded(traceback) if traceback else None,
                attempt_number=self._state.generation_attempt,
                stage=self._state.current_stage,
                analysis_issues=issues or [],
            )
        )
