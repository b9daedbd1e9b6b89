"""The exceptions of an execution; the category of each alone decides what is retried."""

from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar


class ErrorCategory(StrEnum):
    """What a failure asks for: the same again, other code, or neither."""

    INFRASTRUCTURE = "infrastructure"
    CODE_RELATED = "code_related"
    WORKFLOW = "workflow"
    CONFIGURATION = "configuration"


class PythonExecutorException(Exception):  # noqa: N818  (the reference's name)
    """Base of all errors of an execution. Raise a subclass.

    `wire_fields` names the constructor's own arguments, which cross the wire with the error.
    """

    wire_fields: ClassVar[tuple[str, ...]] = ("message",)

    def __init__(
        self,
        message: str,
        category: ErrorCategory,
        technical_details: dict[str, Any] | None = None,
        folder_path: Path | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.category = category
        self.technical_details = technical_details or {}
        self.folder_path = folder_path

    def is_infrastructure_error(self) -> bool:
        """Whether something outside the code failed, and the same may be tried again."""
        return self.category is ErrorCategory.INFRASTRUCTURE

    def is_code_error(self) -> bool:
        """Whether other code may do better."""
        return self.category is ErrorCategory.CODE_RELATED

    def is_workflow_error(self) -> bool:
        """Whether the execution itself came to an end: a timeout, a limit, a decision."""
        return self.category is ErrorCategory.WORKFLOW

    def should_retry_execution(self) -> bool:
        """Whether the same code may run again."""
        return self.is_infrastructure_error()

    def should_retry_code_generation(self) -> bool:
        """Whether the error goes back to the generator as feedback."""
        return self.is_code_error()


class ContainerConnectivityError(PythonExecutorException):
    """The place where code runs can't be reached, or lost its kernel before the code began."""

    wire_fields = ("message", "host", "port")

    def __init__(
        self,
        message: str,
        host: str,
        port: int,
        technical_details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, ErrorCategory.INFRASTRUCTURE, technical_details)
        self.host = host
        self.port = port

    def get_user_message(self) -> str:
        """The failure in words for people who know no endpoints."""
        return f"Python execution environment is not reachable at {self.host}:{self.port}"


class PlanOutdatedError(PythonExecutorException):
    """The machine, or what an approval binds, is no longer what was approved; nothing was written.

    `changed` says what, in words. The same code is rehearsed and asked about again.
    """

    wire_fields = ("message", "changed")

    def __init__(
        self, message: str, changed: list[str], technical_details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message, ErrorCategory.WORKFLOW, technical_details)
        self.changed = changed


class ServiceUnavailableError(PythonExecutorException):
    """A service that an execution needs did not answer: model endpoint, disk, worker, Temporal."""

    wire_fields = ("message", "service", "retry_after")

    def __init__(
        self,
        message: str,
        service: str,
        retry_after: float | None = None,
        technical_details: dict[str, Any] | None = None,
        folder_path: Path | None = None,
    ) -> None:
        super().__init__(message, ErrorCategory.INFRASTRUCTURE, technical_details, folder_path)
        self.service = service
        self.retry_after = retry_after


class ContainerConfigurationError(PythonExecutorException):
    """A setting is missing or wrong; the message names it and the file."""

    def __init__(self, message: str, technical_details: dict[str, Any] | None = None) -> None:
        super().__init__(message, ErrorCategory.CONFIGURATION, technical_details)


class CodeGenerationError(PythonExecutorException):
    """The model gave no usable Python."""

    wire_fields = ("message", "generation_attempt", "error_chain")

    def __init__(
        self,
        message: str,
        generation_attempt: int,
        error_chain: list[str],
        technical_details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, ErrorCategory.CODE_RELATED, technical_details)
        self.generation_attempt = generation_attempt
        self.error_chain = error_chain


class CodeSyntaxError(PythonExecutorException):
    """The code is not Python."""

    wire_fields = ("message", "syntax_issues")

    def __init__(
        self,
        message: str,
        syntax_issues: list[str],
        technical_details: dict[str, Any] | None = None,
        folder_path: Path | None = None,
    ) -> None:
        super().__init__(message, ErrorCategory.CODE_RELATED, technical_details, folder_path)
        self.syntax_issues = syntax_issues


class CodeAnalysisError(PythonExecutorException):
    """The code does what no program may: the analysis names each place."""

    wire_fields = ("message", "issues")

    def __init__(
        self,
        message: str,
        issues: list[str],
        technical_details: dict[str, Any] | None = None,
        folder_path: Path | None = None,
    ) -> None:
        super().__init__(message, ErrorCategory.CODE_RELATED, technical_details, folder_path)
        self.issues = issues


class CodeRuntimeError(PythonExecutorException):
    """The code failed while it ran, or left no usable `results`."""

    wire_fields = ("message", "traceback_info", "execution_attempt")

    def __init__(
        self,
        message: str,
        traceback_info: str,
        execution_attempt: int,
        technical_details: dict[str, Any] | None = None,
        folder_path: Path | None = None,
    ) -> None:
        super().__init__(message, ErrorCategory.CODE_RELATED, technical_details, folder_path)
        self.traceback_info = traceback_info
        self.execution_attempt = execution_attempt


class ChannelLimitsViolationError(PythonExecutorException):
    """A write that the limits database does not allow.

    `violation_type` is one of `runpermit.limits.ViolationType`.
    """

    wire_fields = (
        "channel_address",
        "value",
        "violation_type",
        "violation_reason",
        "min_value",
        "max_value",
        "max_step",
        "current_value",
    )

    def __init__(
        self,
        channel_address: str,
        value: Any,  # noqa: ANN401  (whatever the code tried to write)
        violation_type: str,
        violation_reason: str,
        min_value: float | None = None,
        max_value: float | None = None,
        max_step: float | None = None,
        current_value: Any = None,  # noqa: ANN401  (whatever the channel answered)
    ) -> None:
        super().__init__(
            f"{channel_address}: {violation_reason} ({violation_type})",
            ErrorCategory.CODE_RELATED,
        )
        self.channel_address = channel_address
        self.attempted_value = value
        self.violation_type = violation_type
        self.violation_reason = violation_reason
        self.min_value = min_value
        self.max_value = max_value
        self.max_step = max_step
        self.current_value = current_value

    @property
    def value(self) -> Any:  # noqa: ANN401
        """The constructor's name for `attempted_value`."""
        return self.attempted_value


class ExecutionTimeoutError(PythonExecutorException):
    """The code ran longer than it may."""

    wire_fields = ("timeout_seconds",)

    def __init__(
        self,
        timeout_seconds: float,
        technical_details: dict[str, Any] | None = None,
        folder_path: Path | None = None,
    ) -> None:
        super().__init__(
            f"Python code execution timeout after {timeout_seconds:g} seconds",
            ErrorCategory.WORKFLOW,
            technical_details,
            folder_path,
        )
        self.timeout_seconds = timeout_seconds


class MaxAttemptsExceededError(PythonExecutorException):
    """As many programs failed as the request allowed; `error_chain` tells each failure."""

    wire_fields = ("operation_type", "max_attempts", "error_chain")

    def __init__(
        self,
        operation_type: str,
        max_attempts: int,
        error_chain: list[str],
        technical_details: dict[str, Any] | None = None,
        folder_path: Path | None = None,
    ) -> None:
        last = f" The last one: {error_chain[-1]}" if error_chain else ""
        super().__init__(
            f"{operation_type}: all {max_attempts} programs failed.{last}",
            ErrorCategory.WORKFLOW,
            technical_details,
            folder_path,
        )
        self.operation_type = operation_type
        self.max_attempts = max_attempts
        self.error_chain = error_chain


class WorkflowError(PythonExecutorException):
    """The execution ended without a result; `stage` tells where: rejected, expired, stopped, …."""

    wire_fields = ("message", "stage")

    def __init__(
        self,
        message: str,
        stage: str,
        original_exception: Exception | None = None,
        technical_details: dict[str, Any] | None = None,
        folder_path: Path | None = None,
    ) -> None:
        super().__init__(message, ErrorCategory.WORKFLOW, technical_details, folder_path)
        self.stage = stage
        self.original_exception = original_exception


class InvalidRequestError(PythonExecutorException):
    """The request can't be carried out as written; `field` names the part that is wrong."""

    wire_fields = ("message", "field")

    def __init__(
        self, message: str, field: str, technical_details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message, ErrorCategory.WORKFLOW, technical_details)
        self.field = field


class DecisionRefusedError(PythonExecutorException):
    """A decision that was received and does not count; `reason` says why, in a few words."""

    wire_fields = ("message", "reason")

    def __init__(
        self, message: str, reason: str, technical_details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message, ErrorCategory.WORKFLOW, technical_details)
        self.reason = reason


class UnreadableMessageError(PythonExecutorException):
    """A message that this version can't read; `field` names the part that it does not know."""

    wire_fields = ("message", "field")

    def __init__(
        self, message: str, field: str, technical_details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message, ErrorCategory.WORKFLOW, technical_details)
        self.field = field
