import shutil
import sys
import venv
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kernels.environment import find_environment
from kernels.interface import RunOutcome
from runpermit.errors import ContainerConfigurationError

NOT_NEEDED = (
    "numpy*",
    "matplotlib*",
    "pandas*",
    "temporal*",
    "epicscorelibs*",
    "playwright*",
    "*.pth",
)
RunProgram = Callable[..., Awaitable[RunOutcome]]


def test_the_workers_own_environment_is_found() -> None:
    environment = find_environment(None)
    assert environment.python == Path(sys.executable)
    assert {Path(sys.prefix), Path(sys.base_prefix)} == set(environment.prefixes)


def test_links_outside_of_the_prefixes_are_found(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    lend_packages(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    hop = tmp_path / "hop"
    hop.symlink_to(python.resolve())
    python.unlink()
    python.symlink_to("../../hop")
    environment = find_environment(tmp_path / "env")
    assert environment.links == (hop,)


def lend_packages(environment: Path) -> None:
    """Let it import what this process can."""
    site = next((environment / "lib").glob("python*/site-packages"))
    own = next((Path(sys.prefix) / "lib").glob("python*/site-packages"))
    (site / "own.pth").write_text(str(own))


def test_an_environment_without_ipykernel_is_refused(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    with pytest.raises(ContainerConfigurationError, match="can't import ipykernel and epics"):
        find_environment(tmp_path / "env")


def test_what_is_no_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContainerConfigurationError, match=rf"kernels\.environment = {tmp_path}"):
        find_environment(tmp_path)


@pytest.mark.slow
async def test_code_runs_in_the_environment_that_is_named(
    run_program: RunProgram, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    site = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    own = next((Path(sys.prefix) / "lib").glob("python*/site-packages"))
    shutil.copytree(own, site, ignore=shutil.ignore_patterns(*NOT_NEEDED), dirs_exist_ok=True)
    (site / "only_there.py").write_text("")
    outcome = await run_program(
        "import only_there, sys; results = {'prefix': sys.prefix}", environment=tmp_path / "env"
    )
    assert outcome.error is None, outcome.error
    assert outcome.results == {"prefix": str(tmp_path / "env")}
