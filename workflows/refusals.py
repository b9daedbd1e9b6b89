"""What an execution refuses before anything runs: how it was started, and writes it may not do."""

from temporalio import workflow

from runpermit.errors import (
    ContainerConfigurationError,
    ContainerConnectivityError,
    ErrorCategory,
    InvalidRequestError,
    PythonExecutorException,
    WorkflowError,
)
from runpermit.text import visible
from workflows.steps import NOT_OPENED, Deployment

RESET_REFUSAL = (
    "This run is a reset of an earlier one, which may have written: it writes nothing. Start a new "
    "execution."
)


def refuse_hidden_id(info: workflow.Info) -> None:
    """Raise InvalidRequestError for a workflow id that would forge what operators read."""
    if visible(info.workflow_id, keep="") != info.workflow_id:
        raise InvalidRequestError(
            "The workflow id holds line breaks, control or invisible characters: choose one that "
            "people can read and type.",
            "id",
        )


def refuse_caller_retries(info: workflow.Info) -> None:
    """Raise InvalidRequestError for a workflow retry policy or cron: a run is never repeated."""
    if info.retry_policy is not None or info.cron_schedule:
        what = "a cron schedule" if info.cron_schedule else "a retry policy"
        raise InvalidRequestError(
            f"The workflow was started with {what}. An execution may write to the machine and is "
            "never repeated by Temporal: start it without; `retries` in the request is the number "
            "of programs to try.",
            "retry_policy",
        )


def refuse_writes(deployment: Deployment, info: workflow.Info) -> None:
    """Raise ContainerConfigurationError, naming setting and file, where code must not write."""
    if not deployment.writes_enabled:
        raise ContainerConfigurationError(
            "The code writes to the control system, and writes are disabled: "
            "control_system.writes_enabled = false in runpermit.toml."
        )
    if deployment.control_system_type != "mock":
        raise ContainerConfigurationError(
            "The code writes to the control system, and control_system.type = "
            f'"{deployment.control_system_type}": this version has no gate to enforce the limits, '
            'and writes only where the type is "mock", the demo\'s IOC.'
        )
    limits = deployment.limits
    if limits.enabled and limits.error is not None:
        raise ContainerConfigurationError(
            f"The code writes to the control system, and the limits can't be read: {limits.error}"
        )
    # Temporal's own CLI sends 0 for none.
    if info.execution_timeout or info.run_timeout:
        raise ContainerConfigurationError(
            "The code writes to the control system, and the workflow was started with a run or "
            "execution timeout, which could end it in the middle of a write. Start it without; "
            "timeout_seconds in the request bounds the run of the code."
        )


def was_opened(error: PythonExecutorException) -> bool:
    """Whether the program of a failed apply may have begun: unless it is proven, it may."""
    details = error.technical_details
    return not (
        details.get("verdict") == NOT_OPENED
        or details.get("timeout") == "SCHEDULE_TO_START"
        or isinstance(error, ContainerConnectivityError)
    )


def after_opening(error: PythonExecutorException) -> PythonExecutorException:
    """`error` of an apply, such that nobody takes it for one after which it may run again."""
    if not was_opened(error):
        return error
    advice = "It ran with write access and is not repeated: look at the machine."
    if error.category in {ErrorCategory.CODE_RELATED, ErrorCategory.WORKFLOW}:
        error.message = f"{error.message} {advice}"
        return error
    return WorkflowError(f"{advice} {error.message}", "applying", error)
