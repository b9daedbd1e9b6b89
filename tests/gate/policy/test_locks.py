"""Locks: one write at a time to each record, in order and not too often."""

import asyncio
import time

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


async def test_the_next_write_waits_for_its_interval() -> None:
    lock = RecordLock()
    assert not await lock.paced(10, lambda: True)  # nothing was written before
    lock.written()
    start = time.monotonic()
    assert await lock.paced(0.2, lambda: True)
    assert 0.19 < time.monotonic() - start < 0.6
    assert not await lock.paced(0.2, lambda: True)


async def test_waiting_ends_with_the_session() -> None:
    lock, wanted = RecordLock(), [True]
    lock.written()
    asyncio.get_running_loop().call_later(0.1, wanted.clear)
    start = time.monotonic()
    await lock.paced(60, lambda: bool(wanted))
    assert time.monotonic() - start < 0.6


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
