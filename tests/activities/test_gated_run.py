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
from activities.gated_run import GatedRun, run_gated
from activities.house import House
from activities.inputs import manifest
from gate.client import Opening, Refusal, SessionMode, SessionReport
from kernels.interface import RunOutcome
from kernels.opening import open_kernels
from runpermit.config import KernelsSettings
from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeRuntimeError,
    ContainerConfigurationError,
    ExecutionTimeoutError,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.models import ExecutionMode, Isolation, WriteOutcome
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
def writing(running: Any) -> Callable[..., ExecuteTask]:
    """The task of an approved program."""

    def make(code: str, folder: str = "2026-10/beam_1", **fields: Any) -> ExecuteTask:
        place = running.folder(folder)
        approved = running.revision(code=code, inputs=manifest(place.work))
        mode = ExecutionMode.WRITE_ACCESS
        task: ExecuteTask = running.execute_task(
            place, code, **({"mode": mode, "approved": approved} | fields)
        )
        return task

    return make


@pytest.fixture
def run(running: Any) -> Callable[..., Any]:
    """Runs a task as its mode wants, in a given environment or one of its own."""

    async def start(task: ExecuteTask, environment: ActivityEnvironment | None = None) -> Executed:
        execution = Execution(running.house())
        step = execution.execute if task.approved is None else execution.apply
        found: Executed = await (environment or ActivityEnvironment()).run(step, task)
        return found

    return start


@pytest.fixture
async def at_zero(gate: Any, writing: Any, run: Any) -> None:
    """The first corrector stands at zero, in steps that its limits allow."""
    code = (
        "while abs(now := read_channel('SR:HCM1:SP')) > 0:\n"
        "    write_channel('SR:HCM1:SP', now - max(-0.5, min(0.5, now)))\nresults = {}"
    )
    await run(writing(code, folder="2026-10/zero_1"))
    assert gate.get("SR:HCM1:SP") == 0


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
    outcome = GatedRun(ended, refused=False, report=report, interruption=None).outcome()
    assert isinstance(outcome.error, error)
    assert outcome.results is None


class Plain:
    """A house whose kernel leaves a file, and whose gate refuses `refused` writes; both tell."""

    listener: Any = None

    def __init__(self, refused: int = 0) -> None:
        self.told: list[str] = []
        self.collecting, self.go_on = threading.Event(), threading.Event()
        self.lost = self.refused = asyncio.get_running_loop().create_future()
        self._refused = refused
        self.kernels = self.gate = self

    @asynccontextmanager
    async def session(self, *_: Any) -> AsyncIterator["Plain"]:
        yield self
        self.told.append("left")

    async def run(self, *_: Any, **__: Any) -> "Plain":
        self.told.append("dead")
        return self

    async def close(self) -> SessionReport:
        self.told.append("fenced")
        return SessionReport(session="s", refused=self._refused)

    def collect(self, *, keep_files: bool) -> RunOutcome:
        self.told.append("begun")
        self.collecting.set()
        assert self.go_on.wait(10)
        self.told.append("files kept" if keep_files else "no files kept")
        return RunOutcome("", results={}, figures=(), execution_time=0, error=None)


def plainly(house: Plain, desk: Any, mode: SessionMode) -> "asyncio.Task[GatedRun]":
    opening = Opening(execution="wf", run_id="run", attempt=1, mode=mode, isolation=Isolation.FULL)
    task = desk.execute_task(desk.folder(), "results = {}")
    return asyncio.create_task(run_gated(cast("House", house), task, opening, lambda _: None))


@pytest.mark.parametrize(("refused", "kept"), [(0, "files kept"), (1, "no files kept")])
async def test_files_are_brought_once_it_is_fenced_and_only_where_nothing_was_refused(
    desk: Any, refused: int, kept: str
) -> None:
    house = Plain(refused)
    house.go_on.set()
    await plainly(house, desk, SessionMode.READ_ONLY)
    assert house.told == ["dead", "fenced", "begun", kept, "left", "left"]


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
    assert executed.writes is None
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


@pytest.mark.usefixtures("at_zero")
async def test_what_is_written_is_told_by_the_gate_and_the_machine_has_it(
    writing: Any, run: Any, gate: Any
) -> None:
    task = writing("write_channel('SR:HCM1:SP', 0.2)\nresults = {}")
    executed = await run(task)
    [write] = executed.writes.writes
    assert (write.channel, write.old, write.new, write.outcome, write.read_back) == (
        "SR:HCM1:SP", 0, 0.2, WriteOutcome.CONFIRMED, 0.2,
    )  # fmt: skip
    assert executed.writes.forwarded == 1
    assert executed.writes.journal == task.folder.journal
    assert gate.get("SR:HCM1:SP") == 0.2
    [entry] = journal(task)
    assert (entry["record"], entry["attempt"], entry["isolation"], entry["new"]) == (
        "write", 1, "full", 0.2,
    )  # fmt: skip


@pytest.mark.usefixtures("at_zero")
async def test_a_violation_that_the_code_swallows_is_the_run_s_error_with_all_its_fields(
    writing: Any, run: Any, gate: Any
) -> None:
    code = (
        f"{SWALLOW}write_channel('SR:HCM1:SP', 0.1)\n"
        "said = swallow('SR:HCM1:SP', 0.9)\n"
        "write_channel('SR:HCM1:SP', 0.3)\nresults = {'said': said}"
    )
    task = writing(code)
    with pytest.raises(ChannelLimitsViolationError) as refused:
        await run(task)
    error = refused.value
    assert (error.channel_address, error.attempted_value, error.violation_type) == (
        "SR:HCM1:SP", 0.9, "MAX_STEP_EXCEEDED",
    )  # fmt: skip
    assert (error.min_value, error.max_value, error.max_step, error.current_value) == (
        -1, 1, 0.5, 0.1,
    )  # fmt: skip
    assert error.technical_details["forwarded"] == 2
    assert len(error.technical_details["writes"]) == 2
    # The code went on after it, as it may.
    assert gate.get("SR:HCM1:SP") == 0.3
    assert [entry["record"] for entry in journal(task)] == ["write", "refused", "write"]
    assert not (task.folder.path / "results.json").exists()


@pytest.mark.usefixtures("at_zero")
async def test_code_that_fails_after_a_write_tells_what_it_wrote(writing: Any, run: Any) -> None:
    with pytest.raises(CodeRuntimeError, match="ZeroDivisionError") as failed:
        await run(writing("write_channel('SR:HCM1:SP', 0.1)\n1 / 0"))
    assert failed.value.technical_details["forwarded"] == 1


async def test_a_write_that_reads_back_as_another_value_is_a_warning(
    writing: Any, run: Any
) -> None:
    executed = await run(writing("write_channel('SR:HCM2:SP', 20)\nresults = {}"))
    [write] = executed.writes.writes
    assert (write.outcome, write.read_back) == (WriteOutcome.DIFFERS, 10)
    [warning] = executed.warnings
    assert "SR:HCM2:SP" in warning
    assert "differs, reads 10" in warning


async def test_while_the_host_is_inhibited_a_write_is_refused_as_such(
    writing: Any, run: Any, gate: Any
) -> None:
    try:
        gate.inhibit(on=True)
        with pytest.raises(ChannelLimitsViolationError, match="INHIBITED") as refused:
            await run(writing("write_channel('SR:HCM1:SP', 0)\nresults = {}"))
    finally:
        gate.inhibit(on=False)
    assert refused.value.technical_details["forwarded"] == 0


async def test_a_run_out_of_time_tells_its_writes_and_no_violation_of_the_fence(
    writing: Any, run: Any, gate: Any
) -> None:
    here = gate.get("SR:HCM3:SP")
    # The second write must wait for its interval, and is still waiting when the time is over.
    twice = f"write_channel('SR:HCM3:SP', {here})\n" * 2
    task = writing(f"{twice}results = {{}}", timeout=3.0)
    with pytest.raises(ExecutionTimeoutError) as ended:
        await run(task)
    assert ended.value.technical_details["forwarded"] <= 1


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


async def test_a_gate_that_dies_while_applying_leaves_no_proof_that_nothing_was_opened(
    writing: Any, run: Any, gate: Any
) -> None:
    environment = ActivityEnvironment()
    task = writing("print('on', flush=True)\nwhile True: pass\n", timeout=60.0)
    running = asyncio.create_task(run(task, environment))
    await started(environment)
    gate.kill()
    try:
        with pytest.raises(ServiceUnavailableError) as lost:
            await asyncio.wait_for(running, 10)
    finally:
        gate.start()
    assert "verdict" not in lost.value.technical_details


async def test_without_a_gate_nothing_is_opened(running: Any, writing: Any, run: Any) -> None:
    running.gate_socket = Path("/nowhere/gate.sock")
    task = writing("open('ran', 'w').close()\nresults = {}")
    with pytest.raises(ServiceUnavailableError) as raised:
        await run(task)
    assert raised.value.technical_details["verdict"] == "not_opened"
    assert not (task.folder.work / "ran").exists()


@pytest.mark.usefixtures("at_zero")
async def test_a_stop_while_applying_is_told_as_an_error_with_what_was_written(
    writing: Any, run: Any, gate: Any
) -> None:
    environment = ActivityEnvironment()
    code = (
        "write_channel('SR:HCM1:SP', 0.4)\nprint('on', flush=True)\n"
        "while True: write_channel('SR:HCM1:SP', 0.4)\n"
    )
    task = writing(code, timeout=60.0)
    running = asyncio.create_task(run(task, environment))
    await started(environment)
    environment.cancel()
    with pytest.raises(WorkflowError) as stopped:
        await asyncio.wait_for(running, 10)
    written = len([entry for entry in journal(task) if entry["record"] == "write"])
    assert stopped.value.technical_details["forwarded"] == written >= 1
    assert gate.get("SR:HCM1:SP") == 0.4


async def test_a_stop_while_reading_is_a_cancellation(reading: Any, run: Any) -> None:
    environment = ActivityEnvironment()
    task = reading("print('on', flush=True)\nwhile True: pass\n", timeout=60.0)
    running = asyncio.create_task(run(task, environment))
    await started(environment)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)


async def test_without_a_sandbox_it_reads_and_never_writes(
    gated: Any, reading: Any, writing: Any, run: Any
) -> None:
    async with open_kernels(KernelsSettings(isolation="none", pool=0, preload=[])) as plain:
        gated.kernels = plain
        executed = await run(reading("results = {'i': float(read_channel('SR:BEAM:CURRENT'))}"))
        assert executed.isolation is Isolation.NONE
        assert executed.success.results["i"] > 0
        with pytest.raises(ContainerConfigurationError, match=r"kernels\.isolation") as refused:
            await run(writing("write_channel('SR:HCM1:SP', 0)\nresults = {}"))
    assert refused.value.technical_details["verdict"] == "not_opened"
