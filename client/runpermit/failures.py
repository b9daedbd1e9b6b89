"""The wire form of errors: how an exception crosses Temporal and comes back as the same class."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from temporalio import exceptions as temporal

from runpermit import errors
from runpermit.errors import ErrorCategory, PythonExecutorException
from runpermit.serialization import make_json_serializable
from runpermit.text import ERROR_TEXT_BYTES, bounded

DETAILS_BYTES = 32 * 1024
KEPT_ITEMS = 20
_CLASSES: dict[str, type[PythonExecutorException]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, PythonExecutorException)
}


class ErrorDetails(BaseModel):
    """One exception on the wire, the only details that our ApplicationErrors carry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    error: str
    message: str
    category: ErrorCategory
    fields: dict[str, Any] = {}
    technical_details: dict[str, Any] = {}
    folder_path: str | None = None
    cause: "ErrorDetails | None" = None


def to_wire(error: PythonExecutorException) -> ErrorDetails:
    """`error` as details of at most 32 KB: long texts keep head and tail, the rest is dropped."""
    cause = getattr(error, "original_exception", None)
    details = ErrorDetails(
        error=type(error).__name__,
        message=bounded(error.message),
        category=error.category,
        fields={name: _bounded_value(getattr(error, name)) for name in error.wire_fields},
        technical_details=_bounded_value(error.technical_details),
        folder_path=str(error.folder_path) if error.folder_path else None,
        cause=to_wire(cause) if isinstance(cause, PythonExecutorException) else None,
    )
    # JSON escapes make a control character six bytes: the second, smaller limit fits even those.
    for limit in (2048, 512):
        if len(details.model_dump_json().encode()) <= DETAILS_BYTES:
            break
        fields = {name: _bounded_value(value, limit) for name, value in details.fields.items()}
        details = details.model_copy(
            update={
                "message": bounded(details.message, limit),
                "fields": fields,
                "technical_details": {"left_out": f"over {DETAILS_BYTES} bytes"},
                "cause": None,
            }
        )
    return details


def from_wire(details: ErrorDetails) -> PythonExecutorException:
    """The exception that `details` describe, of its own class."""
    kind = _CLASSES.get(details.error)
    plain = PythonExecutorException(
        details.message, details.category, details.technical_details, _path(details)
    )
    if kind is None or kind is PythonExecutorException:
        return plain
    try:
        error = kind(**details.fields)
    except (TypeError, ValueError, LookupError):  # another version's fields, or forged ones
        return plain
    error.message = details.message
    error.args = (details.message,)
    error.technical_details = details.technical_details
    error.folder_path = _path(details)
    if details.cause is not None and isinstance(error, errors.WorkflowError):
        error.original_exception = from_wire(details.cause)
    return error


def to_application_error(
    error: PythonExecutorException, *, non_retryable: bool, retry_after: float | None = None
) -> temporal.ApplicationError:
    """The one form in which an error leaves an activity or the workflow."""
    return temporal.ApplicationError(
        bounded(error.message),
        to_wire(error),
        type=type(error).__name__,
        non_retryable=non_retryable,
        next_retry_delay=timedelta(seconds=retry_after) if retry_after else None,
    )


def unwrap(failure: BaseException) -> PythonExecutorException:
    """The exception of ours in `failure`'s cause chain, or what Temporal's own failure means.

    Never raises. The innermost of ours wins: the outer layers only tell how it travelled.
    """
    chain = list(_causes(failure))
    for error in reversed(chain):
        if isinstance(error, PythonExecutorException):
            return error
        if isinstance(error, temporal.ApplicationError):
            details = _details(error)
            if details is not None:
                return from_wire(details)
    return _foreign(chain)


def _foreign(chain: list[BaseException]) -> PythonExecutorException:
    """Temporal's own failures, and anything that nobody foresaw."""
    for error in chain:
        if isinstance(error, temporal.TimeoutError):
            return _timeout(error, chain)
        if isinstance(error, temporal.CancelledError):
            return errors.WorkflowError("The execution was cancelled.", "stopped")
        if isinstance(error, temporal.TerminatedError):
            return errors.WorkflowError(
                f"The execution was terminated in Temporal: {error.message}", "terminated"
            )
    last = chain[-1]
    if isinstance(last, temporal.ServerError) or (
        isinstance(last, temporal.ApplicationError) and last.type == "PayloadsTooLarge"
    ):
        return errors.WorkflowError(
            f"Temporal refused a message of this execution: {last.message}", "failed"
        )
    kind = last.type if isinstance(last, temporal.ApplicationError) else type(last).__name__
    return errors.WorkflowError(bounded(f"Unforeseen error: {kind}: {last}"), "failed")


def _timeout(
    error: temporal.TimeoutError, chain: list[BaseException]
) -> errors.PythonExecutorException:
    activity = next((e for e in chain if isinstance(e, temporal.ActivityError)), None)
    what = f"activity {activity.activity_type}" if activity else "the execution"
    kind = error.type.name if error.type is not None else "unknown"
    if activity is None:
        return errors.WorkflowError(f"Temporal ended {what}: time-out {kind}.", "failed")
    advice = {
        "SCHEDULE_TO_START": "no worker took it: is the worker of that host running?",
        "HEARTBEAT": "its worker went silent: it crashed, froze or lost Temporal.",
        "START_TO_CLOSE": "it ran longer than its limit.",
        "SCHEDULE_TO_CLOSE": "it was not done in the time for all its tries.",
    }.get(kind, "")
    return errors.ServiceUnavailableError(
        f"{what} timed out ({kind}): {advice}", "worker", technical_details={"timeout": kind}
    )


def _causes(failure: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    error: BaseException | None = failure
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def _details(error: temporal.ApplicationError) -> ErrorDetails | None:
    if len(error.details) != 1 or error.type not in _CLASSES:
        return None
    try:
        return ErrorDetails.model_validate(error.details[0])
    except ValidationError:
        return None


def _path(details: ErrorDetails) -> Path | None:
    return Path(details.folder_path) if details.folder_path else None


def _bounded_value(value: Any, limit: int = ERROR_TEXT_BYTES) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return bounded(value, limit)
    if isinstance(value, list | tuple | dict) and limit == 0:
        return "…"
    if isinstance(value, list | tuple):
        return [_bounded_value(item, limit // 4) for item in value[-KEPT_ITEMS:]]
    if isinstance(value, dict):
        items = list(value.items())[:KEPT_ITEMS]
        return {bounded(str(key), 80): _bounded_value(item, limit // 4) for key, item in items}
    return make_json_serializable(value)
