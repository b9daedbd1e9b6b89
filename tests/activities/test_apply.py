"""Apply as a step: what it refuses before it runs, what it leaves, and how it is fenced."""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from pydantic import ValidationError
from temporalio.client import AsyncActivityCancelledError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from activities.apply import Apply
from activities.settling import Applied
from kernels.opening import open_kernels
from runpermit.config import KernelsSettings
from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeRuntimeError,
    ContainerConfigurationError,
    ExecutionTimeoutError,
    PlanOutdatedError,
    PythonExecutorException,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.models import Isolation, Plan, Verdict
from tests.gate.giving_permits import declared, planned
from workflows.steps import ApplyTask, Executed

MARK = 'open("ran", "w").close()\nwrite_channel("SR:HCM1:SP", 0.1)\nresults = {"done": True}\n'
SWALLOW = """\
def swallow(channel, value):
    try:
        write_channel(channel, value)
    except Exception as error:
        return repr(error)
"""
HERE = "SR:HCM1:SP"


@pytest.fixture
def apply(running: Any, temporal: Any) -> Callable[..., Awaitable[None]]:
    async def run(task: ApplyTask, attempt: int = 1, **sections: Any) -> None:
        environment = ActivityEnvironment(temporal)
        execution = task.permit.revision.workflow_id
        environment.info = dataclasses.replace(
            environment.info, workflow_id=execution, attempt=attempt
        )
        await environment.run(Apply(running.house(**sections)).apply, task)

    return run


@pytest.fixture
def zero(gate: Any) -> None:
    """The correctors stand at zero."""
    for channel in (HERE, "SR:HCM2:SP"):
        gate.put(channel, 0)


@pytest.fixture
def approved(running: Any) -> Callable[..., ApplyTask]:
    """The task of an approved program that leaves a file where it runs."""

    def make(code: str = MARK, plan: Plan | None = None, **fields: Any) -> ApplyTask:
        folder = running.folder()
        (folder.work / "context.json").write_text("{}")
        task: ApplyTask = running.apply_task(folder, code, plan, **fields)
        return task

    return make


def ran(task: ApplyTask) -> bool:
    return (task.folder.work / "ran").exists()


def left(task: ApplyTask) -> Executed:
    """What an apply left for whoever settles it."""
    applied = Applied.model_validate_json(task.folder.applied.read_bytes())
    assert applied.permit == task.permit.id
    return applied.executed


def journal(task: ApplyTask) -> list[dict[str, Any]]:
    return [json.loads(line) for line in task.folder.journal.read_text().splitlines()]


async def verdict(running: Any, task: ApplyTask) -> Any:
    return await running.house().gate.verdict(task.permit.id, task.permit.revision.workflow_id)


@pytest.mark.usefixtures("zero")
async def test_what_was_approved_runs_and_the_machine_has_it(
    approved: Any, apply: Any, gate: Any, running: Any
) -> None:
    task = approved()
    await apply(task)

    assert gate.get(HERE) == 0.1
    assert ran(task)
    executed = left(task)
    assert executed.success.results == {"done": True}
    assert executed.isolation is Isolation.FULL
    assert executed.warnings == []
    [entry] = journal(task)
    assert (entry["record"], entry["mode"], entry["attempt"], entry["isolation"], entry["new"]) == (
        "write", "apply", 1, "full", 0.1,
    )  # fmt: skip
    said = await verdict(running, task)
    assert (said.verdict, said.forwarded) == (Verdict.COMPLETED, 1)
    notebook = nbformat.read(task.notebook.notebook_path, as_version=4)
    assert notebook.cells[1].source.endswith(task.code)


WAITS = """\
import time
write_channel("SR:HCM1:SP", 0.1)
for _ in range(300):
    if read_channel("SR:HCM2:SP") != 0:
        break
    time.sleep(0.1)
results = {}
"""


@pytest.mark.usefixtures("zero")
async def test_what_is_written_travels_with_the_heartbeats(
    approved: Any, apply: Any, gate: Any, temporal: Any
) -> None:
    running = asyncio.ensure_future(apply(approved(WAITS)))
    async with asyncio.timeout(30):
        while not temporal.heartbeats or temporal.heartbeats[-1].writes is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert not running.done()
    wrote = temporal.heartbeats[-1].writes
    assert (wrote.forwarded, wrote.outcomes) == (1, {"confirmed": 1})
    assert [(write.channel, write.new) for write in wrote.last] == [(HERE, 0.1)]
    assert temporal.heartbeats[0].writes is None
    await asyncio.to_thread(gate.put, "SR:HCM2:SP", 1)
    await running


@pytest.mark.usefixtures("zero")
async def test_a_permit_is_good_for_one_run(approved: Any, apply: Any, gate: Any) -> None:
    task = approved("write_channel('SR:HCM1:SP', 0.1)\nresults = {}")
    await apply(task)
    gate.put(HERE, 0)
    with pytest.raises(WorkflowError) as refused:
        await apply(task)

    assert refused.value.technical_details["verdict"] == "not_opened"

    assert gate.get(HERE) == 0


def test_an_apply_is_told_no_code_beside_what_was_approved(approved: Any) -> None:
    task = approved()
    assert task.code == task.permit.revision.code
    with pytest.raises(ValidationError, match="code"):
        ApplyTask.model_validate_json(
            json.dumps(task.model_dump(mode="json") | {"code": "results = {}"})
        )


async def test_a_repetition_runs_nothing(approved: Any, apply: Any, temporal: Any) -> None:
    task = approved()
    with pytest.raises(WorkflowError, match="writes nothing") as refused:
        await apply(task, attempt=2)

    assert refused.value.technical_details == {"verdict": "not_opened"}
    assert not ran(task)
    assert temporal.heartbeats == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"inputs": {}}, "input files"),
        ({"limits_sha256": "0" * 64}, "limits"),
        ({"kernel_environment": "python 3, 3 packages, def"}, "kernel packages"),
        ({"inputs": {}, "limits_sha256": "0" * 64}, "input files, limits"),
    ],
)
async def test_what_is_not_as_it_was_approved_does_not_run(
    changed: dict[str, Any], named: str, approved: Any, apply: Any, running: Any
) -> None:
    task = approved()
    binds = task.permit.revision.model_copy(update=changed)
    task = task.model_copy(update={"permit": running.permit(binds)})
    with pytest.raises(PlanOutdatedError, match=f"{named}\\.") as raised:
        await apply(task)

    assert binds.sha256[:6] in raised.value.message
    assert raised.value.changed == [f"The {name} are others now" for name in named.split(", ")]
    assert raised.value.technical_details["verdict"] == "not_opened"
    assert not ran(task)
    # The gate was not even asked, so that it says so itself.
    assert (await verdict(running, task)).verdict is Verdict.NOT_OPENED


async def test_limits_that_changed_at_the_gate_since_the_approval_let_nothing_run(
    approved: Any, apply: Any, gate: Any
) -> None:
    task = approved()
    file = gate.folder / "limits.json"
    before = file.read_text()
    try:
        file.write_text("{}")
        await asyncio.sleep(0.5)
        with pytest.raises(PlanOutdatedError, match="limits"):
            await apply(task)
    finally:
        file.write_text(before)
        await asyncio.sleep(0.5)
    assert not ran(task)


@pytest.mark.usefixtures("zero")
async def test_the_worker_s_own_limits_are_not_what_was_approved_and_are_told(
    approved: Any, apply: Any, tmp_path: Path
) -> None:
    file = tmp_path / "limits.json"
    file.write_text("{}")
    await apply(task := approved(), limits={"file": file})

    now = left(task).in_force
    approved_limits = task.permit.revision.limits_sha256
    assert now.gate.limits_sha256 == approved_limits != now.limits.binds


async def test_where_writes_were_disabled_meanwhile_nothing_is_applied(
    approved: Any, apply: Any
) -> None:
    task = approved()
    with pytest.raises(ContainerConfigurationError, match=r"control_system\.writes_enabled") as no:
        await apply(task, control_system={"writes_enabled": False})

    assert no.value.technical_details == {"verdict": "not_opened"}
    assert not ran(task)


async def test_without_a_sandbox_nothing_is_applied(gated: Any, apply: Any, approved: Any) -> None:
    task = approved()
    async with open_kernels(KernelsSettings(isolation="none", pool=0, preload=[])) as plain:
        gated.kernels = plain
        with pytest.raises(ContainerConfigurationError, match=r"kernels\.isolation") as refused:
            await apply(task)

    assert refused.value.technical_details["verdict"] == "not_opened"
    assert not ran(task)


@pytest.mark.usefixtures("zero")
async def test_a_real_control_system_is_written_like_the_demo_s(
    approved: Any, apply: Any, gate: Any
) -> None:
    await apply(approved(), control_system={"type": "epics"})

    assert gate.get(HERE) == 0.1


async def test_a_decision_that_is_old_does_not_open_the_gate(
    approved: Any, apply: Any, running: Any
) -> None:
    task = approved()
    old = datetime.now(UTC) - timedelta(minutes=11)
    permit = running.permit(task.permit.revision, decided_at=old)
    with pytest.raises(PlanOutdatedError, match="permit_max_age") as refused:
        await apply(task.model_copy(update={"permit": permit}))

    assert refused.value.technical_details["verdict"] == "not_opened"
    assert not ran(task)


async def test_a_guard_that_does_not_hold_does_not_open_the_gate(
    approved: Any, apply: Any, gate: Any
) -> None:
    gate.put(HERE, 0.2)
    task = approved(guards=[{"channel": HERE, "op": "<", "value": 0.1}])
    with pytest.raises(PlanOutdatedError, match=HERE):
        await apply(task)

    assert not ran(task)


async def test_a_machine_that_moved_is_not_written(
    approved: Any, apply: Any, gate: Any, running: Any
) -> None:
    gate.put(HERE, -0.5)
    task = approved(plan=planned([(HERE, 0.1)], tolerance=0.05))
    with pytest.raises(ChannelLimitsViolationError) as refused:
        await apply(task)

    assert refused.value.violation_type == "OUTSIDE_PLAN"
    assert gate.get(HERE) == -0.5
    assert (await verdict(running, task)).verdict is Verdict.NOTHING_FORWARDED


@pytest.mark.usefixtures("zero")
async def test_a_violation_that_the_code_swallows_is_the_run_s_error_and_the_end_of_its_writes(
    approved: Any, apply: Any, gate: Any, running: Any
) -> None:
    code = (
        f"{SWALLOW}write_channel('SR:HCM1:SP', 0.1)\n"
        "said = swallow('SR:HCM1:SP', 0.9)\n"
        "more = swallow('SR:HCM1:SP', 0.3)\nresults = {'said': said}"
    )
    task = approved(code, planned([(HERE, 0.1), (HERE, 0.9), (HERE, 0.3)]))
    with pytest.raises(ChannelLimitsViolationError) as refused:
        await apply(task)
    error = refused.value

    assert (error.channel_address, error.attempted_value, error.violation_type) == (
        HERE, 0.9, "MAX_STEP_EXCEEDED",
    )  # fmt: skip
    assert (error.min_value, error.max_value, error.max_step, error.current_value) == (
        -1, 1, 0.5, 0.1,
    )  # fmt: skip
    assert gate.get(HERE) == 0.1
    assert [entry["record"] for entry in journal(task)] == ["write", "refused", "refused"]
    assert not task.folder.applied.exists()
    assert not (task.folder.path / "results.json").exists()
    said = await verdict(running, task)
    assert (said.verdict, said.forwarded) == (Verdict.PARTIAL, 1)


@pytest.mark.usefixtures("zero")
async def test_code_that_fails_after_a_write_is_told_with_its_folder_and_kept(
    approved: Any, apply: Any, running: Any
) -> None:
    task = approved("write_channel('SR:HCM1:SP', 0.1)\n1 / 0")
    with pytest.raises(CodeRuntimeError, match="ZeroDivisionError") as failed:
        await apply(task)

    assert failed.value.folder_path == task.folder.path
    assert not task.folder.applied.exists()
    assert "ZeroDivisionError" in task.notebook.notebook_path.read_text()
    said = await verdict(running, task)
    assert (said.verdict, said.forwarded) == (Verdict.PARTIAL, 1)
    [change] = said.changes
    assert (change.channel, change.before, change.written, change.reads) == (HERE, 0, 0.1, 0.1)


@pytest.mark.usefixtures("zero")
async def test_a_write_that_reads_back_as_another_value_is_a_warning(
    approved: Any, apply: Any
) -> None:
    task = approved(
        "write_channel('SR:HCM2:SP', 20)\nresults = {}", planned([("SR:HCM2:SP", 20.0)])
    )
    await apply(task)

    [warning] = left(task).warnings
    assert "SR:HCM2:SP" in warning
    assert "differs, reads 10" in warning


async def test_while_the_host_is_inhibited_a_write_is_refused_as_such(
    approved: Any, apply: Any, gate: Any, running: Any
) -> None:
    task = approved(plan=planned([(HERE, 0.1)], live={HERE: gate.get(HERE)}))
    try:
        gate.inhibit(on=True)
        with pytest.raises(PythonExecutorException, match=r"INHIBITED|inhibited"):
            await apply(task)
    finally:
        gate.inhibit(on=False)
    assert (await verdict(running, task)).verdict.may_apply_again


@pytest.mark.slow
async def test_a_run_out_of_time_is_told_as_that_and_not_as_what_the_fence_refused(
    approved: Any, apply: Any, gate: Any
) -> None:
    here = gate.get("SR:HCM3:SP")
    # The second write must wait for its interval, and is still waiting when the time is over.
    twice = f"write_channel('SR:HCM3:SP', {here})\n" * 2
    plan = planned([("SR:HCM3:SP", here)] * 2, live={"SR:HCM3:SP": here})
    with pytest.raises(ExecutionTimeoutError):
        await apply(approved(f"{twice}results = {{}}", plan, timeout=3.0))


async def test_without_a_gate_nothing_is_opened(running: Any, approved: Any, apply: Any) -> None:
    task = approved()
    running.gate_socket = Path("/nowhere/gate.sock")
    with pytest.raises(ServiceUnavailableError) as raised:
        await apply(task)

    assert raised.value.technical_details["verdict"] == "not_opened"
    assert not ran(task)


RAMP = """\
import time
write_channel("SR:HCM1:SP", 0.4)
print("on", flush=True)
for n in range(100_000):
    write_channel("SR:HCM1:SP", 0.4)
    time.sleep(0.01)
"""
ENDLESS = declared(HERE, 0, -1, 1, 1_000_000)


async def interrupted(
    approved: Any, apply: Any, temporal: Any, end: Callable[[ApplyTask], None]
) -> Any:
    """The task and the error of a long ramp that `end` brought to its end."""
    task = approved(RAMP, ENDLESS, timeout=60.0)
    applying = asyncio.ensure_future(apply(task))
    await asyncio.wait_for(temporal.told.wait(), 20)
    end(task)
    began = asyncio.get_running_loop().time()
    with pytest.raises(PythonExecutorException) as ended:
        await asyncio.wait_for(applying, 20)
    return task, ended.value, asyncio.get_running_loop().time() - began


@pytest.mark.parametrize(
    "answer",
    [
        AsyncActivityCancelledError(),
        RPCError("workflow execution already completed", RPCStatusCode.NOT_FOUND, b""),
    ],
    ids=["cancelled", "terminated"],
)
@pytest.mark.usefixtures("zero")
async def test_what_temporal_wants_no_more_is_fenced_and_writes_down_what_it_wrote(
    approved: Any, apply: Any, temporal: Any, gate: Any, running: Any, answer: Exception
) -> None:
    task, error, took = await interrupted(
        approved, apply, temporal, lambda _: setattr(temporal, "error", answer)
    )

    assert isinstance(error, WorkflowError)
    assert took < 15
    assert gate.get(HERE) == 0.4
    written = [entry for entry in journal(task) if entry["record"] == "write"]
    said = await verdict(running, task)
    assert said.verdict is Verdict.PARTIAL
    assert said.forwarded >= len(written) >= 1
    assert not task.folder.applied.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("zero")
async def test_a_worker_that_temporal_does_not_answer_loses_the_gate_with_its_lease(
    approved: Any, apply: Any, temporal: Any, running: Any, gate: Any
) -> None:
    silent = RPCError("no connection", RPCStatusCode.UNAVAILABLE, b"")
    task, error, took = await interrupted(
        approved, apply, temporal, lambda _: setattr(temporal, "error", silent)
    )

    assert isinstance(error, WorkflowError)
    assert "lease" in error.message
    assert took < gate.lease + 10
    assert (await verdict(running, task)).verdict is Verdict.PARTIAL


@pytest.mark.slow
@pytest.mark.usefixtures("zero")
async def test_a_worker_whose_heartbeats_are_taken_keeps_the_gate(
    approved: Any, apply: Any, temporal: Any, gate: Any
) -> None:
    seconds = gate.lease + 1.5
    code = (
        "import time\n"
        f"time.sleep({seconds})\n"
        "write_channel('SR:HCM1:SP', 0.1)\nresults = {'done': True}"
    )
    task = approved(code)
    await apply(task)

    assert left(task).success.results == {"done": True}
    assert len(temporal.heartbeats) >= seconds


@pytest.mark.usefixtures("zero")
async def test_a_worker_that_is_shut_down_ends_it_as_an_outage_and_fences(
    approved: Any, temporal: Any, running: Any
) -> None:
    environment = ActivityEnvironment(temporal)

    async def apply(task: ApplyTask) -> None:
        execution = task.permit.revision.workflow_id
        environment.info = dataclasses.replace(environment.info, workflow_id=execution)
        await environment.run(Apply(running.house()).apply, task)

    def shut_down(_task: ApplyTask) -> None:
        environment.worker_shutdown()
        environment.cancel()

    task, error, took = await interrupted(approved, apply, temporal, shut_down)

    assert isinstance(error, ServiceUnavailableError)
    assert took < 15
    assert [entry for entry in journal(task) if entry["record"] == "write"]
    assert (await verdict(running, task)).verdict is Verdict.PARTIAL


@pytest.mark.usefixtures("zero")
async def test_a_stop_at_the_gate_ends_the_run_and_says_who(
    approved: Any, apply: Any, temporal: Any, gate: Any
) -> None:
    def stop(task: ApplyTask) -> None:
        gate.stop(task.permit.revision.workflow_id, "jd", "beam lost")

    task, error, took = await interrupted(approved, apply, temporal, stop)

    assert isinstance(error, WorkflowError)
    assert "jd" in error.message
    assert took < 15
    assert [entry for entry in journal(task) if entry["record"] == "write"]
    told = nbformat.read(task.notebook.notebook_path, as_version=4).cells
    assert "jd" in told[0].source
    assert [output.text for output in told[1].outputs] == ["on\n"]


@pytest.mark.usefixtures("zero")
async def test_a_gate_that_dies_is_an_outage_and_no_proof_that_nothing_was_written(
    approved: Any, apply: Any, temporal: Any, gate: Any, running: Any
) -> None:
    try:
        task, error, _ = await interrupted(approved, apply, temporal, lambda _: gate.kill())
    finally:
        gate.start()

    assert isinstance(error, ServiceUnavailableError)
    assert "verdict" not in error.technical_details
    assert (await verdict(running, task)).verdict is Verdict.PARTIAL
