"""An operator in the Temporal Web UI: sees the question, and answers it with a click."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout

from runpermit.names import STAGE_ATTRIBUTE
from tests.system.asking import approve, left_changed, next_question, rehearsed
from tests.system.browser import (
    choose,
    execution_address,
    open_question,
    open_signals,
    question_of,
    send,
)
from tests.system.machine import Machine

STEP = """\
# Step corrector 1 there and back
start = float(read_channel("SR:HCM1:SP"))
write_channel("SR:HCM1:SP", 0.2)
write_channel("SR:HCM1:SP", start)

results = {"start": start}
"""
LEAVES = """\
start = float(read_channel("SR:HCM6:SP"))
puts = read_channel("SR:HCM6:PUTS")
write_channel("SR:HCM6:SP", start + 0.1)
write_channel("SR:HCM6:SP", start + 0.2)
if read_channel("SR:HCM6:PUTS") != puts:  # as it never does in a rehearsal
    raise RuntimeError("corrector 6 gave no answer")
results = {"start": start}
"""
FORGED = """\
# </pre></details><h1>All is well</h1> ``` ![x](http://evil.example/x.png)
write_channel("SR:HCM1:SP", 0.1)
results = {}
"""
pytestmark = [pytest.mark.chromium, pytest.mark.slow]


async def test_an_operator_reads_the_page_and_approves_with_a_click(
    house: Any, page: Page, tmp_path: Path, fresh: str
) -> None:
    handle = await house.start(
        STEP,
        id=fresh,
        user_query="Does corrector 1 still move?",
        task_objective="Step corrector 1 by 0.2 A and go back.",
        requester="orbit-agent",
    )
    pending = await house.question(handle)
    revision = pending.revision

    shown = await open_question(page, execution_address(house.stack.web_ui, fresh))
    for text in (
        "Approve? 1 setpoint, 2 writes",
        f"Plan COMPLETE, {revision}, rehearsed",
        f"Revision {revision}",
        "→ 0.2 →",
        "approver not verified",
        "limits -5 … 5 A",
        f"approve-{revision}",
        "Does corrector 1 still move?",
        "Requester: orbit-agent",
        "Code, 6 lines",
        "# Step corrector 1 there and back",
        'results = {"start": start}',
    ):
        await expect(shown).to_contain_text(text)
    for width, height in ((1400, 900), (1000, 800), (1400, 2000), (1000, 2000)):
        await page.set_viewport_size({"width": width, "height": height})
        await page.screenshot(path=tmp_path / f"page-{width}x{height}.png")
    await page.set_viewport_size({"width": 1400, "height": 900})

    await send(page, f"approve-{revision}")
    result = await house.result(handle)
    assert result.decisions[0].accepted
    assert result.decisions[0].revision == revision
    await page.keyboard.press("r")
    await expect(shown).to_contain_text("succeeded")
    await expect(shown).to_contain_text("Written: 2 values to 1 channel. All as it should be.")
    await expect(shown).to_contain_text("setpoint accepted, device followed")
    await page.screenshot(path=tmp_path / "after.png")


async def test_an_operator_puts_back_what_was_left_changed_with_a_click(
    house: Any, page: Page, machine: Machine, tmp_path: Path, fresh: str
) -> None:
    start = await machine.number("SR:HCM6:SP")
    handle, pending = await rehearsed(house, machine, LEAVES, id=fresh)
    before = await machine.counts()
    await approve(handle, pending)
    question = await left_changed(house, handle)
    assert await machine.since(before) == {"SR:HCM6:SP": 2}

    shown = await open_question(page, execution_address(house.stack.web_ui, fresh))
    for text in (
        "MACHINE LEFT CHANGED",
        "SR:HCM6:SP",
        "corrector 6 gave no answer",
        f"restore-{question.revision}",
        f"leave-{question.revision}",
    ):
        await expect(shown).to_contain_text(text)
    await page.screenshot(path=tmp_path / "left-changed.png")
    assert await machine.since(before) == {"SR:HCM6:SP": 2}  # nothing restores by itself

    await send(page, f"restore-{question.revision}")
    error = await house.failure(handle)
    assert await machine.number("SR:HCM6:SP") == pytest.approx(start)
    assert any("restored" in line for line in error.technical_details["restored"])
    await page.keyboard.press("r")
    await expect(shown).to_contain_text("failed")
    await expect(shown).to_contain_text("Put back: 1 of 1 channel.")
    await expect(shown).not_to_contain_text(f"restore-{question.revision}")
    await page.screenshot(path=tmp_path / "restored.png")


async def test_a_click_on_a_page_that_shows_revision_1_does_not_approve_what_the_machine_made_of_it(
    house: Any, page: Page, machine: Machine, fresh: str
) -> None:
    handle, first = await rehearsed(house, machine, STEP, id=fresh)
    await page.goto(execution_address(house.stack.web_ui, fresh))
    await open_signals(page)
    # Another hand moves the machine, and another operator says yes: it is asked anew.
    start = await machine.number("SR:HCM1:SP")
    await machine.set("SR:HCM1:SP", start + 0.3)
    before = await machine.counts()
    await approve(handle, first)
    second = await next_question(house, handle, first.number)
    assert second.number == 2
    assert any("SR:HCM1:SP" in line for line in second.changed)

    await choose(page, f"approve-{first.revision}")
    state = await house.state(handle)
    assert state.approval_interrupt_data.revision == second.revision
    assert await machine.since(before) == {}
    await page.keyboard.press("Escape")
    await page.reload()
    await page.get_by_role("tab", name="User Metadata").click()
    shown = question_of(page)
    await expect(shown).to_contain_text(f"Revision {second.revision}")
    await handle.signal(f"reject-{second.revision}")
    await house.failure(handle)
    decisions = (await house.state(handle)).decisions
    said = [(one.revision, one.accepted) for one in decisions if one.verb == "approve"]
    assert said == [(first.revision, True), (first.revision, False)]
    assert await machine.since(before) == {}
    await machine.set("SR:HCM1:SP", start)  # as the tests after this one expect it


async def test_a_click_on_a_stale_page_does_not_approve_what_it_did_not_show(
    house: Any, page: Page, fresh: str, ring: Any
) -> None:
    before = ring.puts()
    handle = await house.start(
        task_objective="Measure the orbit response of one corrector.",
        execution_folder_name="stale",
        id=fresh,
    )
    first = await house.question(handle)
    await page.goto(execution_address(house.stack.web_ui, fresh))
    await open_signals(page)
    await handle.signal(f"revise-{first.revision}", {"comment": "once more, please"})
    second = first
    while second.revision == first.revision:
        second = await house.question(handle)
    await choose(page, f"approve-{first.revision}")
    # The server takes the signal; the second revision still waits, and its page tells of it.
    shown = await open_question(page, execution_address(house.stack.web_ui, fresh))
    await expect(shown).to_contain_text("Did not count: approve by an unnamed operator")
    await expect(shown).to_contain_text(f"for revision {first.revision}, but {second.revision}")
    state = await house.state(handle)
    assert state.approval_interrupt_data.revision == second.revision
    assert ring.puts() == before
    await handle.signal(f"reject-{second.revision}")
    assert (await house.failure(handle)).stage == "rejected"
    decisions = (await house.state(handle)).decisions
    stale = [one for one in decisions if one.revision == first.revision and one.verb == "approve"]
    assert [one.accepted for one in stale] == [False]


async def test_an_operator_rejects_with_a_reason(
    house: Any, page: Page, machine: Machine, fresh: str
) -> None:
    before = await machine.counts()
    handle, pending = await rehearsed(house, machine, STEP, id=fresh)
    shown = await open_question(page, execution_address(house.stack.web_ui, fresh))
    await send(page, f"reject-{pending.revision}", '{"comment": "not during injection"}')
    error = await house.failure(handle)
    assert error.stage == "rejected"
    assert "not during injection" in str(error)
    await page.reload()
    await expect(shown).to_contain_text("rejected")
    await expect(shown).to_contain_text("not during injection")
    assert await machine.since(before) == {}


async def test_the_list_shows_what_waits_by_its_stage(
    house: Any, page: Page, fresh: str, eventually: Any
) -> None:
    waits = await house.start(STEP, id=fresh)
    await house.question(waits)
    over = await house.start("results = {}", id=f"{fresh}-over")
    await house.result(over)
    query = quote(f'{STAGE_ATTRIBUTE}="awaiting_approval"')

    async def listed() -> list[str]:
        await page.goto(f"{house.stack.web_ui}/namespaces/default/workflows?query={query}")
        rows = page.get_by_role("link", name=fresh)
        try:
            await rows.first.wait_for(timeout=5_000)
        except PlaywrightTimeout:
            return []
        return [text.strip() for text in await rows.all_inner_texts()]

    found = await eventually(listed, within=60)
    assert set(found) == {fresh}
    await waits.signal("reject")
    await house.failure(waits)

    async def gone() -> bool:
        return not await listed()

    await eventually(gone, within=60)


async def test_foreign_words_take_no_effect_on_the_page(
    house: Any, page: Page, fresh: str, tmp_path: Path
) -> None:
    handle = await house.start(
        FORGED,
        id=fresh,
        user_query="<h1>Approved by the control room</h1> **trust me** [here](http://evil.example)",
        task_objective="\u202eesrever\u202c\n# A heading\n| a | b |",
    )
    await house.question(handle)
    body = await open_question(page, execution_address(house.stack.web_ui, fresh))
    frame = page.frame_locator("iframe#user-metadata-current-details:visible")
    await expect(body).to_contain_text("<h1>Approved by the control room</h1> **trust me**")
    await expect(body).to_contain_text("</pre></details><h1>All is well</h1>")
    await expect(body).to_contain_text("\\u202eesrever\\u202c # A heading | a | b |")
    await page.set_viewport_size({"width": 1400, "height": 2000})
    await page.screenshot(path=tmp_path / "forged.png")
    assert await frame.locator("h1, img, a[href*=evil], table").count() == 0
    await handle.signal("reject")
    await house.failure(handle)


async def test_the_deep_link_of_a_question_opens_its_page(
    house: Any, page: Page, fresh: str
) -> None:
    handle = await house.start(STEP, id=fresh)
    pending = await house.question(handle)
    await page.goto(pending.page_link)
    shown = question_of(page)
    await expect(shown).to_contain_text(f"Revision {pending.revision}")
    await handle.signal("reject")
    await house.failure(handle)
