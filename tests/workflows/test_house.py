"""The lifecycle with the worker's real activities; only kernel and gate are stand-ins."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from activities.generators.mock_generator import MockGenerator
from activities.house import House
from gate.client import SessionReport
from kernels.interface import RunOutcome
from runpermit.config import Settings
from runpermit.errors import CodeRuntimeError, InvalidRequestError, MaxAttemptsExceededError
from runpermit.limits import LimitsFile
from runpermit.models import GateStatus, Isolation
from worker import build_workers


class Kernels:
    """Every program fails, or leaves the same results."""

    isolation = Isolation.NONE
    listener: Any = None
    succeeded = True

    def __init__(self, failure: CodeRuntimeError | None) -> None:
        self._failure = failure

    @asynccontextmanager
    async def session(self, _work: Path) -> AsyncIterator["Kernels"]:
        yield self

    async def run(
        self,
        _code: str,
        *,
        timeout: float,
        attempt: int,
        on_stdout: Callable[[str], None],
        rehearse: bool,
    ) -> "Kernels":
        del timeout, attempt
        assert not rehearse
        on_stdout("mean 2.0\n")
        return self

    def collect(self, *, keep_files: bool) -> RunOutcome:
        del keep_files
        results = None if self._failure else {"mean": 2.0}
        return RunOutcome("mean 2.0\n", results, (), 0.1, self._failure)


class Gate:
    """Nothing is refused, and nothing is written."""

    async def status(self) -> GateStatus:
        return GateStatus(
            inhibited=None,
            writes=False,
            limits_error=None,
            limits_enabled=True,
            limits_sha256="0" * 64,
            journal_protected=True,
        )

    @asynccontextmanager
    async def session(
        self, _opening: Any, _listener: Any, *, self_renewing: bool
    ) -> AsyncIterator["Gate"]:
        assert self_renewing
        loop = asyncio.get_running_loop()
        self.refused: asyncio.Future[Any] = loop.create_future()
        self.closed_by_gate: asyncio.Future[Any] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        yield self

    async def close(self, *, completed: bool) -> SessionReport:
        del completed
        return SessionReport(session="read_only-1")


def made(root: Path) -> list[Path]:
    return list(root.glob("*/orbit_*"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "executions"


@asynccontextmanager
async def working(lab_environment: Any, root: Path, failure: Any = None) -> AsyncIterator[None]:
    house = House(
        settings=Settings.model_validate(
            {
                "executions": {"root": root},
                "kernels": {"isolation": "none"},
                "worker": {"host": "testhost"},
                "control_system": {"type": "mock"},
            }
        ),
        limits=LimitsFile(None),
        kernels=cast("Any", Kernels(failure)),
        gate=cast("Any", Gate()),
        generator=MockGenerator,
        kernel_environment="python 3.11",
        address="",
    )
    root.mkdir(exist_ok=True)  # noqa: ASYNC240
    shared, own = build_workers(lab_environment.client, house)
    async with shared, own:
        yield


async def test_a_success_leaves_its_whole_story_in_the_folder(
    environment: Any, idle_lab: Any, root: Path
) -> None:
    async with working(environment, root):
        result = await (await idle_lab.start(approved_code=None)).result()
    [folder] = made(root)

    assert result.execution_result.results == {"mean": 2.0}
    assert result.isolation is Isolation.NONE
    assert json.loads((folder / "results.json").read_text()) == {"mean": 2.0}
    assert (folder / "notebook.ipynb").is_file()
    assert sorted(path.name for path in (folder / "attempts").iterdir()) == [
        "01_generation.ipynb",
        "02_execution.ipynb",
    ]
    assert not (folder / ".lock").exists()


async def test_a_failure_leaves_its_notebooks_and_frees_the_folder(
    environment: Any, idle_lab: Any, root: Path
) -> None:
    failure = CodeRuntimeError("division by zero", "Traceback: …", 1)
    async with working(environment, root, failure):
        error = await (await idle_lab.start(retries=2)).failure()
    [folder] = made(root)

    assert isinstance(error, MaxAttemptsExceededError)
    assert error.folder_path == folder
    assert "division by zero" in (folder / "notebook.ipynb").read_text()
    assert not (folder / ".lock").exists()


async def test_an_execution_continues_in_the_folder_of_an_earlier_one(
    environment: Any, idle_lab: Any, root: Path
) -> None:
    async with working(environment, root):
        await (await idle_lab.start()).result()
        [folder] = made(root)
        name = str(folder.relative_to(root))
        await (await idle_lab.start(existing_execution_folder=name)).result()

    assert (folder / "request-2.json").is_file()
    assert (folder / "notebook-2.ipynb").is_file()
    assert (folder / "attempts" / "03_generation.ipynb").is_file()


@pytest.mark.parametrize("name", ["../outside", "/etc", "no such folder", "."])
async def test_a_folder_outside_the_root_is_refused(
    environment: Any, idle_lab: Any, root: Path, name: str
) -> None:
    async with working(environment, root):
        error = await (await idle_lab.start(existing_execution_folder=name)).failure()

    assert isinstance(error, InvalidRequestError)
    assert error.field == "existing_execution_folder"
