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
from gate.client import GateVerdict, JournalRecords, Rehearsed, SessionMode, SessionReport
from kernels.interface import RunOutcome
from runpermit.config import Settings
from runpermit.errors import CodeRuntimeError, InvalidRequestError, MaxAttemptsExceededError
from runpermit.limits import LimitsFile
from runpermit.models import (
    FollowOutcome,
    GateStatus,
    Isolation,
    PlannedChannel,
    PlannedWrite,
    Verdict,
    VerifiedChannel,
    WriteOutcome,
    WriteRecord,
)
from worker import build_workers

WRITE = WriteRecord(
    channel="SR:HCM1:SP", old=0.0, new=0.1, outcome=WriteOutcome.CONFIRMED, read_back=0.1
)


class Kernels:
    """Every program fails, or leaves the same results."""

    listener: Any = None
    succeeded = True

    def __init__(self, failure: CodeRuntimeError | None, isolation: Isolation) -> None:
        self._failure = failure
        self.isolation = isolation
        self.rehearsals: list[bool] = []
        # An apply goes on until this is set.
        self.acknowledged = asyncio.Event()

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
        self.rehearsals.append(rehearse)
        on_stdout("mean 2.0\n")
        if True in self.rehearsals and not rehearse:
            await asyncio.wait_for(self.acknowledged.wait(), 10)
        return self

    def collect(self, *, keep_files: bool) -> RunOutcome:
        del keep_files
        results = None if self._failure else {"mean": 2.0}
        return RunOutcome("mean 2.0\n", results, (), 0.1, self._failure)


class Gate:
    """Nothing is refused; what is rehearsed and written is one corrector."""

    def __init__(self, acknowledged: asyncio.Event) -> None:
        self.renewed = 0
        self.permit = ""
        self._acknowledged = acknowledged

    async def status(self) -> GateStatus:
        return GateStatus(
            inhibited=None,
            writes=True,
            limits_error=None,
            limits_enabled=True,
            limits_sha256="0" * 64,
            journal_protected=True,
        )

    @asynccontextmanager
    async def session(
        self, opening: Any, _listener: Any, *, self_renewing: bool
    ) -> AsyncIterator["Gate"]:
        self._mode = opening.mode
        assert self_renewing is (opening.mode is not SessionMode.APPLY)
        if opening.permit is not None:
            self.permit = opening.permit.id
        loop = asyncio.get_running_loop()
        self.refused: asyncio.Future[Any] = loop.create_future()
        self.closed_by_gate: asyncio.Future[Any] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        yield self

    def renew(self) -> None:
        self.renewed += 1
        self._acknowledged.set()

    async def close(self, *, completed: bool) -> SessionReport:
        assert completed
        rehearsed = Rehearsed(
            writes=[PlannedWrite(channel="SR:HCM1:SP", old=0.0, new=0.1)],
            channels=[
                PlannedChannel(
                    channel="SR:HCM1:SP", live=0.0, writes=1, low=0.1, high=0.1, last=0.1
                )
            ],
        )
        told = {
            SessionMode.READ_ONLY: {},
            SessionMode.REHEARSE: {"rehearsed": rehearsed},
            SessionMode.APPLY: {
                "forwarded": 1,
                "writes": [WRITE],
                "outcomes": {WriteOutcome.CONFIRMED: 1},
            },
        }[self._mode]
        return SessionReport(session=f"{self._mode}-1", **told)

    async def verdict(self, permit: str, _execution: str) -> GateVerdict:
        assert permit == self.permit
        return GateVerdict(verdict=Verdict.COMPLETED, forwarded=1, writes=[WRITE])

    async def verify(self, permit: str, _execution: str) -> list[VerifiedChannel]:
        assert permit == self.permit
        return [
            VerifiedChannel(
                channel="SR:HCM1:SP",
                written=0.1,
                reads=0.1,
                accepted=True,
                outcome=FollowOutcome.FOLLOWED,
            )
        ]

    async def records(self, _execution: str) -> JournalRecords:
        return JournalRecords(records=[])


def made(root: Path) -> list[Path]:
    return list(root.glob("*/orbit_*"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "executions"


@asynccontextmanager
async def working(
    lab_environment: Any, root: Path, failure: Any = None, limits: Path | None = None
) -> AsyncIterator[tuple[Kernels, Gate]]:
    """A worker; with `limits` it also writes."""
    writes = limits is not None
    kernels = Kernels(failure, Isolation.FULL if writes else Isolation.NONE)
    gate = Gate(kernels.acknowledged)
    house = House(
        settings=Settings.model_validate(
            {
                "executions": {"root": root},
                "kernels": {"isolation": "full" if writes else "none"},
                "worker": {"host": "testhost"},
                "control_system": {"type": "mock", "writes_enabled": writes},
                "approval": {"assurance": "claimed"},
                "limits": {"file": limits},
            }
        ),
        limits=LimitsFile(limits),
        kernels=cast("Any", kernels),
        gate=cast("Any", gate),
        generator=MockGenerator,
        kernel_environment="python 3.11",
        address="",
    )
    root.mkdir(exist_ok=True)  # noqa: ASYNC240
    shared, own = build_workers(lab_environment.client, house)
    async with shared, own:
        yield kernels, gate


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


@pytest.mark.parts
async def test_a_write_is_rehearsed_approved_applied_settled_and_verified(
    real_environment: Any, real_lab: Any, root: Path
) -> None:
    limits = real_lab.script.limits.path
    async with working(real_environment, root, limits=limits) as (kernels, gate):
        running = await real_lab.start(approved_code=real_lab.programs.write)
        pending = await running.pending()
        assert kernels.rehearsals == [True]
        await running.signal(f"approve-{pending.revision}", {"operator": "jd"})
        result = await running.result()
    [folder] = made(root)

    assert kernels.rehearsals == [True, False]
    assert gate.renewed >= 1
    assert result.execution_result.results == {"mean": 2.0}
    assert result.plan == pending.plan
    assert result.writes.writes == [WRITE]
    assert [channel.channel for channel in result.verified] == ["SR:HCM1:SP"]
    assert json.loads((folder / "plan.json").read_text())["kind"] == "complete"
    assert json.loads((folder / "applied.json").read_text())["permit"] == gate.permit
    assert sorted(path.name for path in (folder / "attempts").iterdir()) == [
        "01_rehearsal.ipynb",
        "02_approval.ipynb",
        "03_apply.ipynb",
    ]
    assert "SR:HCM1:SP" in (folder / "notebook.ipynb").read_text()
    assert await running.failed_tasks() == 0


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
