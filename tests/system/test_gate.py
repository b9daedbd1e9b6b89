"""The gate decides: on what is read-only, on what leaves the limits, and where it is gone."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from runpermit.gate_control import ask
from runpermit.models import ExecutionMode, Isolation, PlanKind, Stage, Verdict, WriteOutcome

# By a way that the analysis does not see: it is not what protects.
HIDDEN = """\
from numpy.testing import runstring
runstring("import epics; epics.caput({channel!r}, {value}, wait=True)", {{}})
results = {{"end": float(read_channel({channel!r}))}}
"""
SWALLOWED = """\
start = float(read_channel("SR:HCM4:SP"))
write_channel("SR:HCM4:SP", start + 0.1)
for step in {steps}:
    try:
        write_channel("SR:HCM4:SP", start + step)
    except Exception as error:
        print("caught", type(error).__name__)
write_channel("SR:HCM4:SP", start)
results = {{"start": start}}
"""
# A rehearsal cuts the waits of a program short; the calendar goes on as it does.
OTHERWISE = """\
import datetime, time
write_channel("SR:HCM4:SP", read_channel("SR:HCM4:SP"))
before = datetime.datetime.now()
time.sleep(1.5)
rehearsed = (datetime.datetime.now() - before).total_seconds() < 1
"""
ENDLESS_READ = """\
import time
print("running", flush=True)
for _ in range(40):
    time.sleep(0.1)
results = {"current": float(read_channel("SR:BEAM:CURRENT"))}
"""
LONG_WRITE = """\
import time
write_channel("SR:HCM5:SP", read_channel("SR:HCM5:SP") + 0.01)
for _ in range(3000):
    time.sleep(0.1)
results = {}
"""


async def approve(house: Any, handle: Any) -> None:
    pending = await house.question(handle)
    await handle.signal(f"approve-{pending.revision}", {"operator": "jd"})


async def test_a_write_of_a_read_only_run_is_rehearsed_asked_about_and_then_applied(
    house: Any, ring: Any
) -> None:
    before = ring.puts()
    handle = await house.start(HIDDEN.format(channel="SR:HCM3:SP", value=0.2), retries=1)
    pending = await house.question(handle)
    assert ring.puts() == before
    assert pending.execution_mode is ExecutionMode.WRITE_ACCESS
    assert pending.plan.kind is PlanKind.COMPLETE
    assert [(write.channel, write.new) for write in pending.plan.writes] == [("SR:HCM3:SP", 0.2)]
    [why] = pending.changed
    assert "SR:HCM3:SP = 0.2" in why
    assert "the analysis had not seen it" in why

    await approve(house, handle)
    result = await house.result(handle)
    assert ring.get("SR:HCM3:SP") == [0.2]
    assert ring.puts()[2] == before[2] + 1
    assert result.generation_attempt == 1
    assert result.isolation is Isolation.FULL
    [write] = result.writes.writes
    assert (write.channel, write.new, write.outcome) == (
        "SR:HCM3:SP", 0.2, WriteOutcome.CONFIRMED,
    )  # fmt: skip
    entries = [json.loads(line) for line in result.writes.journal.read_text().splitlines()]
    assert [(entry["mode"], entry["record"]) for entry in entries] == [
        ("read_only", "refused"),
        ("apply", "write"),
    ]
    notebook = result.execution_result.notebook_path.read_text()
    assert "Writes, as the gate recorded them" in notebook


async def test_a_rejected_one_writes_nothing(house: Any, ring: Any) -> None:
    before = ring.puts()
    handle = await house.start(HIDDEN.format(channel="SR:HCM3:SP", value=0.1))
    pending = await house.question(handle)
    await handle.signal(f"reject-{pending.revision}")
    assert (await house.failure(handle)).stage == Stage.REJECTED
    assert ring.puts() == before


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def readers(open_house: Any, worker_of: Any) -> AsyncIterator[Any]:
    """A house without writes."""
    house = await open_house("readers", {"control_system": {"writes_enabled": False}})
    async with worker_of(house):
        yield house


async def test_where_writes_are_disabled_it_ends_naming_the_setting(
    readers: Any, ring: Any
) -> None:
    before = ring.puts()
    error = await readers.run_to_failure(HIDDEN.format(channel="SR:HCM3:SP", value=0.1))
    assert type(error).__name__ == "ContainerConfigurationError"
    assert "control_system.writes_enabled" in error.message
    assert ring.puts() == before


@pytest.mark.slow
async def test_without_a_sandbox_code_reads_and_writes_nothing(
    open_house: Any, worker_of: Any, ring: Any, read_current: str
) -> None:
    before = ring.puts()
    house = await open_house(
        "plain",
        {
            "control_system": {"writes_enabled": False},
            "kernels": {"isolation": "none", "pool": 0, "preload": []},
        },
    )
    async with worker_of(house):
        result = await house.run(read_current)
        assert result.isolation is Isolation.NONE
        assert result.execution_result.results["current"] > 0
        error = await house.run_to_failure(HIDDEN.format(channel="SR:HCM3:SP", value=0.1))
    assert type(error).__name__ == "ContainerConfigurationError"
    assert ring.puts() == before


async def test_a_violation_that_the_code_swallows_in_its_rehearsal_is_never_asked_about(
    house: Any, ring: Any
) -> None:
    before = ring.puts()
    error = await house.run_to_failure(SWALLOWED.format(steps=[3]), retries=5)
    assert type(error).__name__ == "ChannelLimitsViolationError"
    assert (error.channel_address, error.violation_type) == ("SR:HCM4:SP", "MAX_STEP_EXCEEDED")
    assert error.attempted_value == pytest.approx(error.current_value + 2.9)
    assert (error.min_value, error.max_value, error.max_step) == (-5, 5, 0.5)
    assert ring.puts() == before
    rehearsal = (error.folder_path / "attempts" / "01_rehearsal.ipynb").read_text()
    assert "caught ChannelLimitsViolationError" in rehearsal


async def test_a_violation_that_the_code_swallows_when_it_applies_ends_the_execution_typed(
    house: Any, ring: Any
) -> None:
    before = ring.puts()[3]
    code = OTHERWISE + SWALLOWED.format(steps="[0.5, 0.9, 0.5] if rehearsed else [0.9]")
    handle = await house.start(code, retries=5, restore="never")
    await approve(house, handle)
    error = await house.failure(handle)
    assert type(error).__name__ == "ChannelLimitsViolationError"
    assert (error.channel_address, error.violation_type) == ("SR:HCM4:SP", "MAX_STEP_EXCEEDED")
    assert error.attempted_value == pytest.approx(error.current_value + 0.8)
    assert (error.min_value, error.max_value, error.max_step) == (-5, 5, 0.5)
    assert "look at the machine. Writes forwarded: 2." in error.message
    assert error.technical_details["verdict"] == Verdict.PARTIAL
    assert error.technical_details["forwarded"] == 2
    assert len(error.technical_details["writes"]) == 2
    [left] = error.technical_details["left_changed"]
    assert "SR:HCM4:SP" in left
    # Nor is the write forwarded that comes behind the refused one, and is planned.
    assert ring.puts()[3] == before + 2
    notebook = (error.folder_path / "notebook.ipynb").read_text()
    assert "Writes, as the gate recorded them" in notebook


async def test_an_inhibited_host_is_told_before_the_approval_and_refuses_after_it(
    house: Any, ring: Any
) -> None:
    before = ring.puts()
    switch = {"do": "inhibit", "operator": "jd", "reason": "water leak in sector 4"}
    try:
        ask(house.stack.gate_socket, switch | {"on": True})
        handle = await house.start('write_channel("SR:HCM3:SP", 0.1)\nresults = {}')
        pending = await house.question(handle)
        assert pending.warnings[0].startswith("INHIBITED: every write is refused.")
        assert "water leak in sector 4" in pending.warnings[0]
        await approve(house, handle)
        error = await house.failure(handle)
    finally:
        ask(house.stack.gate_socket, switch | {"on": False})
    assert type(error).__name__ == "WorkflowError"
    assert error.technical_details["verdict"] == Verdict.NOT_OPENED
    assert "water leak in sector 4" in error.message
    assert ring.puts() == before


async def is_heard(handle: Any) -> bool:
    """Whether the program's first words have come with a heartbeat."""
    described = await handle.describe()
    return any(
        b"running" in payload.data
        for activity in described.raw_description.pending_activities
        for payload in activity.heartbeat_details.payloads
    )


@pytest.fixture
def kill_gate(gate: Any) -> Callable[[], None]:
    """Ends the gate as a crash would; it is started again."""
    return lambda: os.kill(gate.pid, signal.SIGKILL)


async def test_a_gate_that_dies_under_a_reading_run_costs_one_repetition(
    house: Any, kill_gate: Any, eventually: Any
) -> None:
    handle = await house.start(ENDLESS_READ)
    await eventually(lambda: is_heard(handle))
    kill_gate()
    result = await asyncio.wait_for(house.result(handle), 60)
    assert result.execution_result.results["current"] > 0
    assert result.generation_attempt == 1
    [started] = [
        event.activity_task_started_event_attributes
        async for event in handle.fetch_history_events()
        if event.activity_task_started_event_attributes.attempt > 1
    ]
    assert "The gate was lost" in started.last_failure.message


@pytest.mark.slow
async def test_a_gate_that_dies_under_a_writing_run_ends_it_and_nothing_is_repeated(
    house: Any, kill_gate: Any, ring: Any, eventually: Any
) -> None:
    before = ring.puts()[4]
    handle = await house.start(LONG_WRITE, restore="never")
    await approve(house, handle)
    await eventually(lambda: ring.puts()[4] == before + 1)
    kill_gate()
    error = await asyncio.wait_for(house.failure(handle), 60)
    assert type(error).__name__ == "WorkflowError"
    assert error.stage == Stage.APPLYING
    assert "look at the machine" in error.message
    assert "gate was lost" in error.message
    assert error.technical_details["verdict"] == Verdict.PARTIAL
    assert error.technical_details["forwarded"] == 1
    assert not house.kernels()
    assert ring.puts()[4] == before + 1
    # Whoever comes next finds a gate.
    assert (await house.run("results = {}")).execution_result.results == {}
