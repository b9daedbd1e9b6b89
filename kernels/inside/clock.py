"""Waits that are cut short, and clocks that agree with them, so that loops with deadlines end.

Only `time.sleep` and `asyncio.sleep` of the program's main thread are cut short, and only the
clocks of `time` agree: other threads, `Event.wait` and other time-outs, what pyepics waits for, and
`datetime.now()` keep real time. So do the libraries that talk to the machine and to the host.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

# Enough for what comes in answer to a put: programs sleep, then look at what a monitor brought.
CUT_TO = 0.005  # s
_LONGEST = 86400.0  # s; beyond it a sleep is a way never to end
_REAL_TIME = frozenset(
    {"IPython", "aioca", "asyncio", "epics", "ipykernel", "jupyter_client", "tornado", "zmq"}
)
_CLOCKS = ("time", "monotonic", "perf_counter")


class Clock:
    """Is `ahead` of real time by what the program waited less than it asked for, in seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._cuts = False
        self._wakings: list[float] = []
        self._real_sleep = time.sleep
        self._real_asyncio_sleep: Callable[..., Any] = asyncio.sleep
        self._monotonic = time.monotonic

    def install(self) -> None:
        """Take the place of the real functions, for whatever imports them from here on."""
        for name in _CLOCKS:
            setattr(time, name, self._agreeing(getattr(time, name)))
            setattr(time, f"{name}_ns", self._agreeing_ns(getattr(time, f"{name}_ns")))
        for module, name, function in (
            (time, "sleep", self._sleep),
            (asyncio, "sleep", self._asyncio_sleep),
            (asyncio.tasks, "sleep", self._asyncio_sleep),
        ):
            setattr(module, name, function)

    def cut_waits(self) -> None:
        """Cut waits short from here on."""
        self._cuts = True

    def _agreeing(self, real: Callable[[], float]) -> Callable[[], float]:
        def now() -> float:
            return real() + self._ahead_for(sys._getframe().f_back)  # noqa: SLF001

        return now

    def _agreeing_ns(self, real: Callable[[], int]) -> Callable[[], int]:
        def now() -> int:
            return real() + int(self._ahead_for(sys._getframe().f_back) * 1e9)  # noqa: SLF001

        return now

    def _ahead_for(self, caller: FrameType | None) -> float:
        return 0.0 if _keeps_real_time(caller) else self.ahead

    def _sleep(self, seconds: float, /) -> None:
        """Stand in for `time.sleep`."""
        if not self._is_cut(seconds, sys._getframe().f_back):  # noqa: SLF001
            self._real_sleep(seconds)
            return
        waking = self._now() + seconds
        self._real_sleep(CUT_TO)
        self._reach(waking)

    def _asyncio_sleep(self, delay: float, result: Any = None) -> Any:  # noqa: ANN401
        """Stand in for `asyncio.sleep`."""
        if not self._is_cut(delay, sys._getframe().f_back):  # noqa: SLF001
            return self._real_asyncio_sleep(delay, result)
        return self._cut_asyncio_sleep(delay, result)

    async def _cut_asyncio_sleep(self, delay: float, result: Any) -> Any:  # noqa: ANN401
        waking = self._now() + delay
        self._wakings.append(waking)
        try:
            # Of those who sleep at the same time the next one wakes, as it would be.
            while True:
                await self._real_asyncio_sleep(CUT_TO)
                if waking <= min(self._wakings):
                    break
        finally:
            self._wakings.remove(waking)
        self._reach(waking)
        return result

    def _is_cut(self, seconds: object, caller: FrameType | None) -> bool:
        # What is no number, or none that can be slept, is the real function's to refuse.
        return (
            self._cuts
            and isinstance(seconds, int | float)
            and CUT_TO < seconds <= _LONGEST
            # Another one may sleep in turns with work that takes real time, and would run away.
            and threading.current_thread() is threading.main_thread()
            and not _keeps_real_time(caller)
        )

    def _now(self) -> float:
        return self._monotonic() + self.ahead

    def _reach(self, moment: float) -> None:
        """Be at `moment`, if it isn't over."""
        self.ahead = max(self.ahead, moment - self._monotonic())


def _keeps_real_time(caller: FrameType | None) -> bool:
    name = caller.f_globals.get("__name__") if caller else None
    return isinstance(name, str) and name.partition(".")[0] in _REAL_TIME
