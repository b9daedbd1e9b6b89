"""Tells Temporal that a long step lives, with what its code printed last."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import structlog
from temporalio import activity

from runpermit.models import RunProgress
from runpermit.text import visible

log = structlog.get_logger()

INTERVAL = 0.5
_TAIL = 4000


class StdoutTail:
    """Keeps the end of what a program printed."""

    def __init__(self) -> None:
        self._text = ""

    def add(self, text: str) -> None:
        """Take one more piece."""
        self._text = (self._text + text)[-_TAIL:]

    @property
    def text(self) -> str:
        """The end so far, with control characters shown as escapes."""
        return visible(self._text)


@asynccontextmanager
async def heartbeating(tail: StdoutTail | None = None) -> AsyncIterator[None]:
    """Heartbeat every half second: a cancellation reaches the step as fast."""
    started = monotonic()

    async def beat() -> None:
        while True:
            text = tail.text if tail else ""
            activity.heartbeat(RunProgress(elapsed=monotonic() - started, stdout_tail=text))
            await asyncio.sleep(INTERVAL)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        (ended,) = await asyncio.gather(beating, return_exceptions=True)
        if not isinstance(ended, asyncio.CancelledError):
            log.error("the heartbeats of a step ended before it", error=repr(ended))
