"""Locks: one write at a time to each record, in order and not too often."""

import asyncio

import pytest

from gate.policy.locks import RecordLock, RecordLocks


async def test_a_record_has_one_lock_and_another_record_another() -> None:
    locks = RecordLocks()
    assert locks.of("A") is locks.of("A")
    assert locks.of("A") is not locks.of("B")


async def test_writes_have_their_turn_in_the_order_in_which_they_came() -> None:
    lock, order = RecordLock(), []

    async def write(number: int) -> None:
        assert await lock.acquire(lambda: True)
        order.append(number)
        await asyncio.sleep(0)
        lock.release()

    await asyncio.gather(*(write(number) for number in range(20)))
    assert order == list(range(20))


class Clock:
    """Time that passes in sleep alone."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    return clock


@pytest.fixture
async def timed(clock: Clock) -> RecordLock:
    lock = RecordLock()
    lock._loop = clock  # type: ignore[assignment]
    return lock


async def test_the_next_write_waits_for_its_interval(timed: RecordLock, clock: Clock) -> None:
    assert not await timed.paced(10, lambda: True)  # nothing was written before
    timed.written()
    assert await timed.paced(0.22, lambda: True)
    assert clock.now == pytest.approx(100.22)
    assert not await timed.paced(0.21, lambda: True)


async def test_waiting_ends_with_the_session(timed: RecordLock, clock: Clock) -> None:
    timed.written()
    await timed.paced(60, lambda: clock.now < 100.1)
    assert clock.now < 100.2


async def test_whoever_gives_up_waiting_has_not_got_it_and_keeps_nobody_waiting() -> None:
    lock, wanted = RecordLock(), [True]
    assert await lock.acquire(lambda: True)
    giving_up = asyncio.create_task(lock.acquire(lambda: bool(wanted)))
    next_one = asyncio.create_task(lock.acquire(lambda: True))
    await asyncio.sleep(0.01)
    wanted.clear()
    assert not await giving_up
    assert not next_one.done()
    lock.release()
    assert await next_one
