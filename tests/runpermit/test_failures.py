"""Errors cross the wire as what they were; whatever else arrives has a meaning, and none raises."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio import exceptions as temporal
from temporalio.exceptions import TimeoutType

from runpermit import errors
from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeAnalysisError,
    CodeGenerationError,
    CodeRuntimeError,
    CodeSyntaxError,
    ContainerConfigurationError,
    ContainerConnectivityError,
    DecisionRefusedError,
    ErrorCategory,
    ExecutionTimeoutError,
    InvalidRequestError,
    MaxAttemptsExceededError,
    PlanOutdatedError,
    PythonExecutorException,
    ServiceUnavailableError,
    UnreadableMessageError,
    WorkflowError,
)
from runpermit.failures import (
    DETAILS_BYTES,
    ErrorDetails,
    from_wire,
    to_application_error,
    to_wire,
    unwrap,
)

ALL = [
    ContainerConnectivityError("no kernel", "host", 8888),
    ContainerConfigurationError("limits.file is not set"),
    ServiceUnavailableError("no answer", "model", 3.5),
    CodeGenerationError("empty answer", 2, ["first", "second"]),
    CodeSyntaxError("no Python", ["line 1"]),
    CodeAnalysisError("refused", ["eval in line 1"]),
    CodeRuntimeError("division by zero", "Traceback: …", 3),
    ChannelLimitsViolationError("SR:X", 150, "MAX_EXCEEDED", "150 > 100", 0, 100, 10, 50),
    ExecutionTimeoutError(600),
    MaxAttemptsExceededError("Python execution", 3, ["a", "b", "c"]),
    WorkflowError("rejected", "rejected"),
    PlanOutdatedError("not run", ["limits changed"]),
    InvalidRequestError("no such field", "colour"),
    DecisionRefusedError("did not count", "stale"),
    UnreadableMessageError("older", "novel"),
]


def across(error: PythonExecutorException) -> PythonExecutorException:
    return from_wire(ErrorDetails.model_validate_json(to_wire(error).model_dump_json()))


def test_every_class_is_tried() -> None:
    known = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, PythonExecutorException)
    }

    assert {type(error) for error in ALL} == known - {PythonExecutorException}


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_an_error_crosses_as_what_it_was(error: PythonExecutorException) -> None:
    error.technical_details = {"path": "x", "number": 1}
    error.folder_path = Path("/srv/executions/x")
    back = across(error)

    assert type(back) is type(error)
    assert back.category is error.category
    assert str(back) == str(error)
    assert back.message == error.message
    assert back.technical_details == error.technical_details
    assert back.folder_path == error.folder_path
    for field in error.wire_fields:
        assert getattr(back, field) == getattr(error, field)


def test_the_base_class_keeps_its_category() -> None:
    back = across(PythonExecutorException("odd", ErrorCategory.INFRASTRUCTURE))

    assert back.category is ErrorCategory.INFRASTRUCTURE


def test_the_original_of_a_workflow_error_crosses_with_it() -> None:
    back = across(WorkflowError("lost", "applying", ServiceUnavailableError("silent", "worker")))

    assert isinstance(back, WorkflowError)
    assert isinstance(back.original_exception, ServiceUnavailableError)
    assert back.original_exception.service == "worker"


HUGE: list[PythonExecutorException] = [
    CodeRuntimeError("x" * 10**6, "y" * 10**6, 1, {"z": "z" * 10**6}),
    MaxAttemptsExceededError("x", 20, ["é" * 10**5] * 50),
    CodeAnalysisError("x", ["issue" * 1000] * 1000),
    ContainerConfigurationError("x", {str(n): "v" * 100 for n in range(10_000)}),
    ChannelLimitsViolationError("x", {str(n): n for n in range(100_000)}, "T", "r"),
    ChannelLimitsViolationError("x", [[0.0] * 1000] * 1000, "T", "r"),
    ChannelLimitsViolationError("x" * 10**6, "x" * 10**6, "T" * 10**6, "r" * 10**6),
    ChannelLimitsViolationError("x", "\x01" * 10**6, "T", "\x01" * 10**6),
    WorkflowError("x" * 10**5, "s" * 10**5, CodeRuntimeError("y" * 10**5, "z" * 10**5, 1)),
    CodeRuntimeError("\x01" * 10**5, "\x01" * 10**5, 1),
]


@pytest.mark.parametrize("error", HUGE, ids=range(len(HUGE)))
def test_an_error_of_any_size_crosses_in_32_kilobytes(error: PythonExecutorException) -> None:
    wire = to_wire(error)

    assert len(wire.model_dump_json().encode()) <= DETAILS_BYTES
    assert type(across(error)) is type(error)


ODD: list[Any] = [
    float("nan"), float("inf"), b"bytes", object(), 1 + 2j, {1, 2}, {"\ud800": "\udfff"},
    "\ud800", [float("nan")], {(1, 2): 3}, 10**400, lambda: None,
]  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_values_that_are_not_json_cross_all_the_same(value: Any) -> None:
    error = ChannelLimitsViolationError("SR:X", value, "INVALID_VALUE", "no number")
    error.technical_details = {"value": value}

    assert isinstance(across(error), ChannelLimitsViolationError)


def test_values_that_hold_themselves_cross_all_the_same() -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]

    for value in (endless, deep):
        error = ContainerConfigurationError("x", {"value": value})
        assert isinstance(across(error), ContainerConfigurationError)


def test_an_application_error_says_whether_it_may_be_retried() -> None:
    error = to_application_error(
        ServiceUnavailableError("no", "model", 7), non_retryable=False, retry_after=7
    )

    assert error.type == "ServiceUnavailableError"
    assert not error.non_retryable
    assert error.next_retry_delay is not None
    assert error.next_retry_delay.total_seconds() == 7


def chained(*layers: BaseException) -> BaseException:
    for outer, inner in pairwise(layers):
        outer.__cause__ = inner
    return layers[0]


def activity_error() -> temporal.ActivityError:
    return temporal.ActivityError(
        "Activity task failed", scheduled_event_id=1, started_event_id=2, identity="w",
        activity_type="apply", activity_id="1", retry_state=None,
    )  # fmt: skip


def crossed(error: PythonExecutorException) -> temporal.ApplicationError:
    return to_application_error(error, non_retryable=True)


def test_the_error_is_found_however_deep_it_travelled() -> None:
    failure = chained(RuntimeError("outer"), activity_error(), crossed(CodeSyntaxError("no", [])))

    assert isinstance(unwrap(failure), CodeSyntaxError)


def test_the_innermost_of_ours_is_the_one_to_tell() -> None:
    failure = chained(
        crossed(WorkflowError("outer", "failed")),
        activity_error(),
        crossed(CodeRuntimeError("inner", "…", 1)),
    )

    assert isinstance(unwrap(failure), CodeRuntimeError)


def test_an_error_of_ours_is_itself() -> None:
    error = CodeSyntaxError("no", [])

    assert unwrap(error) is error
    assert unwrap(chained(RuntimeError(), error)) is error


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first

    assert isinstance(unwrap(first), WorkflowError)


def timed_out(kind: TimeoutType | None) -> temporal.TimeoutError:
    return temporal.TimeoutError("timed out", type=kind, last_heartbeat_details=[])


@pytest.mark.parametrize("kind", TimeoutType)
def test_a_time_out_of_an_activity_is_infrastructure_and_names_its_kind(kind: TimeoutType) -> None:
    error = unwrap(chained(activity_error(), timed_out(kind)))

    assert isinstance(error, ServiceUnavailableError)
    assert error.technical_details == {"timeout": kind.name}
    assert "activity apply" in error.message


def test_a_time_out_of_all_tries_tells_the_cause_of_the_last() -> None:
    failure = chained(
        activity_error(),
        timed_out(TimeoutType.SCHEDULE_TO_CLOSE),
        crossed(ServiceUnavailableError("no answer", "model")),
    )
    error = unwrap(failure)

    assert isinstance(error, ServiceUnavailableError)
    assert error.service == "model"


def test_a_time_out_of_the_workflow_is_its_end() -> None:
    error = unwrap(timed_out(TimeoutType.START_TO_CLOSE))

    assert isinstance(error, WorkflowError)
    assert error.stage == "failed"


@pytest.mark.parametrize(
    ("failure", "stage", "words"),
    [
        (temporal.CancelledError("cancelled"), "stopped", "cancelled"),
        (temporal.TerminatedError("by jd"), "terminated", "by jd"),
        (temporal.ServerError("Failure exceeds size limit."), "failed", "size limit"),
        (temporal.ApplicationError("too large", type="PayloadsTooLarge"), "failed", "too large"),
        (temporal.ApplicationError("reset", type="ActivityReset"), "failed", "ActivityReset"),
        (ValueError("nobody foresaw this"), "failed", "nobody foresaw this"),
        (temporal.ApplicationError("boom", type=None), "failed", "boom"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("inside", [False, True])
def test_temporal_s_own_failures_mean_something(
    failure: BaseException, stage: str, words: str, *, inside: bool
) -> None:
    error = unwrap(chained(activity_error(), failure) if inside else failure)

    assert isinstance(error, WorkflowError)
    assert error.category is ErrorCategory.WORKFLOW
    assert error.stage == stage
    assert words in error.message


KINDS = [type(error).__name__ for error in ALL]
GARBAGE: list[Any] = [
    None, [], "text", 3, {}, {"error": "CodeSyntaxError"},
    {"error": "CodeSyntaxError", "message": "x", "category": "no such"},
    {"error": "CodeSyntaxError", "message": "x", "category": "workflow", "extra": 1},
]  # fmt: skip


@pytest.mark.parametrize("details", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("kind", KINDS)
def test_details_that_are_none_of_ours_never_raise(kind: str, details: Any) -> None:
    error = unwrap(temporal.ApplicationError("forged", details, type=kind))

    assert error.category is ErrorCategory.WORKFLOW
    assert "forged" in error.message


def wrong_fields() -> Iterator[dict[str, Any]]:
    yield {}
    yield {"message": "x"}
    yield {"colour": "red"}
    yield {"message": 1, "error_chain": 5, "timeout_seconds": "soon", "max_attempts": None}
    yield {"timeout_seconds": "soon"}
    yield {"operation_type": "x", "max_attempts": 1, "error_chain": 5}
    yield {"category": "infrastructure", "message": "x"}


@pytest.mark.parametrize("fields", list(wrong_fields()), ids=range(7))
@pytest.mark.parametrize("kind", KINDS)
def test_fields_that_do_not_fit_the_class_never_raise(kind: str, fields: dict[str, Any]) -> None:
    details = {"error": kind, "message": "forged", "category": "workflow", "fields": fields}
    error = unwrap(temporal.ApplicationError("forged", details, type=kind))

    assert isinstance(error, PythonExecutorException)
    assert error.message == "forged"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(KINDS),
    st.lists(
        json_values
        | st.fixed_dictionaries(
            {
                "error": st.sampled_from([*KINDS, "PythonExecutorException", "Strange"]),
                "message": st.text(),
                "category": st.sampled_from([*ErrorCategory, "strange"]),
            },
            optional={"fields": st.dictionaries(st.text(), json_values), "cause": json_values},
        ),
        max_size=2,
    ),
)
def test_no_details_at_all_raise(kind: str, details: list[Any]) -> None:
    error = unwrap(temporal.ApplicationError("forged", *details, type=kind))

    assert isinstance(error, PythonExecutorException)
    assert error.category in ErrorCategory
