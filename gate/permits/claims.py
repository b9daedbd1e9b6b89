"""Claims: an execution's hold on records, so that two never write the same one at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from gate.channel_access.records import UnknownRecordError, parts
from runpermit.errors import ServiceUnavailableError
from runpermit.text import one_line


class Claims:
    """Who holds which record. A second hold waits, even one of the same execution."""

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}
        self._released = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def hold(
        self, execution: str, channels: Iterable[str], wait: float
    ) -> AsyncIterator[None]:
        """Hold the records of `channels` for `execution`: all of them, or none.

        Waits `wait` seconds for what others hold. Raises ServiceUnavailableError, which names the
        holder, where they go on holding it.
        """
        records = {_record(channel) for channel in channels}
        async with self._released:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._released.wait_for(lambda: self._holders.keys().isdisjoint(records))
            if taken := sorted(self._holders.keys() & records):
                raise self._refusal(taken, wait)
            self._holders |= dict.fromkeys(records, execution)
        try:
            yield
        finally:
            for record in records:
                del self._holders[record]
            # Nobody is let in between: whoever waits looks again in its own turn.
            waking = asyncio.ensure_future(self._wake())
            await asyncio.shield(waking)

    def _refusal(self, taken: list[str], wait: float) -> ServiceUnavailableError:
        holder = self._holders[taken[0]]
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        return ServiceUnavailableError(
            f"{taken[0]}{more} is being written by the execution {one_line(holder, 100)}, and "
            f"still was after {wait:g} s (gate.claim_wait). Apply once that one has ended",
            "gate",
            technical_details={"holder": holder, "records": taken[:10]},
        )

    async def _wake(self) -> None:
        async with self._released:
            self._released.notify_all()


def _record(channel: str) -> str:
    try:
        return parts(channel).record
    except UnknownRecordError:
        return channel
