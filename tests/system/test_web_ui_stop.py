"""Request Cancellation, the biggest button of the Temporal Web UI, at every stage."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect
from temporalio.api.enums.v1 import EventType

from demo.model_server import ModelServer, Reply
from demo.stack import ROOT, running_gate
from runpermit.gate_control import ask
from runpermit.models import Stage
from tests.system.asking import approve, left_changed, program, rehearsed
from tests.system.browser import cancel, execution_address, open_question, question_of, send
from tests.system.machine import Machine, Own, house_apart
from tests.system.ramps import SETPOINT, begun

ENDLESS = "import time\nwhile True:\n    time.sleep(0.1)\n"
LEAVES = """\
puts = read_channel("SR:HCM6:PUTS")
write_channel("SR:HCM6:SP", float(read_channel("SR:HCM6:SP")) + 0.1)
if read_channel("SR:HCM6:PUTS") != puts:  # as it never does in a rehearsal
    raise RuntimeError("corrector 6 gave no answer")
results = {}
"""
WRITES = 'write_channel("SR:HCM4:SP", float(read_channel("SR:HCM4:SP")) + 0.1)\n'
LONG = WRITES + f"results = {{'long': [{'1,' * 120_000}]}}\n"  # nearly a second's analysis
HALFWAY = """\
start, puts = float(read_channel("SR:HCM6:SP")), read_channel("SR:HCM6:PUTS")
write_channel("SR:HCM6:SP", start + 0.1)
write_channel("SR:HCM6:SP", start + 0.2)
if read_channel("SR:HCM6:PUTS") != puts:  # as it never does in a rehearsal
    raise RuntimeError("corrector 6 gave no answer")
results = {}
"""
NOTICES_SOON = {"timeouts": {"heartbeat": 2, "retry": 60}, "gate": {"lease": 1.0}}
pytestmark = [pytest.mark.chromium, pytest.mark.slow]


@pytest_asyncio.fixture(loop_scope="session")
async def thoughtful(open_house: Any, worker_of: Any) -> AsyncIterator[Any]:
    """A house whose model takes its time."""
    with ModelServer(replies=[Reply(program="results = {}", delay=60)]) as model:
        house = await open_house("thoughtful", environment={"OPENAI_BASE_URL": model.base_url})
        async with worker_of(house):
            yield house


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def slow(stack: Any, open_house: Any, worker_of: Any) -> AsyncIterator[Any]:
    """A house of slow devices, whose gate the tests start and end.

    The device of corrector 4 never goes where it is sent, corrector 6 takes a step every 4 s.
    """
    limits = json.loads((ROOT / "demo" / "limits.json").read_text())
    limits["SR:HCM4:SP"]["readback"] |= {"offset": 1.0, "settle_time": 120}
    limits["SR:HCM6:SP"] |= {"max_step": 0.15, "min_interval": 4.0}
    file = Path(stack.directory) / "slow-limits.json"
    file.write_text(json.dumps(limits))
    settings = {**NOTICES_SOON, "limits": {"file": str(file)}}
    house = await house_apart(stack, open_house, "slow", settings)
    async with worker_of(house):
        yield house


async def cancelled(house: Any, page: Page, handle: Any) -> None:
    """Cancel it by clicks: it ends as stopped, and its page says so."""
    shown = await open_question(page, _address(house, handle))
    await cancel(page)
    error = await house.failure(handle)
    assert error.stage == Stage.STOPPED
    assert (await handle.describe()).status.name == "CANCELED"
    await page.reload()
    await expect(shown).to_contain_text("stopped")
    await expect(shown).to_contain_text("cancelled in Temporal")


async def test_while_it_is_prepared(slow: Any, page: Page, fresh: str) -> None:
    handle = await slow.start(WRITES, id=fresh)  # and no gate is there
    await slow.reach(handle, Stage.PREPARING)
    await cancelled(slow, page, handle)


async def test_while_the_model_thinks(thoughtful: Any, page: Page, fresh: str) -> None:
    handle = await thoughtful.start(id=fresh)
    await thoughtful.reach(handle, Stage.GENERATING)
    await cancelled(thoughtful, page, handle)


async def test_while_its_code_is_analysed(
    house: Any, page: Page, machine: Machine, fresh: str
) -> None:
    before = await machine.counts()
    handle = await frozen_in_its_analysis(house, fresh)
    try:
        await page.goto(_address(house, handle))
        await cancel(page)
    finally:
        os.kill(house.worker_pid, signal.SIGCONT)
    error = await house.failure(handle)
    assert error.stage == Stage.STOPPED
    shown = await open_question(page, _address(house, handle))
    await expect(shown).to_contain_text("Nothing was written to the machine")
    assert await machine.since(before) == {}


async def frozen_in_its_analysis(house: Any, name: str) -> Any:
    """An execution whose worker stands still in its analysis, which takes less than a second."""
    for number in range(5):
        handle = await house.start(LONG, id=f"{name}-{number}")
        prepared = False
        async for event in handle.fetch_history_events(wait_new_event=True):
            prepared |= event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
            if prepared and event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
                break
        os.kill(house.worker_pid, signal.SIGSTOP)
        last = [event.event_type async for event in handle.fetch_history_events()][-1]
        if last == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            return handle
        os.kill(house.worker_pid, signal.SIGCONT)
        await handle.terminate("it was faster")
    pytest.fail("each analysis was over before its worker stood still")


async def test_while_it_is_rehearsed(house: Any, page: Page, machine: Machine, fresh: str) -> None:
    before = await machine.counts()
    handle = await house.start(WRITES + ENDLESS, id=fresh)
    await house.reach(handle, Stage.REHEARSING)
    await cancelled(house, page, handle)
    assert not house.kernels()
    assert await machine.since(before) == {}


async def test_while_a_question_waits_and_nothing_is_written(
    house: Any, page: Page, machine: Machine, fresh: str
) -> None:
    before = await machine.counts()
    handle, _ = await rehearsed(house, machine, LEAVES, id=fresh)
    await cancelled(house, page, handle)
    assert await machine.since(before) == {}


async def test_while_a_program_that_reads_runs(house: Any, page: Page, fresh: str) -> None:
    handle = await house.start(ENDLESS, id=fresh)
    await house.reach(handle, Stage.EXECUTING)
    await cancelled(house, page, handle)
    assert not house.kernels()


async def test_while_it_writes_it_writes_no_more_and_asks_what_becomes_of_the_machine(
    house: Any, page: Page, machine: Machine, fresh: str
) -> None:
    start = await machine.number("SR:HCM5:SP")
    handle, pending = await rehearsed(house, machine, _long_ramp(), id=fresh)
    before = await machine.counts()
    shown = await open_question(page, _address(house, handle))
    await approve(handle, pending)
    async with asyncio.timeout(30):
        while (await machine.since(before)).get("SR:HCM5:SP", 0) < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await cancel(page)
    question = await left_changed(house, handle)
    written = await machine.since(before)
    assert 1 <= written["SR:HCM5:SP"] < STEPS
    await page.reload()
    await expect(shown).to_contain_text("MACHINE LEFT CHANGED")
    await expect(shown).to_contain_text("Request Cancellation was used already")
    assert await machine.since(before) == written

    await send(page, f"restore-{question.revision}")
    assert (await house.failure(handle)).stage == Stage.STOPPED
    assert await machine.number("SR:HCM5:SP") == pytest.approx(start)


async def test_while_devices_are_waited_for_it_asks_what_becomes_of_what_was_written(
    slow: Any, page: Page, machine: Machine, fresh: str
) -> None:
    async with running_gate(slow.stack):
        start = await machine.number("SR:HCM4:SP")
        handle, pending = await rehearsed(slow, machine, WRITES + "results = {}", id=fresh)
        before = await machine.counts()
        await approve(handle, pending)
        await slow.reach(handle, Stage.VERIFYING)
        shown = await open_question(page, _address(slow, handle))
        await cancel(page)
        question = await left_changed(slow, handle)
        assert [str(change.channel) for change in question.changes] == ["SR:HCM4:SP"]
        assert await machine.since(before) == {"SR:HCM4:SP": 1}
        await page.reload()
        await expect(shown).to_contain_text("MACHINE LEFT CHANGED")
        await expect(shown).to_contain_text("It wrote all that it was to write")
        await expect(shown).to_contain_text("look whether they followed")

        await handle.signal(f"restore-{question.revision}")
        assert (await slow.failure(handle)).stage == Stage.STOPPED
        assert (await handle.describe()).status.name == "CANCELED"
        assert await machine.number("SR:HCM4:SP") == pytest.approx(start)


async def test_while_it_puts_back_it_ends_there_and_tells_how_far_it_came(
    slow: Any, page: Page, machine: Machine, fresh: str
) -> None:
    start = await machine.number("SR:HCM6:SP")
    async with running_gate(slow.stack):
        handle, pending = await rehearsed(slow, machine, HALFWAY, id=fresh)
        await approve(handle, pending)
        question = await left_changed(slow, handle)
        before = await machine.counts()
        await handle.signal(f"restore-{question.revision}")
        async with asyncio.timeout(30):
            while not await machine.since(before):  # noqa: ASYNC110  (of the IOC)
                await asyncio.sleep(0.02)
        with inhibited(slow):  # before its next step, which it waits for
            shown = await open_question(page, _address(slow, handle))
            await expect(shown).to_contain_text("restoring")
            await cancel(page)
            error = await slow.failure(handle)
        halfway = await machine.number("SR:HCM6:SP")
        assert start + 0.01 < halfway < start + 0.19
        assert "Putting back was stopped: look at the machine." in str(error)
        assert len(error.technical_details["left_changed"]) == 1
        await page.reload()
        await expect(shown).to_contain_text("Putting back was stopped")
        await expect(shown).to_contain_text(f"read {halfway:.6g} A at ")
        await expect(shown).not_to_contain_text("something else than was written")
        assert fresh in str(ask(slow.stack.gate_socket, {"do": "status"})["left"])
        assert await machine.since(before) == {"SR:HCM6:SP": 1}


@contextlib.contextmanager
def inhibited(house: Any) -> Iterator[None]:
    """No write passes the gate of `house` meanwhile."""
    switch = {"do": "inhibit", "operator": "jd", "reason": "a test"}
    ask(house.stack.gate_socket, switch | {"on": True})
    try:
        yield
    finally:
        ask(house.stack.gate_socket, switch | {"on": False})


async def test_while_the_host_is_silent_it_counts_once_that_tells_what_was_written(
    slow: Any, page: Page, machine: Machine
) -> None:
    async with running_gate(slow.stack) as gate:
        ramp = await begun(Own(slow, gate), machine)
        shown = await open_question(page, _address(slow, ramp.handle))
        await ramp.reaches(3)
        os.kill(gate.pid, signal.SIGKILL)  # and it is not started again
    await slow.reach(ramp.handle, Stage.HOST_UNREACHABLE, within=60)
    await page.reload()
    await expect(shown).to_contain_text("host unreachable")
    await expect(shown).to_contain_text("ends it only once the host tells")
    await cancel(page)
    async for event in ramp.handle.fetch_history_events(wait_new_event=True):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
            break
    stood = await ramp.agrees(uncertain=1)

    async with running_gate(slow.stack):
        question = await left_changed(slow, ramp.handle)
        assert [change.channel for change in question.changes] == [SETPOINT]
        await page.reload()
        await expect(shown).to_contain_text("Request Cancellation was used already")
        await ramp.handle.signal(f"leave-{question.revision}")
        assert (await slow.failure(ramp.handle)).stage == Stage.STOPPED
        assert (await ramp.handle.describe()).status.name == "CANCELED"
        assert await ramp.count() == stood


async def test_while_the_machine_is_left_changed_it_is_left_as_it_is(
    house: Any, page: Page, machine: Machine, fresh: str
) -> None:
    handle, pending = await rehearsed(house, machine, LEAVES, id=fresh)
    await approve(handle, pending)
    await left_changed(house, handle)
    before, stands = await machine.counts(), await machine.number("SR:HCM6:SP")
    await open_question(page, _address(house, handle))
    await cancel(page)
    error = await house.failure(handle)
    assert error.technical_details["left_changed"]
    assert await machine.since(before) == {}
    await page.reload()
    await expect(question_of(page)).to_contain_text("SR:HCM6:SP")
    await machine.set("SR:HCM6:SP", stands - 0.1)  # as the tests after this one expect it


STEPS = 150


def _long_ramp() -> str:
    """A ramp that does not end while a slow browser clicks."""
    text = program("slow_ramp").replace("STEPS = 15", f"STEPS = {STEPS}")
    return text.replace("0.01 * step", "0.001 * step")


def _address(house: Any, handle: Any) -> str:
    namespace = house.client.namespace
    return execution_address(house.stack.web_ui, handle.id, namespace)
