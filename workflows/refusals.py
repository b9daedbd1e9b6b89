"""What an execution refuses before anything runs: how it was started, and writes it may not do."""

from typing import Any

from temporalio import workflow

from runpermit.errors import (
    ChannelLimitsViolationError,
    ContainerConfigurationError,
    ContainerConnectivityError,
    ErrorCategory,
    InvalidRequestError,
    PythonExecutorException,
    WorkflowError,
)
from runpermit.failures import KEPT_ITEMS
from runpermit.models import Isolation, PlannedWrite, PythonExecutionRequest, accept_request
from runpermit.text import one_line, visible
from workflows.steps import NOT_OPENED, Deployment

RESET_REFUSAL = (
    "This run is a reset of an earlier one, which may have written: it writes nothing. Start a new "
    "execution."
)


def accept_start(inputs: tuple[Any, ...], info: workflow.Info) -> PythonExecutionRequest:
    """The request with which the workflow was started.

    Raises InvalidRequestError for what is none, for a workflow id that would forge what operators
    read, and for a workflow retry policy or cron: a run is never repeated.
    """
    if len(inputs) != 1:
        raise InvalidRequestError(
            f"The workflow was started with {len(inputs)} inputs, one request is expected.",
            "request",
        )
    if visible(info.workflow_id, keep="") != info.workflow_id:
        raise InvalidRequestError(
            "The workflow id holds line breaks, control or invisible characters: choose one that "
            "people can read and type.",
            "id",
        )
    request = accept_request(inputs[0])
    if info.retry_policy is not None or info.cron_schedule:
        what = "a cron schedule" if info.cron_schedule else "a retry policy"
        raise InvalidRequestError(
            f"The workflow was started with {what}. An execution may write to the machine and is "
            "never repeated by Temporal: start it without; `retries` in the request is the number "
            "of programs to try.",
            "retry_policy",
        )
    return request


def refuse_writes(deployment: Deployment, info: workflow.Info) -> None:
    """Raise ContainerConfigurationError, naming setting and file, where code must not write."""
    why = _why_no_write(deployment, info)
    if why is not None:
        raise ContainerConfigurationError(f"The code writes to the control system, and {why}")


def _why_no_write(deployment: Deployment, info: workflow.Info) -> str | None:
    limits, gate = deployment.limits, deployment.gate
    if not deployment.writes_enabled:
        return "writes are disabled: control_system.writes_enabled = false in runpermit.toml."
    if deployment.isolation is Isolation.NONE:
        return (
            'code without a sandbox only reads: kernels.isolation = "none" in runpermit.toml. '
            'Set it to "full".'
        )
    if not gate.writes:
        return "the gate lets none pass: control_system.writes_enabled = false in its own settings."
    if limits.enabled and limits.error is not None:
        return f"the limits can't be read: {limits.error}"
    if gate.limits_error is not None:
        return f"the gate can't read its limits: {gate.limits_error}"
    # Temporal's own CLI sends 0 for none.
    if info.execution_timeout or info.run_timeout:
        return (
            "the workflow was started with a run or execution timeout, which could end it in the "
            "middle of a write. Start it without; timeout_seconds in the request bounds the run of "
            "the code."
        )
    return None


def refused_write(error: ChannelLimitsViolationError) -> PlannedWrite:
    """The write that the gate refused in a read-only run, as the plan of what comes next."""
    value = error.attempted_value
    # An error keeps the end of a long array alone, and the gate tells of a longer one its length.
    whole = isinstance(value, int | float | str) or (
        isinstance(value, list) and len(value) < KEPT_ITEMS
    )
    return PlannedWrite(
        channel=error.channel_address, value=value if whole else None, value_known=whole, line=None
    )


def refused_in_reading(write: PlannedWrite) -> str:
    """Why code that was taken for reading is asked about as writing."""
    value = one_line(str(write.value), 40) if write.value_known else "a value"
    return (
        f"The gate refused a write to {one_line(write.channel or '', 60)} = {value} in the "
        "read-only run; the analysis had not seen it."
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
    advice = _advice(error)
    if error.category in {ErrorCategory.CODE_RELATED, ErrorCategory.WORKFLOW}:
        error.message = f"{error.message} {advice}"
        return error
    message = f"{advice} {error.message}"
    return WorkflowError(message, "applying", error, technical_details=error.technical_details)


def _advice(error: PythonExecutorException) -> str:
    """What to do, by what the gate says was written; without its word it may be anything."""
    forwarded = error.technical_details.get("forwarded")
    if forwarded == 0:
        return "It ran with write access, wrote nothing, and is not repeated."
    told = "" if forwarded is None else f" Writes forwarded: {forwarded}."
    return f"It ran with write access and is not repeated: look at the machine.{told}"
