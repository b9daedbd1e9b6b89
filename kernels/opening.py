"""From settings to kernels: what the worker holds open as long as it works."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from kernels.cgroup import find_cgroups
from kernels.environment import Environment, find_environment
from kernels.launcher import Launcher
from kernels.plain import PlainLauncher
from kernels.pool import KernelPool
from kernels.probe import Missing, probe
from kernels.sandbox import SandboxLauncher, find_tools
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
    tools = find_tools()
    if isinstance(found, Missing) or isinstance(tools, str):
        why = f"{found.cause}. {found.remedy}" if isinstance(found, Missing) else tools
        raise ContainerConfigurationError(
            f'kernels.isolation = "full", but code can\'t be isolated on this host: {why} Or set '
            'kernels.isolation = "none" to run code unprotected, which can then only read.'
        )
    if found.weak:
        _log.warning("isolation is weaker than it could be", reason=found.weak)
    cgroups = find_cgroups()
    if cgroups is not None:
        cgroups.remove_stale()
    return SandboxLauncher(settings, environment, tools, scratch, cgroups)
