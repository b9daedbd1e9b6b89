"""The limits file as the gate sees it: looked at by a thread of its own, so that no session waits.

A stat on a network's file system may take its time, and parsing 20,000 channels takes more than a
second.
"""

import asyncio
import threading
import time
from collections.abc import Callable

import structlog

from runpermit.limits import LimitsFile, LimitsValidator

_PERIOD = 0.1  # s, between two looks
_SILENT = 5.0  # s, after which a file system that gives no answer counts as gone
# So long whoever is to judge by limits that have changed waits until they are read.
_READING_SECONDS = 3.0
_READING_SLICE = 0.02

log = structlog.get_logger()


class LimitsBeingRead(LimitsValidator):
    """Stands for limits that have changed and are not known yet: it refuses every write."""


class WatchedLimits(LimitsFile):
    """What the last look found; meanwhile nobody can say what holds, every write is refused."""

    _now: LimitsValidator

    def watch(self) -> None:
        """Look once, and from now on again and again."""
        self._looked(self.look())
        self._ended = threading.Event()
        # As a daemon: one that hangs in the file system must not keep the gate from ending.
        threading.Thread(target=self._watch, name="limits", daemon=True).start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()

    @property
    def validator(self) -> LimitsValidator:
        """The validator of the last look. It touches no disk."""
        if time.monotonic() - self._at > _SILENT:
            return self._refusing(f"the file system has not answered for {_SILENT:g} s")
        return self._now

    def _watch(self) -> None:
        while not self._ended.wait(_PERIOD):
            try:
                self._looked(self.look(self._being_read))
            except Exception as error:
                log.exception("unforeseen error in reading the limits")
                self._looked(self._refusing(f"reading it failed: {type(error).__name__}"))

    def _looked(self, found: LimitsValidator) -> None:
        self._now, self._at = found, time.monotonic()

    def _being_read(self) -> None:
        if self.enabled:
            why = f"{self.path}: it has changed and is being read"
            found = LimitsBeingRead(
                None, allow_unlisted=self.allow_unlisted, unavailable_reason=why
            )
            self._looked(found)

    def _refusing(self, why: str) -> LimitsValidator:
        # Where checking is disabled the file tells about channels alone: the last word will do.
        return self._refusal(f"{self.path}: {why}") if self.enabled else self._now


async def limits_in_force(
    limits: LimitsFile, go_on: Callable[[], None] = lambda: None
) -> LimitsValidator:
    """By which limits to judge now: those that are being read are waited for, a while.

    `go_on` is asked meanwhile, and raises where nobody wants to know any more.
    """
    waited = 0.0
    while isinstance(limits.validator, LimitsBeingRead) and waited < _READING_SECONDS:
        await asyncio.sleep(_READING_SLICE)
        waited += _READING_SLICE
        go_on()
    return limits.validator
