"""Kernels that wait for work: started in advance, each used once, renewed in the background."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import structlog

from kernels.launcher import Launcher
from kernels.live import LiveKernel, start_kernel
from runpermit.config import KernelsSettings
from runpermit.errors import PythonExecutorException
from runpermit.models import Isolation

_AGAIN_AT_FIRST, _AGAIN_AT_LAST = 1.0, 60.0  # s, after a kernel that could not be started

log = structlog.get_logger()


class KernelPool:
    """Where kernels come from; see `kernels.interface.Kernels`. Open it with `async with`."""

    def __init__(self, launcher: Launcher, settings: KernelsSettings) -> None:
        self._launcher = launcher
        self._settings = settings
        self._ready: deque[LiveKernel] = deque()
        self._claimed: set[LiveKernel] = set()
        self._changed = asyncio.Event()
        self._starting = 0
        self._none_starting = asyncio.Event()
        self._none_starting.set()

    @property
    def isolation(self) -> Isolation:
        """What stands between the code and the host."""
        return self._launcher.isolation

    @property
    def ready(self) -> int:
        """How many kernels wait."""
        return len(self._ready)

    async def __aenter__(self) -> Self:
        self._keeping = asyncio.create_task(self._keep_full())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._keeping.cancel()
        await asyncio.wait({self._keeping})
        async with asyncio.TaskGroup() as group:
            for kernel in (*self._ready, *self._claimed):
                group.create_task(kernel.close())
        self._ready.clear()

    @contextlib.asynccontextmanager
    async def session(self, work: Path) -> AsyncIterator[LiveKernel]:
        """Take a kernel, or start one where none waits; see `kernels.interface.Kernels`."""
        kernel = self._take() or await self._start_now()
        kernel.work = work
        self._claimed.add(kernel)
        self._changed.set()
        try:
            yield kernel
        finally:
            await kernel.close()
            self._claimed.discard(kernel)

    def _take(self) -> LiveKernel | None:
        """The kernel that waits longest; those that ended are left to `_keep_full`."""
        kernel = next((k for k in self._ready if not self._is_over(k)), None)
        if kernel is not None:
            self._ready.remove(kernel)
        return kernel

    async def _start_now(self) -> LiveKernel:
        self._starting += 1
        self._none_starting.clear()
        try:
            return await start_kernel(self._launcher, self._settings, in_advance=False)
        finally:
            self._starting -= 1
            if not self._starting:
                self._none_starting.set()

    async def _keep_full(self) -> None:
        """Keep the pool full, whatever goes wrong: without this task nothing would refill it."""
        again = _AGAIN_AT_FIRST
        while True:
            try:
                await self._replace()
            except PythonExecutorException as error:
                log.warning("no kernel for the pool", reason=error.message, again_in=again)
            except Exception:
                log.exception("unforeseen error in keeping the pool", again_in=again)
            else:
                again = _AGAIN_AT_FIRST
                continue
            await asyncio.sleep(again)
            again = min(2 * again, _AGAIN_AT_LAST)

    async def _replace(self) -> None:
        """Replace a kernel that was taken, ended, or waited too long, or wait until one is."""
        self._changed.clear()
        await self._close_those_that_are_over()
        if len(self._ready) >= self._settings.pool:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._until_the_next_is_over())
            return
        await self._none_starting.wait()
        kernel = await start_kernel(self._launcher, self._settings, in_advance=True)
        self._ready.append(kernel)
        kernel.ended.add_done_callback(lambda _: self._changed.set())

    async def _close_those_that_are_over(self) -> None:
        over = [kernel for kernel in self._ready if self._is_over(kernel)]
        for kernel in over:
            self._ready.remove(kernel)
            await kernel.close()

    def _is_over(self, kernel: LiveKernel) -> bool:
        return kernel.ended.done() or self._age(kernel) >= self._settings.max_idle

    def _until_the_next_is_over(self) -> float:
        return max(
            0.0, self._settings.max_idle - max((self._age(k) for k in self._ready), default=0.0)
        )

    def _age(self, kernel: LiveKernel) -> float:
        return asyncio.get_running_loop().time() - kernel.born
