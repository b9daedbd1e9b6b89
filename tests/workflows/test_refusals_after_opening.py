import pytest

from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeRuntimeError,
    ContainerConfigurationError,
    ContainerConnectivityError,
    ExecutionTimeoutError,
    PythonExecutorException,
    ServiceUnavailableError,
    WorkflowError,
)
from workflows.refusals import after_opening, was_opened
from workflows.steps import NOT_OPENED

PROVEN = {"verdict": NOT_OPENED}
NEVER_BEGUN = [
    WorkflowError("changed since the approval", "applying", technical_details=PROVEN),
    ContainerConfigurationError("writes are disabled", PROVEN),
    ServiceUnavailableError(
        "no worker", "worker", technical_details={"timeout": "SCHEDULE_TO_START"}
    ),
    ContainerConnectivityError("no kernel", "here", 0),
]
MAY_HAVE_WRITTEN = [
    CodeRuntimeError("ZeroDivisionError", "", 1),
    ExecutionTimeoutError(3),
    ContainerConfigurationError("attempts: No such file"),
    ServiceUnavailableError("the disk is full", "disk"),
    ServiceUnavailableError("lost", "worker", technical_details={"timeout": "HEARTBEAT"}),
    ChannelLimitsViolationError("A", 1, "MAX_EXCEEDED", "too high"),
]


@pytest.mark.parametrize("error", NEVER_BEGUN, ids=lambda error: type(error).__name__)
def test_what_is_proven_not_to_have_begun_keeps_its_error(error: PythonExecutorException) -> None:
    message = error.message
    assert not was_opened(error)
    assert after_opening(error) is error
    assert error.message == message


@pytest.mark.parametrize("error", MAY_HAVE_WRITTEN, ids=lambda error: type(error).__name__)
def test_whatever_else_ends_an_apply_says_look_at_the_machine(
    error: PythonExecutorException,
) -> None:
    told = after_opening(error)
    assert was_opened(error)
    assert "look at the machine" in told.message
    assert not told.should_retry_execution()


def test_the_class_of_a_failed_program_is_kept_and_an_outage_is_told_as_the_cause() -> None:
    failed, lost = MAY_HAVE_WRITTEN[0], MAY_HAVE_WRITTEN[3]
    assert after_opening(failed) is failed
    told = after_opening(lost)
    assert isinstance(told, WorkflowError)
    assert told.original_exception is lost


@pytest.mark.parametrize(
    ("forwarded", "said"),
    [(0, "wrote nothing"), (3, "look at the machine. Writes forwarded: 3.")],
)
def test_what_the_gate_says_was_written_is_told(forwarded: int, said: str) -> None:
    details = {"forwarded": forwarded, "writes": ["A: 0 → 1, confirmed"]}
    told = after_opening(ServiceUnavailableError("full", "disk", technical_details=details))
    assert said in told.message
    assert told.technical_details == details
