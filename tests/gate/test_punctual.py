"""Deadlines are judged by what is measured, less what this machine stood still meanwhile."""

import asyncio
import time

import pytest

from tests.gate.punctual import TRIALS, Span, in_time, longest_stall


async def test_what_is_late_each_time_is_late() -> None:
    trials = []

    async def late() -> Span:
        trials.append(time.monotonic())
        await asyncio.sleep(0)
        return trials[-1], trials[-1] + 60

    with pytest.raises(AssertionError, match=r"not within 1 s: 60\.000 s with a stall of"):
        await in_time(late, 1)
    assert len(trials) == TRIALS


async def test_what_is_in_time_once_is_in_time() -> None:
    took = [60.0, 60.0, 0.0]

    async def trial() -> Span:
        now = time.monotonic()
        return now, now + took.pop(0)

    await in_time(trial, 1)
    assert took == []


async def test_a_stall_within_the_span_is_allowed() -> None:
    trials = []

    async def stalled() -> Span:
        trials.append(time.monotonic())
        await asyncio.sleep(0.02)
        time.sleep(0.3)  # noqa: ASYNC251  (so that the loop stands still)
        await asyncio.sleep(0.01)
        return trials[-1], trials[-1] + 0.35

    await in_time(stalled, 0.1)
    assert len(trials) == 1


def test_no_stall_beside_the_span_is_allowed() -> None:
    ticks = [0.0, 5.0, 5.005, 5.505, 9.0]
    assert longest_stall(ticks, 5.1, 5.4) == pytest.approx(0.495)
    assert longest_stall(ticks, 5.001, 5.004) == pytest.approx(0)
    assert longest_stall([], 0, 1) == 0
