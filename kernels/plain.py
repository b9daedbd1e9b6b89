"""Kernels as plain processes of this host, with no isolation: for a demo machine only."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from kernels.environment import INSIDE, Environment, kernel_environment
from kernels.launcher import Launched, resource_limits
from kernels.process import KernelProcess
from runpermit import serialization
from runpermit.config import KernelsSettings
from runpermit.models import Isolation


class PlainLauncher:
    """Starts each kernel under the worker's own user, with folders of its own in `scratch`."""

    isolation = Isolation.NONE

    def __init__(self, settings: KernelsSettings, environment: Environment, scratch: Path) -> None:
        self._settings = settings
        self._python = environment.python
        self._scratch = scratch
        self._limits = resource_limits(settings)
        # It would count all processes of this user.
        del self._limits["RLIMIT_NPROC"]

    @contextlib.asynccontextmanager
    async def launch(
        self,
        handover: int,
        words: int,
        *,
        in_advance: bool,  # noqa: ARG002  (its priority is its own affair)
    ) -> AsyncIterator[Launched]:
        """Start a process; see `kernels.launcher.Launcher`."""
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        try:
            work, runtime = folder / "work", folder / "run"
            home = runtime / "home"
            work.mkdir()
            home.mkdir(parents=True)
            process = KernelProcess(await self._start(work, home, handover, words))
            try:
                yield Launched(process, str(runtime), serialization.__file__, 0, self._limits)
            finally:
                process.kill()
                await process.dead()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _start(
        self, work: Path, home: Path, handover: int, words: int
    ) -> asyncio.subprocess.Process:
        variables = kernel_environment(self._python, INSIDE, home, home, self._settings.cpus)
        return await asyncio.create_subprocess_exec(
            *(self._python, "-I", "-B", INSIDE / "launch.py", str(handover)),
            cwd=work,
            # The kernel ends itself when this process, the worker, is gone.
            env=variables | {"JPY_PARENT_PID": str(os.getpid())},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            pass_fds=(handover,),
            start_new_session=True,
        )
