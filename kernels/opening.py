"""From settings to kernels: what the worker holds open as long as it works."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from kernels.environment import Environment, find_environment
from kernels.inside.limits import raise_open_files
from kernels.launcher import Launcher
from kernels.plain import PlainLauncher
from kernels.pool import KernelPool
from kernels.probe import Missing, probe
from kernels.scratch import scratch_folder
from runpermit.config import KernelsSettings
from runpermit.errors import ContainerConfigurationError
from runpermit.models import Isolation

_log = structlog.get_logger()


@contextlib.asynccontextmanager
async def open_kernels(settings: KernelsSettings) -> AsyncIterator[KernelPool]:
    """Keep a pool of kernels; on leaving, no process, folder or control group of it is left.

    Raises ContainerConfigurationError where they can't be isolated as `settings` want it.
    """
    raise_open_files()  # this process sends kernels their files, and the gate their listeners
    environment = find_environment(settings.environment)
    with scratch_folder() as scratch:
        launcher = await _launcher(settings, environment, scratch)
        async with KernelPool(launcher, settings) as pool:
            yield pool


async def _launcher(settings: KernelsSettings, environment: Environment, scratch: Path) -> Launcher:
    if settings.isolation is Isolation.NONE:
        return PlainLauncher(settings, environment, scratch)
    if settings.isolation is not Isolation.FULL:
        raise ContainerConfigurationError(
            f'kernels.isolation = "{settings.isolation}": this host knows no such kernels. Set '
            '"full".'
        )
    found = await probe(settings, environment, scratch)
    if isinstance(found, Missing):
        raise ContainerConfigurationError(
            'kernels.isolation = "full", but code can\'t be isolated on this host: '
            f'{found.cause}. {found.remedy} Or set kernels.isolation = "none" to run code '
            "unprotected, which can then only read."
        )
    if found.weak:
        _log.warning("isolation is weaker than it could be", reason=found.weak)
    return found.launcher
