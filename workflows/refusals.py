"""What an execution refuses before anything runs: how it was started, and writes it may not do."""

from typing import Any

from temporalio import workflow

from runpermit.errors import (
    ChannelLimitsViolationError,
    ContainerConfigurationError,
    ErrorCategory,
    InvalidRequestError,
    PlanOutdatedError,
    PythonExecutorException,
    WorkflowError,
)
from runpermit.limits import ViolationType
from runpermit.models import Isolation, PythonExecutionRequest, Verdict, accept_request
from runpermit.text import one_line, visible
from workflows.steps import Deployment, Settled


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
    if gate.no_writes:
        return f"the gate lets none pass: {gate.no_writes}."
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


def refused_in_reading(error: ChannelLimitsViolationError) -> str:
    """Why code that was taken for reading is rehearsed."""
    value = one_line(str(error.attempted_value), 40)
    return (
        f"The gate refused a write to {one_line(error.channel_address, 60)} = {value} in the "
        "read-only run; the analysis had not seen it."
    )


def hidden_from_rehearsal(error: ChannelLimitsViolationError) -> ChannelLimitsViolationError:
    """What to say of code that is refused a write again, and rehearsed none."""
    error.message += (
        " When it was rehearsed, the code wrote nothing: nobody can approve what only happens when "
        "it counts. Write in the rehearsal what is to be written, or declare it with `plan`."
    )
    return error


def judged(error: PythonExecutorException | None, settled: Settled) -> PythonExecutorException:
    """What the end of an apply means, by what the gate's journal says first of all.

    `error` is what the apply told, None where it claimed success. After a write nothing looks like
    an error after which it may run again.
    """
    if settled.verdict.may_apply_again:
        return _nothing_written(error, settled)
    details = {"verdict": settled.verdict, "reason": settled.reason}
    if settled.verdict is not Verdict.UNKNOWN:
        details |= settled.writes.details()
    advice = _ADVICE[settled.verdict]
    if settled.verdict is Verdict.COMPLETED and settled.executed is None:
        advice += " What else came of it was lost."
    if settled.writes.forwarded:
        advice += f" Writes forwarded: {settled.writes.forwarded}."
    if error is not None and _keeps_its_class(error):
        error.message = f"{_sentence(error.message)} {advice}"
        error.technical_details |= details
        return error
    told = error.message if error is not None else settled.reason
    return WorkflowError(f"{advice} {told}".strip(), "applying", error, technical_details=details)


def _sentence(text: str) -> str:
    """`text`, after which another sentence may follow."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _keeps_its_class(error: PythonExecutorException) -> bool:
    """Whether nobody takes `error` for one after which the same may be done again."""
    if isinstance(error, PlanOutdatedError):
        return False
    return error.category in {ErrorCategory.CODE_RELATED, ErrorCategory.WORKFLOW}


_ADVICE = {
    Verdict.PARTIAL: "It wrote, did not come to its end, and is not repeated: look at the machine.",
    Verdict.COMPLETED: "It wrote all that it was to write.",
    Verdict.UNKNOWN: (
        "Nobody could ask the gate's journal what was written: look at the machine, and at the "
        "plan of this execution."
    ),
}


def _nothing_written(
    error: PythonExecutorException | None, settled: Settled
) -> PythonExecutorException:
    if error is None:
        return WorkflowError(
            f"The apply was completed by somebody else: nothing was written. {settled.reason}",
            "applying",
            technical_details={"verdict": settled.verdict},
        )
    error.technical_details["verdict"] = settled.verdict
    if not isinstance(error, ChannelLimitsViolationError):
        return error
    reason = f"{error.channel_address}: {error.violation_reason}"
    if error.violation_type in _NOT_THE_PLAN:
        # No fault of the code, and no other plan would help.
        return WorkflowError(f"Nothing was written. {reason}.", "applying", error)
    return PlanOutdatedError(f"Nothing was written: {reason}", [reason], error.technical_details)


_NOT_THE_PLAN = {
    ViolationType.INHIBITED,
    ViolationType.CONDITION_FAILED,
    ViolationType.NOT_ALLOWED,
    ViolationType.LIMITS_UNAVAILABLE,
}
