"""A ramp that does not come to its end: the question about the machine, and each answer to it."""

import asyncio
from typing import Any

import nbformat
import pytest

from runpermit.models import PlanKind, Stage
from tests.system.asking import approve, left_changed, program, rehearsed
from tests.system.machine import Machine

pytestmark = pytest.mark.slow


async def tripped_mid_ramp(machine: Machine, before: dict[str, int], channel: str) -> None:
    """Trip the interlock once three writes have arrived."""
    async with asyncio.timeout(30):
        while (await machine.since(before)).get(channel, 0) < 3:  # noqa: ASYNC110  (of the IOC)
            await asyncio.sleep(0.02)
    await machine.set("SR:INTERLOCK:TRIP", 1)


async def test_a_failure_mid_ramp_is_put_back_once_somebody_says_so(
    house: Any, machine: Machine
) -> None:
    start = await machine.number("SR:HCM6:SP")
    handle, pending = await rehearsed(house, machine, program("watched_ramp"))
    assert (pending.plan.kind, pending.plan.count) == (PlanKind.COMPLETE, 15)
    before = await machine.counts()
    await approve(handle, pending)
    try:
        await tripped_mid_ramp(machine, before, "SR:HCM6:SP")
        question = await left_changed(house, handle)
        written = (await machine.since(before))["SR:HCM6:SP"]
        assert 3 <= written < 15
        [change] = question.changes
        assert change.channel == "SR:HCM6:SP"
        assert change.before == pytest.approx(start)
        assert change.reads == change.written == await machine.number("SR:HCM6:SP")
        assert "interlock has tripped" in question.reason
        await asyncio.sleep(0.5)  # nothing restores by itself
        assert (await machine.since(before))["SR:HCM6:SP"] == written

        await handle.signal(f"restore-{question.revision}", {"operator": "jd"})
        error = await house.failure(handle)
    finally:
        await machine.set("SR:INTERLOCK:TRIP", 0)
    assert await machine.number("SR:HCM6:SP") == pytest.approx(start)
    assert error.technical_details["forwarded"] == written
    assert any("restored" in line for line in error.technical_details["restored"])
    assert (error.folder_path / "notebook.ipynb").is_file()


async def test_another_hands_change_is_left_as_it_is(house: Any, machine: Machine) -> None:
    handle, pending = await rehearsed(house, machine, program("watched_ramp"))
    before = await machine.counts()
    await approve(handle, pending)
    try:
        await tripped_mid_ramp(machine, before, "SR:HCM6:SP")
        question = await left_changed(house, handle)
        await machine.set("SR:HCM6:SP", 0.123)
        moved = await machine.counts()
        await handle.signal(f"restore-{question.revision}", {"operator": "jd"})
        error = await house.failure(handle)
    finally:
        await machine.set("SR:INTERLOCK:TRIP", 0)
    assert await machine.since(moved) == {}
    assert await machine.number("SR:HCM6:SP") == 0.123
    assert any("somebody else has set it" in line for line in error.technical_details["restored"])


async def test_a_guard_of_the_request_stops_the_writes_and_leave_leaves_them(
    house: Any, machine: Machine
) -> None:
    guard = {"channel": "SR:INTERLOCK", "op": "==", "value": "OK"}
    handle, pending = await rehearsed(house, machine, program("slow_ramp"), guards=[guard])
    assert [(state.channel, state.holds) for state in pending.plan.machine] == [
        ("SR:INTERLOCK", True)
    ]
    before = await machine.counts()
    await approve(handle, pending)
    try:
        await tripped_mid_ramp(machine, before, "SR:HCM5:SP")
        question = await left_changed(house, handle)
        written = await machine.since(before)
        assert written["SR:HCM5:SP"] <= 4
        await handle.signal(f"leave-{question.revision}")
        error = await house.failure(handle)
    finally:
        await machine.set("SR:INTERLOCK:TRIP", 0)
    assert "SR:INTERLOCK" in str(error)
    assert await machine.since(before) == written


async def test_a_stop_mid_ramp_leaves_the_question_and_restore_puts_back(
    house: Any, machine: Machine
) -> None:
    start = await machine.number("SR:HCM5:SP")
    handle, pending = await rehearsed(house, machine, program("slow_ramp"))
    before = await machine.counts()
    await approve(handle, pending)
    async with asyncio.timeout(30):
        while (await machine.since(before)).get("SR:HCM5:SP", 0) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await handle.signal("stop", {"operator": "jd", "comment": "enough"})
    question = await left_changed(house, handle)
    assert not house.kernels()
    await handle.signal(f"restore-{question.revision}", {"operator": "jd"})
    error = await house.failure(handle)
    assert error.stage == Stage.STOPPED
    assert await machine.number("SR:HCM5:SP") == pytest.approx(start)
    assert (await machine.since(before))["SR:HCM5:SP"] < 15
    code = nbformat.read(error.folder_path / "notebook.ipynb", as_version=4).cells[2]
    assert [output.text for output in code.outputs] == ["begins\n"]
