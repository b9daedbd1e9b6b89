"""Tells Temporal that a long step lives, with what its code printed and wrote last."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import structlog
from temporalio import activity
from temporalio.client import AsyncActivityCancelledError
from temporalio.service import RPCError, RPCStatusCode

from runpermit.models import RunProgress, WritesSoFar
from runpermit.text import visible

log = structlog.get_logger()

INTERVAL = 0.5
# For so long an answer of Temporal is waited for before it counts as silent.
ANSWER_SECONDS = 2.0
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
            activity.heartbeat(_progress(started, tail))
            await asyncio.sleep(INTERVAL)

    async with _beating(beat):
        yield


class Lifeline:
    """Heartbeats that Temporal has to acknowledge, for a step that writes to the machine.

    The SDK's own are sent when it suits, and nobody learns what became of them. `acknowledged` is
    called for each that Temporal took; `cut` completes where Temporal wants no more of the step:
    it was cancelled, reset or terminated. `wrote` tells what was written so far.
    """

    def __init__(self, tail: StdoutTail) -> None:
        self.acknowledged: Callable[[], None] = lambda: None
        self.wrote: Callable[[], WritesSoFar | None] = lambda: None
        self.cut: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tail = tail

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat until the end, also when it was cut: the step is still to tell what it wrote."""
        step = activity.client().get_async_activity_handle(task_token=activity.info().task_token)
        started = monotonic()

        async def beat() -> None:
            while True:
                try:
                    progress = _progress(started, self._tail, self.wrote())
                    async with asyncio.timeout(ANSWER_SECONDS):
                        await step.heartbeat(progress)
                    self.acknowledged()
                    # Else the SDK takes the step for silent, and cancels it itself.
                    activity.heartbeat(progress)
                except AsyncActivityCancelledError:
                    self._cut("it was cancelled")
                except RPCError as error:
                    if error.status is RPCStatusCode.NOT_FOUND:
                        self._cut("Temporal knows it no more: it was terminated, or timed out")
                    log.warning("a heartbeat was not taken", why=str(error))
                except TimeoutError:
                    log.warning("Temporal does not answer", seconds=ANSWER_SECONDS)
                await asyncio.sleep(INTERVAL)

        async with _beating(beat):
            yield

    def _cut(self, why: str) -> None:
        if not self.cut.done():
            self.cut.set_result(why)


@asynccontextmanager
async def _beating(beat: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    beating = asyncio.ensure_future(beat())
    try:
        yield
    finally:
        beating.cancel()
        (ended,) = await asyncio.gather(beating, return_exceptions=True)
        if not isinstance(ended, asyncio.CancelledError):
            log.error("the heartbeats of a step ended before it", error=repr(ended))


def _progress(
    started: float, tail: StdoutTail | None, wrote: WritesSoFar | None = None
) -> RunProgress:
    return RunProgress(
        elapsed=monotonic() - started, stdout_tail=tail.text if tail else "", writes=wrote
    )
