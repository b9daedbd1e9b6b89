"""Exit codes, and which error means which."""

from enum import IntEnum

from runpermit.errors import (
    ErrorCategory,
    InvalidRequestError,
    PythonExecutorException,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.models import Stage

_NOT_CARRIED_OUT = {Stage.REJECTED, Stage.STOPPED, Stage.EXPIRED}


class ExitCode(IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_CARRIED_OUT = 3
    UNREACHABLE = 4
    WAITING = 5
    INTERRUPTED = 130


def of_call(error: PythonExecutorException) -> ExitCode:
    """The code where a command itself could not do its work."""
    if isinstance(error, ServiceUnavailableError):
        return ExitCode.UNREACHABLE
    if isinstance(error, InvalidRequestError) or error.category is ErrorCategory.CONFIGURATION:
        return ExitCode.USAGE
    return ExitCode.FAILED


def of_outcome(error: PythonExecutorException) -> ExitCode:
    """The code where an execution ended with `error`."""
    if isinstance(error, WorkflowError) and error.stage in _NOT_CARRIED_OUT:
        return ExitCode.NOT_CARRIED_OUT
    if isinstance(error, InvalidRequestError) or error.category is ErrorCategory.CONFIGURATION:
        return ExitCode.USAGE
    return ExitCode.FAILED
