"""Errors decide retries: one table from category to what Temporal and the lifecycle do."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from temporalio.common import RetryPolicy

from runpermit.errors import ErrorCategory
from workflows.steps import Timeouts

_KERNEL_START = timedelta(seconds=60)
# Long ramps, and an inhibit that is waited for.
_RESTORE = timedelta(days=30)
_SETTLING = timedelta(hours=1)
# Somebody waits for the answer, and can say it again.
_IDENTIFYING = timedelta(seconds=10)
_ONCE = RetryPolicy(maximum_attempts=1)


class Lifecycle(StrEnum):
    """What the execution does once a step has failed for good."""

    NEXT_ATTEMPT = "next attempt"
    FAIL = "fail"


@dataclass(frozen=True)
class Treatment:
    """How a failure of one category is met."""

    retry_policy: RetryPolicy
    non_retryable: bool
    lifecycle: Lifecycle


def treatment(category: ErrorCategory) -> Treatment:
    """INFRASTRUCTURE: the same step again with back-off; CODE_RELATED: other code; else fail."""
    if category is ErrorCategory.INFRASTRUCTURE:
        policy = RetryPolicy(
            initial_interval=timedelta(seconds=1),
            backoff_coefficient=2.0,
            maximum_interval=timedelta(seconds=60),
        )
        return Treatment(policy, non_retryable=False, lifecycle=Lifecycle.FAIL)
    lifecycle = Lifecycle.NEXT_ATTEMPT if category is ErrorCategory.CODE_RELATED else Lifecycle.FAIL
    return Treatment(_ONCE, non_retryable=True, lifecycle=lifecycle)


class Step(StrEnum):
    """The activities, as far as time and repetition tell them apart."""

    PREPARE = "prepare"
    GENERATE = "generate"
    ANALYSE = "analyse"
    REHEARSE = "rehearse"
    DRAFT = "draft"
    EXECUTE = "execute"
    APPLY = "apply"
    SETTLE = "settle"
    REACH = "reach"
    VERIFY = "verify"
    RESTORE = "restore"
    LEAVE = "leave"
    IDENTIFY = "identify"
    CONCLUDE = "conclude"


_LONG = {Step.GENERATE, Step.REHEARSE, Step.EXECUTE, Step.APPLY, Step.VERIFY, Step.RESTORE}


@dataclass(frozen=True)
class Limits:
    """Temporal's four time limits for one step, and its retries."""

    start_to_close: timedelta
    schedule_to_start: timedelta | None
    schedule_to_close: timedelta
    heartbeat: timedelta | None
    retry_policy: RetryPolicy


def step_limits(step: Step, timeouts: Timeouts, run_seconds: float | None = None) -> Limits:
    """How long `step` may take in one try, wait for its worker, and go on trying.

    `run_seconds` is the time that this execution's code may run, where it is less than the
    deployment's.
    """
    infrastructure = treatment(ErrorCategory.INFRASTRUCTURE).retry_policy
    retry, host = timedelta(seconds=timeouts.retry), timedelta(seconds=timeouts.host)
    run = timedelta(seconds=timeouts.run if run_seconds is None else run_seconds)
    one_try = {
        Step.GENERATE: timedelta(seconds=timeouts.generation) + timedelta(seconds=30),
        Step.EXECUTE: run + _KERNEL_START,
        Step.APPLY: run + _KERNEL_START,
        Step.REHEARSE: timedelta(seconds=timeouts.rehearsal) + _KERNEL_START,
        Step.VERIFY: _SETTLING,
        Step.RESTORE: _RESTORE,
        Step.IDENTIFY: _IDENTIFYING,
        Step.REACH: timedelta(seconds=timeouts.heartbeat),
    }.get(step, timedelta(seconds=60))
    if step is Step.SETTLE:
        # Whether anything was written is worth waiting for: for its host, and for its gate.
        return Limits(
            start_to_close=one_try,
            schedule_to_start=None,
            schedule_to_close=timedelta(seconds=timeouts.verdict),
            heartbeat=timedelta(seconds=timeouts.heartbeat),
            retry_policy=infrastructure,
        )
    if step is Step.REACH:  # a host that is there answers at once
        return Limits(
            start_to_close=one_try,
            schedule_to_start=None,
            schedule_to_close=one_try,
            heartbeat=None,
            retry_policy=infrastructure,
        )
    if step is Step.IDENTIFY:
        return Limits(
            start_to_close=one_try,
            schedule_to_start=one_try,
            schedule_to_close=2 * one_try,
            heartbeat=None,
            retry_policy=infrastructure,
        )
    # The queue of a host has one worker: where that is gone, waiting for ever helps nobody; but
    # what somebody wants put back is put back when it returns.
    on_host = step not in {Step.PREPARE, Step.ANALYSE}
    return Limits(
        start_to_close=one_try,
        schedule_to_start=host if on_host and step is not Step.RESTORE else None,
        schedule_to_close=one_try + (max(retry, host) if on_host else retry),
        heartbeat=timedelta(seconds=timeouts.heartbeat) if step in _LONG else None,
        retry_policy=_ONCE if step is Step.APPLY else infrastructure,
    )
