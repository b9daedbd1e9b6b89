"""One write at a time to each record, whichever session it comes from, and not too often."""

import asyncio
from collections.abc import Callable

_SLICE = 0.05  # s between two looks whether waiting has become pointless


class RecordLock:
    """Held from the look at a record's value until a write has been read back."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._last: float | None = None

    async def acquire(self, wanted: Callable[[], bool]) -> bool:
        """Wait for one's turn, in order, while it is `wanted`; whether it has come."""
        if not self._lock.locked():
            return await self._lock.acquire()
        turn = asyncio.create_task(self._lock.acquire())
        while not turn.done() and wanted():
            await asyncio.wait({turn}, timeout=_SLICE)
        turn.cancel()  # without effect where it has come
        await asyncio.wait({turn})
        return not turn.cancelled()

    def release(self) -> None:
        """Let the next one have it."""
        self._lock.release()

    def written(self) -> None:
        """Remember that a write was forwarded now."""
        self._last = self._loop.time()

    async def paced(self, interval: float, wanted: Callable[[], bool]) -> bool:
        """Wait until `interval` seconds have passed since the last write, while it is `wanted`.

        Whether there was anything to wait for.
        """
        if self._last is None or self._loop.time() - self._last >= interval:
            return False
        due = self._last + interval
        while wanted() and (left := due - self._loop.time()) > 0:  # noqa: ASYNC110  (two ends)
            await asyncio.sleep(min(left, _SLICE))
        return True


class RecordLocks:
    """The locks of all records that were written."""

    def __init__(self) -> None:
        self._locks: dict[str, RecordLock] = {}

    def of(self, record: str) -> RecordLock:
        """The lock of `record`; it stays, with the time of the last write."""
        return self._locks.setdefault(record, RecordLock())
