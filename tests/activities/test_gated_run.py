"""A run behind the gate: what is refused, what is written, and how it is fenced at its end."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.execution import Execution
from activities.gated_run import GatedRun, Program, run_gated
from activities.heartbeat import Lifeline, StdoutTail
from activities.house import House
from gate.client import Opening, Refusal, SessionMode, SessionReport
from kernels.interface import RunOutcome
from kernels.opening import open_kernels
from runpermit.config import KernelsSettings
from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeRuntimeError,
    PythonExecutorException,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.models import Isolation
from workflows.steps import Executed, ExecuteTask

SWALLOW = """\
def swallow(channel, value):
    try:
        write_channel(channel, value)
    except Exception as error:
        return repr(error)
"""


@pytest.fixture
def reading(running: Any) -> Callable[..., ExecuteTask]:
    def make(code: str, **fields: Any) -> ExecuteTask:
        task: ExecuteTask = running.execute_task(running.folder(), code, **fields)
        return task

    return make


@pytest.fixture
def run(running: Any) -> Callable[..., Any]:
    """Runs a task, in a given environment or one of its own."""

    async def start(task: ExecuteTask, environment: ActivityEnvironment | None = None) -> Executed:
        step = Execution(running.house()).execute
        found: Executed = await (environment or ActivityEnvironment()).run(step, task)
        return found

    return start


def journal(task: ExecuteTask) -> list[dict[str, Any]]:
    return [json.loads(line) for line in task.folder.journal.read_text().splitlines()]


async def started(environment: ActivityEnvironment) -> None:
    """Wait until the program has printed something."""
    said = asyncio.Event()
    environment.on_heartbeat = lambda progress: said.set() if progress.stdout_tail else None
    await asyncio.wait_for(said.wait(), 20)


@pytest.mark.parametrize(
    ("refusals", "error"),
    [
        ([Refusal(channel="A", violation_type="V", reason="r")], ChannelLimitsViolationError),
        ([], WorkflowError),
    ],
)
async def test_a_swallowed_refusal_is_an_error_however_much_of_it_is_told(
    refusals: list[Refusal], error: type[Exception]
) -> None:
    ended = asyncio.get_running_loop().create_future()
    ended.set_result(RunOutcome("", results={}, figures=(), execution_time=0, error=None))
    report = SessionReport(session="apply-1", refused=1, refusals=refusals)
    run = GatedRun(ended, writes=True, refused=False, report=report, interruption=None, printed="")
    outcome = run.outcome()
    assert isinstance(outcome.error, error)
    assert outcome.results is None


BEHIND = Refusal(channel="A", violation_type="NOT_ALLOWED", reason="the session was ended")
BEFORE = Refusal(channel="A", violation_type="MAX_EXCEEDED", reason="at most 1")


@pytest.mark.parametrize("failure", [None, CodeRuntimeError("a refused write", "", 1)])
@pytest.mark.parametrize(
    ("writes", "refusals", "expected"),
    [
        (True, [], WorkflowError),
        (True, [BEHIND], WorkflowError),
        (True, [BEFORE, BEHIND], ChannelLimitsViolationError),
        (False, [], ServiceUnavailableError),
        (False, [BEHIND], ServiceUnavailableError),
        (False, [BEFORE], ChannelLimitsViolationError),
    ],
)
async def test_what_the_gate_ended_is_told_as_that_however_the_program_took_it(
    failure: Exception | None,
    writes: bool,  # noqa: FBT001
    refusals: list[Refusal],
    expected: type[Exception],
) -> None:
    ended = asyncio.get_running_loop().create_future()
    error = cast("PythonExecutorException | None", failure)
    ended.set_result(RunOutcome("", results={}, figures=(), execution_time=0, error=error))
    report = SessionReport(
        session="s", refused=len(refusals), refusals=refusals, ended="its worker was silent"
    )
    run = GatedRun(
        ended, writes, refused=bool(refusals), report=report, interruption=None, printed=""
    )
    outcome = run.outcome()
    assert isinstance(outcome.error, expected)
    assert outcome.results is None
    assert ("silent" in str(outcome.error)) is (BEFORE not in refusals)


class Plain:
    """A house whose kernel leaves a file, and whose gate refuses `refused` writes; both tell."""

    listener: Any = None
    succeeded = True

    def __init__(self, refused: int = 0) -> None:
        self.told: list[str] = []
        self.collecting, self.go_on = threading.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        self.lost = loop.create_future()
        self.refused = loop.create_future()
        self.closed_by_gate = loop.create_future()
        self.dies: asyncio.Event | None = None
        self.completed: bool | None = None
        self.renewed = 0
        self.self_renewing: bool | None = None
        self.rehearsed: bool | None = None
        self._refused = refused
        self.kernels = self.gate = self

    @asynccontextmanager
    async def session(self, *_: Any, self_renewing: bool | None = None) -> AsyncIterator["Plain"]:
        if self_renewing is not None:
            self.self_renewing = self_renewing
        yield self
        self.told.append("left")

    def renew(self) -> None:
        self.renewed += 1

    async def run(self, *_: Any, rehearse: bool, **__: Any) -> "Plain":
        self.rehearsed = rehearse
        try:
            if self.dies is not None:
                await self.dies.wait()
        finally:
            self.told.append("dead")
        return self

    async def close(self, *, completed: bool) -> SessionReport:
        self.completed = completed
        self.told.append("fenced")
        ended = "the lease ran out" if self.closed_by_gate.done() else ""
        return SessionReport(session="s", refused=self._refused, ended=ended)

    def collect(self, *, keep_files: bool) -> RunOutcome:
        self.told.append("begun")
        self.collecting.set()
        assert self.go_on.wait(10)
        self.told.append("files kept" if keep_files else "no files kept")
        return RunOutcome("", results={}, figures=(), execution_time=0, error=None)


def plainly(
    house: Plain, desk: Any, mode: SessionMode, lifeline: Lifeline | None = None
) -> "asyncio.Task[GatedRun]":
    opening = Opening(execution="wf", run_id="run", attempt=1, mode=mode, isolation=Isolation.FULL)
    program = Program("results = {}", desk.folder().work, 1, 30.0)
    return asyncio.create_task(
        run_gated(cast("House", house), program, opening, lambda _: None, lifeline)
    )


KEPT = [
    (SessionMode.READ_ONLY, 0, "files kept"),
    (SessionMode.READ_ONLY, 1, "no files kept"),
    (SessionMode.APPLY, 0, "files kept"),
    (SessionMode.APPLY, 1, "no files kept"),
    (SessionMode.REHEARSE, 0, "no files kept"),
    (SessionMode.REHEARSE, 1, "no files kept"),
]


@pytest.mark.parametrize(("mode", "refused", "kept"), KEPT)
async def test_files_are_brought_once_it_is_fenced_and_only_where_nothing_was_refused(
    desk: Any, mode: SessionMode, refused: int, kept: str
) -> None:
    house = Plain(refused)
    house.go_on.set()
    await plainly(house, desk, mode)
    assert house.told == ["dead", "fenced", "begun", kept, "left", "left"]
    assert house.rehearsed is (mode is SessionMode.REHEARSE)


async def test_the_gate_hears_that_a_program_came_to_its_end(desk: Any) -> None:
    house = Plain()
    house.go_on.set()
    await plainly(house, desk, SessionMode.APPLY)
    assert house.completed is True


@pytest.mark.parametrize("why", ["failed", "refused", "cancelled", "cut", "ended by the gate"])
async def test_the_gate_hears_that_a_program_did_not_come_to_its_end(desk: Any, why: str) -> None:
    house, lifeline = Plain(), Lifeline(StdoutTail())
    house.go_on.set()
    if why == "failed":
        house.succeeded = False
    elif why == "refused":
        house.refused.set_result(None)
    else:
        house.dies = asyncio.Event()
    running = plainly(house, desk, SessionMode.APPLY, lifeline)
    await asyncio.sleep(0.01)
    if why == "cancelled":
        running.cancel()
    elif why == "cut":
        lifeline.cut.set_result("it was terminated")
    elif why == "ended by the gate":
        house.closed_by_gate.set_result(None)
    run = await asyncio.wait_for(running, 5)
    assert house.completed is False
    assert house.told[:2] == ["dead", "fenced"]
    if why in {"cut", "ended by the gate"}:
        [error] = [run.outcome().error]
        assert isinstance(error, WorkflowError)
        assert ("the lease ran out" in error.message) is (why == "ended by the gate")


async def test_only_what_writes_lives_by_the_heartbeats_that_temporal_took(desk: Any) -> None:
    house, lifeline = Plain(), Lifeline(StdoutTail())
    house.go_on.set()
    await plainly(house, desk, SessionMode.APPLY, lifeline)
    assert house.self_renewing is False
    lifeline.acknowledged()
    assert house.renewed == 1
    reading = Plain()
    reading.go_on.set()
    await plainly(reading, desk, SessionMode.READ_ONLY)
    assert reading.self_renewing is True


@pytest.mark.parametrize("mode", SessionMode)
async def test_a_refused_write_ends_a_run_that_only_reads_and_no_other(
    desk: Any, mode: SessionMode
) -> None:
    house = Plain()
    house.dies = asyncio.Event()
    house.go_on.set()
    running = plainly(house, desk, mode)
    house.refused.set_result(None)
    await asyncio.sleep(0.05)
    assert ("dead" in house.told) is (mode is SessionMode.READ_ONLY)
    house.dies.set()
    await asyncio.wait_for(running, 5)


async def test_a_cancelled_run_leaves_no_thread_that_goes_on_bringing_files(desk: Any) -> None:
    house = Plain()
    running = plainly(house, desk, SessionMode.READ_ONLY)
    await asyncio.to_thread(house.collecting.wait, 10)
    for _ in range(2):
        running.cancel()
        await asyncio.sleep(0.05)
    assert not running.done()
    house.go_on.set()
    assert (await running).interruption is not None
    assert house.told[-3:] == ["files kept", "left", "left"]


async def test_a_run_cancelled_while_it_is_fenced_keeps_no_files(desk: Any) -> None:
    house = Plain()
    house.go_on.set()
    running = plainly(house, desk, SessionMode.READ_ONLY)
    while not house.told:  # noqa: ASYNC110  (it is the loop's next turn that counts)
        await asyncio.sleep(0)
    running.cancel()
    assert (await running).interruption is not None
    assert "no files kept" in house.told


async def test_reading_tells_no_writes(reading: Any, run: Any) -> None:
    executed = await run(reading("results = {'i': float(read_channel('SR:BEAM:CURRENT'))}"))
    assert executed.success.results["i"] > 0
    assert executed.isolation is Isolation.FULL
    assert executed.warnings == []


async def test_a_write_in_reading_ends_the_run_at_once_though_the_code_swallows_it(
    reading: Any, run: Any, gate: Any
) -> None:
    before = gate.get("SR:HCM1:SP")
    task = reading(f"{SWALLOW}swallow('SR:HCM1:SP', 0.2)\nwhile True: pass\n", timeout=60.0)
    began = time.monotonic()
    with pytest.raises(ChannelLimitsViolationError) as refused:
        await run(task)
    assert time.monotonic() - began < 20
    assert (refused.value.channel_address, refused.value.attempted_value) == ("SR:HCM1:SP", 0.2)
    assert refused.value.folder_path == task.folder.path
    assert gate.get("SR:HCM1:SP") == before
    [entry] = journal(task)
    assert (entry["record"], entry["mode"], entry["channel"]) == (
        "refused", "read_only", "SR:HCM1:SP",
    )  # fmt: skip
    assert "read_only" in task.notebook.notebook_path.read_text()


async def test_a_gate_that_dies_while_reading_is_an_outage(
    reading: Any, run: Any, gate: Any
) -> None:
    environment = ActivityEnvironment()
    task = reading("print('on', flush=True)\nwhile True: pass\n", timeout=60.0)
    running = asyncio.create_task(run(task, environment))
    await started(environment)
    gate.kill()
    try:
        with pytest.raises(ServiceUnavailableError) as lost:
            await asyncio.wait_for(running, 10)
    finally:
        gate.start()
    assert lost.value.service == "gate"
    assert lost.value.should_retry_execution()
    assert (await run(reading("results = {}"))).success.results == {}


async def test_without_a_gate_nothing_is_opened(running: Any, reading: Any, run: Any) -> None:
    running.gate_socket = Path("/nowhere/gate.sock")
    task = reading("open('ran', 'w').close()\nresults = {}")
    with pytest.raises(ServiceUnavailableError):
        await run(task)
    assert not (task.folder.work / "ran").exists()


async def test_a_stop_while_reading_is_a_cancellation(reading: Any, run: Any) -> None:
    environment = ActivityEnvironment()
    task = reading("print('on', flush=True)\nwhile True: pass\n", timeout=60.0)
    running = asyncio.create_task(run(task, environment))
    await started(environment)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)


async def test_without_a_sandbox_it_reads(gated: Any, reading: Any, run: Any) -> None:
    async with open_kernels(KernelsSettings(isolation="none", pool=0, preload=[])) as plain:
        gated.kernels = plain
        executed = await run(reading("results = {'i': float(read_channel('SR:BEAM:CURRENT'))}"))
        assert executed.isolation is Isolation.NONE
        assert executed.success.results["i"] > 0
