"""Deadlines that protect the machine, judged also where the tests' own machine stands still.

A late gate is late each time, a stalled machine is not. Tests that judge by this are `alone`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

TRIALS = 3
_TICK_SECONDS = 0.005

# Since when and until when, as time.monotonic() tells it.
Span = tuple[float, float]


async def in_time(trial: Callable[[], Awaitable[Span]], within: float) -> None:
    """Assert that what `trial` measures takes less than `within` seconds, in one of three trials.

    The longest time for which this event loop stood still during the measured span is allowed.
    """
    told = []
    for _ in range(TRIALS):
        async with _ticking() as ticks:
            since, until = await trial()
        stall = longest_stall(ticks, since, until)
        if until - since < within + stall:
            return
        told.append(f"{until - since:.3f} s with a stall of {stall:.3f} s")
    raise AssertionError(f"not within {within} s: {', '.join(told)}")


def longest_stall(ticks: list[float], since: float, until: float) -> float:
    """By how much the ticks that touch the span were late at most, in s."""
    late = (
        after - before - _TICK_SECONDS
        for before, after in pairwise(ticks)
        if before < until and after > since
    )
    return max(late, default=0.0)


@asynccontextmanager
async def _ticking() -> AsyncIterator[list[float]]:
    """When this event loop came round, every few milliseconds as long as nothing holds it up."""
    ticks = [time.monotonic()]

    async def tick() -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            ticks.append(time.monotonic())

    ticking = asyncio.create_task(tick())
    try:
        yield ticks
    finally:
        ticking.cancel()
        ticks.append(time.monotonic())
