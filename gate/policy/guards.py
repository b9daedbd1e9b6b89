"""Guards: what must hold all the time while a permit is used, seen on circuits of the gate's own.

Other conditions are looked at for one write; these are watched, so that a session ends by them also
while it only waits.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from gate.channel_access.watched_channel import WatchedChannel, WatchedIocs
from gate.policy.conditions import holds, worded
from runpermit.limits import Condition

# A search for a channel that nobody has takes 1.4 s.
FIRST_SECONDS = 3.0

log = structlog.get_logger()


class Guards:
    """Conditions under watch. Once one does not hold, or can't be seen, none of them permits again.

    `violated` then has the reason; it is cancelled where nothing was violated until `close`.
    """

    def __init__(self, conditions: Sequence[Condition], iocs: WatchedIocs) -> None:
        self.violated: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._conditions = conditions
        self._armed = False
        names = dict.fromkeys(condition.channel for condition in conditions)
        self._channels = {name: WatchedChannel(name, iocs, self._look) for name in names}

    @classmethod
    async def open(cls, conditions: Sequence[Condition], iocs: WatchedIocs) -> "Guards":
        """Watch `conditions`. Returns once all of them are judged, after 3 s at the latest.

        What does not hold by then is violated.
        """
        guards = cls(conditions, iocs)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_SECONDS):
                    for channel in guards._channels.values():
                        await channel.told.wait()
        except asyncio.CancelledError:
            await guards.close()
            raise
        guards._armed = True
        guards._look()
        return guards

    def refusal(self) -> str | None:
        """Why nothing may be written, in a sentence; None while all guards hold."""
        self._look()
        if self.violated.cancelled():
            return "The guards are no longer watched."
        if self.violated.done():
            return self.violated.result()
        return None if self._armed else "The guards have not been read yet."

    async def close(self) -> None:
        """Stop watching; nothing is permitted any more."""
        self.violated.cancel()
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    def _look(self) -> None:
        if not self._armed or self.violated.done():
            return
        why = next(filter(None, map(self._failure, self._conditions)), None)
        if why is not None:
            log.warning("a guard is violated", why=why)
            self.violated.set_result(why)

    def _failure(self, condition: Condition) -> str | None:
        try:
            reading = self._channels[condition.channel].reading()
        except LookupError as why:
            return f"The guard {worded(condition)} can't be judged: {why}."
        if holds(condition, reading):
            return None
        return f"The guard {worded(condition)} does not hold: it reads {reading}."
