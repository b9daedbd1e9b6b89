"""Request Cancellation, the biggest button of the Temporal Web UI, at every stage."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from demo.model_server import ModelServer, Reply
from runpermit.models import Stage
from tests.system.asking import approve, left_changed, program, rehearsed
from tests.system.browser import cancel, execution_address, open_question, question_of, send
from tests.system.machine import Machine

ENDLESS = "import time\nwhile True:\n    time.sleep(0.1)\n"
LEAVES = """\
puts = read_channel("SR:HCM6:PUTS")
write_channel("SR:HCM6:SP", float(read_channel("SR:HCM6:SP")) + 0.1)
if read_channel("SR:HCM6:PUTS") != puts:  # as it never does in a rehearsal
    raise RuntimeError("corrector 6 gave no answer")
results = {}
"""
pytestmark = [pytest.mark.chromium, pytest.mark.slow]


@pytest_asyncio.fixture(loop_scope="session")
async def thoughtful(open_house: Any, worker_of: Any) -> AsyncIterator[Any]:
    """A house whose model takes its time."""
    with ModelServer(replies=[Reply(program="results = {}", delay=60)]) as model:
        house = await open_house("thoughtful", environment={"OPENAI_BASE_URL": model.base_url})
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


async def test_while_the_model_thinks(thoughtful: Any, page: Page, fresh: str) -> None:
    handle = await thoughtful.start(id=fresh)
    await thoughtful.reach(handle, Stage.GENERATING)
    await cancelled(thoughtful, page, handle)


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
