"""What the end of an apply means: the gate's verdict first, and only then the error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeRuntimeError,
    ContainerConfigurationError,
    ContainerConnectivityError,
    ExecutionTimeoutError,
    PlanOutdatedError,
    PythonExecutorException,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.limits import ViolationType
from runpermit.models import Verdict, WriteOutcome, WriteRecord, WriteReport
from workflows.refusals import judged
from workflows.steps import Settled

Make = Callable[[], PythonExecutorException]
JOURNAL = Path("/srv/executions/journal.jsonl")
RECORD = WriteRecord(channel="A", old=0, new=1, outcome=WriteOutcome.CONFIRMED)
NOTHING = [Verdict.NOT_OPENED, Verdict.NOTHING_FORWARDED]
SOMETHING = [Verdict.PARTIAL, Verdict.COMPLETED, Verdict.UNKNOWN]
ERRORS: dict[str, Make] = {
    "program": lambda: CodeRuntimeError("ZeroDivisionError", "", 1),
    "limits": lambda: ChannelLimitsViolationError("A", 1, "MAX_EXCEEDED", "too high"),
    "time": lambda: ExecutionTimeoutError(3),
    "plan": lambda: PlanOutdatedError("changed", ["inputs changed"]),
    "outage": lambda: ServiceUnavailableError("the disk is full", "disk"),
    "no kernel": lambda: ContainerConnectivityError("no kernel", "here", 0),
    "settings": lambda: ContainerConfigurationError("attempts: No such file"),
    "lifecycle": lambda: WorkflowError("ended before its end", "applying"),
}
KEPT = {"program", "limits", "time", "lifecycle"}


def settled(verdict: Verdict, forwarded: int = 2) -> Settled:
    count = forwarded if verdict in {Verdict.PARTIAL, Verdict.COMPLETED} else 0
    report = WriteReport.of([RECORD] * count, count, JOURNAL)
    return Settled(verdict=verdict, writes=report, reason="the lease ran out")


@pytest.mark.parametrize("verdict", SOMETHING)
@pytest.mark.parametrize("kind", ERRORS)
def test_after_a_write_nothing_looks_as_if_it_might_run_again(kind: str, verdict: Verdict) -> None:
    error = ERRORS[kind]()
    said = error.message
    told = judged(error, settled(verdict))

    assert not told.should_retry_execution()
    assert not isinstance(told, PlanOutdatedError)
    assert said in told.message
    assert told.technical_details["verdict"] is verdict
    assert told.technical_details["reason"] == "the lease ran out"
    if kind in KEPT:
        assert told is error
    else:
        assert isinstance(told, WorkflowError)
        assert told.original_exception is error


def test_a_partial_apply_says_how_much_was_written_and_that_somebody_must_look() -> None:
    told = judged(ERRORS["program"](), settled(Verdict.PARTIAL))

    assert "is not repeated: look at the machine. Writes forwarded: 2." in told.message
    assert told.technical_details["forwarded"] == 2
    assert told.technical_details["writes"] == ["A: 0 → 1, confirmed"] * 2
    assert told.technical_details["journal"] == str(JOURNAL)


def test_of_what_nobody_could_ask_no_count_is_told() -> None:
    told = judged(ERRORS["outage"](), settled(Verdict.UNKNOWN))

    assert "look at the machine, and at the plan" in told.message
    assert "forwarded" not in told.technical_details


def test_an_apply_that_completed_and_was_lost_says_so() -> None:
    told = judged(ERRORS["outage"](), settled(Verdict.COMPLETED))

    assert "It wrote all that it was to write. What else came of it was lost." in told.message


@pytest.mark.parametrize("verdict", [*NOTHING, *SOMETHING])
def test_an_apply_that_claims_success_is_not_believed(verdict: Verdict) -> None:
    told = judged(None, settled(verdict))

    assert isinstance(told, WorkflowError)
    assert told.technical_details["verdict"] is verdict
    assert "the lease ran out" in told.message


@pytest.mark.parametrize("verdict", NOTHING)
@pytest.mark.parametrize("kind", [kind for kind in ERRORS if kind != "limits"])
def test_where_nothing_was_written_the_error_is_what_it_is(kind: str, verdict: Verdict) -> None:
    error = ERRORS[kind]()
    said = error.message
    told = judged(error, settled(verdict))

    assert told is error
    assert told.message == said
    assert told.technical_details["verdict"] is verdict


REFUSALS: dict[ViolationType, type[PythonExecutorException]] = {
    ViolationType.INHIBITED: WorkflowError,
    ViolationType.CONDITION_FAILED: WorkflowError,
    ViolationType.NOT_ALLOWED: WorkflowError,
    ViolationType.LIMITS_UNAVAILABLE: WorkflowError,
}


@pytest.mark.parametrize("verdict", NOTHING)
@pytest.mark.parametrize("violation", ViolationType)
def test_a_refused_write_is_no_fault_of_the_code_where_nothing_was_written(
    violation: ViolationType, verdict: Verdict
) -> None:
    refused = ChannelLimitsViolationError("A", 1, violation, "as it was said")
    told: Any = judged(refused, settled(verdict))

    assert type(told) is REFUSALS.get(violation, PlanOutdatedError)
    assert not told.should_retry_code_generation()
    assert "A: as it was said" in told.message
    if isinstance(told, PlanOutdatedError):
        assert told.changed == ["A: as it was said"]
        assert told.technical_details["verdict"] is verdict
    else:
        assert told.original_exception is refused
