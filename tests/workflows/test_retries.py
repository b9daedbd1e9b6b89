"""The whole table: category to treatment, step to limits."""

from datetime import timedelta

import pytest

from runpermit.errors import ErrorCategory
from workflows.retries import Lifecycle, Step, step_limits, treatment
from workflows.steps import Timeouts

TIMEOUTS = Timeouts(
    run=100, generation=50, heartbeat=7, retry=200, host=300, rehearsal=40, verdict=900
)


@pytest.mark.parametrize(
    ("category", "tries", "non_retryable", "lifecycle"),
    [
        (ErrorCategory.INFRASTRUCTURE, 0, False, Lifecycle.FAIL),  # 0: bounded by time alone
        (ErrorCategory.CODE_RELATED, 1, True, Lifecycle.NEXT_ATTEMPT),
        (ErrorCategory.WORKFLOW, 1, True, Lifecycle.FAIL),
        (ErrorCategory.CONFIGURATION, 1, True, Lifecycle.FAIL),
    ],
)
def test_treatment(
    category: ErrorCategory,
    tries: int,
    lifecycle: Lifecycle,
    *,
    non_retryable: bool,
) -> None:
    treated = treatment(category)

    assert treated.retry_policy.maximum_attempts == tries
    assert treated.non_retryable is non_retryable
    assert treated.lifecycle is lifecycle


def test_every_category_has_a_treatment() -> None:
    assert {treatment(category).lifecycle for category in ErrorCategory} == set(Lifecycle)


def test_infrastructure_backs_off_exponentially() -> None:
    policy = treatment(ErrorCategory.INFRASTRUCTURE).retry_policy

    assert policy.backoff_coefficient == 2
    assert policy.initial_interval == timedelta(seconds=1)
    assert policy.maximum_interval == timedelta(seconds=60)


@pytest.mark.parametrize(
    ("step", "one_try", "heartbeat", "host"),
    [
        (Step.PREPARE, 60, None, None),
        (Step.GENERATE, 80, 7, 300),
        (Step.ANALYSE, 60, None, None),
        (Step.REHEARSE, 100, 7, 300),
        (Step.DRAFT, 60, None, 300),
        (Step.EXECUTE, 160, 7, 300),
        (Step.APPLY, 160, 7, 300),
        (Step.VERIFY, 3600, 7, 300),
        (Step.CONCLUDE, 60, None, 300),
    ],
)
def test_step_limits(step: Step, one_try: int, heartbeat: int | None, host: int | None) -> None:
    limits = step_limits(step, TIMEOUTS)

    assert limits.start_to_close.total_seconds() == one_try
    assert limits.heartbeat == (timedelta(seconds=heartbeat) if heartbeat else None)
    assert limits.schedule_to_start == (timedelta(seconds=host) if host else None)
    assert limits.schedule_to_close.total_seconds() == one_try + max(200, host or 0)


def test_a_restore_waits_for_a_host_that_is_away() -> None:
    limits = step_limits(Step.RESTORE, TIMEOUTS)

    assert limits.start_to_close == timedelta(days=30)
    assert limits.schedule_to_start is None
    assert limits.schedule_to_close == timedelta(days=30, seconds=300)
    assert limits.heartbeat == timedelta(seconds=7)


def test_the_verdict_is_waited_for_however_long_its_host_is_away() -> None:
    limits = step_limits(Step.SETTLE, TIMEOUTS)

    assert limits.start_to_close == timedelta(seconds=60)
    assert limits.schedule_to_start is None
    assert limits.schedule_to_close == timedelta(seconds=900)
    assert limits.heartbeat == timedelta(seconds=7)
    assert limits.retry_policy.maximum_attempts == 0


def test_whether_a_host_answers_is_known_in_the_time_of_a_heartbeat() -> None:
    limits = step_limits(Step.REACH, TIMEOUTS)

    assert limits.start_to_close == limits.schedule_to_close == timedelta(seconds=7)


@pytest.mark.parametrize("step", Step)
def test_apply_has_exactly_one_attempt_and_nothing_else_has(step: Step) -> None:
    once = step_limits(step, TIMEOUTS).retry_policy.maximum_attempts == 1

    assert once == (step is Step.APPLY)


@pytest.mark.parametrize("step", [Step.EXECUTE, Step.APPLY])
def test_the_time_of_this_execution_s_code_bounds_its_run(step: Step) -> None:
    assert step_limits(step, TIMEOUTS, 5).start_to_close == timedelta(seconds=65)


def test_an_outage_of_the_first_step_ends_in_bounded_time_before_settings_are_known() -> None:
    assert step_limits(Step.PREPARE, Timeouts()).schedule_to_close < timedelta(minutes=10)
