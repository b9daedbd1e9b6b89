"""The pictures of docs/operators.md, of real executions; `-m tests.system.operator_pictures`."""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import FloatRect, Page

from demo.stack import ROOT, Stack, running_stack
from runpermit import Execution, PythonExecutionRequest, RunpermitClient
from runpermit.models import Stage
from tests.system.browser import (
    choose,
    execution_address,
    new_page,
    open_question,
    open_signals,
    running_browser,
)

DOCS = ROOT / "docs"
_PANEL = FloatRect(x=256, y=60, width=1144, height=840)  # without the Web UI's own menu
_DIALOG = FloatRect(x=436, y=160, width=528, height=580)
_STEP = """\
import time

start = float(read_channel("SR:HCM1:SP"))
write_channel("SR:HCM1:SP", start + 0.2)
time.sleep(2)
results = {"orbit_mm": float(read_channel("SR:BPM1:X"))}
"""
_FAILS = """\
start = float(read_channel("SR:HCM6:SP"))
puts = read_channel("SR:HCM6:PUTS")
write_channel("SR:HCM6:SP", start + 0.1)
write_channel("SR:HCM6:SP", start + 0.2)
if read_channel("SR:HCM6:PUTS") != puts:
    raise RuntimeError("corrector 6 gave no answer")
results = {"start": start}
"""


async def take() -> None:
    """Take all pictures."""
    with tempfile.TemporaryDirectory(prefix="pictures-", dir="/tmp") as directory:
        async with (
            running_stack(Path(directory)) as stack,
            running_browser() as browser,
            new_page(browser) as page,
        ):
            client = await RunpermitClient.connect(stack.address)
            await _approved(client, stack, page)
            await _left_changed(client, stack, page)


async def _approved(client: RunpermitClient, stack: Stack, page: Page) -> None:
    """A question, the click that answers it, and what became of it."""
    execution = await _started(client, "orbit-42", _STEP, "Does corrector 1 still move the orbit?")
    revision = await _revision(execution, Stage.AWAITING_APPROVAL)
    await _picture(page, stack, execution, "waiting-approval")
    await open_signals(page)
    await page.get_by_role("option", name=f"approve-{revision}").first.wait_for()
    await _save(page, "send-a-signal", _DIALOG)
    await choose(page, f"approve-{revision}")
    await execution.result()
    await _picture(page, stack, execution, "succeeded")


async def _left_changed(client: RunpermitClient, stack: Stack, page: Page) -> None:
    """A machine that was left changed, and put back."""
    execution = await _started(client, "orbit-43", _FAILS, "Step corrector 6 in two steps.")
    revision = await _revision(execution, Stage.AWAITING_APPROVAL)
    handle = client.temporal.get_workflow_handle(execution.id)
    await handle.signal(f"approve-{revision}")
    question = await _revision(execution, Stage.AWAITING_RESTORE)
    await _picture(page, stack, execution, "left-changed")
    await handle.signal(f"restore-{question}")
    await _reached(execution, Stage.FAILED)
    await _picture(page, stack, execution, "restored")


async def _started(client: RunpermitClient, name: str, code: str, wish: str) -> Execution:
    request = PythonExecutionRequest(
        user_query=wish,
        task_objective=wish,
        execution_folder_name="orbit",
        approved_code=code,
        requester="orbit-agent",
    )
    return await client.start(request, id=name)


async def _reached(execution: Execution, stage: Stage) -> None:
    while (await execution.state()).current_stage is not stage:  # noqa: ASYNC110
        await asyncio.sleep(0.2)


async def _revision(execution: Execution, stage: Stage) -> str:
    """The digits of the question that waits at `stage`."""
    await _reached(execution, stage)
    state = await execution.state()
    pending = state.approval_interrupt_data or state.pending_restore
    assert pending is not None
    return pending.revision


async def _picture(page: Page, stack: Stack, execution: Execution, name: str) -> None:
    shown = await open_question(page, execution_address(stack.web_ui, execution.id))
    await shown.locator("h2, h3").first.wait_for()
    await _save(page, name)


async def _save(page: Page, name: str, part: FloatRect = _PANEL) -> None:
    await page.screenshot(path=DOCS / f"{name}.png", clip=part)


if __name__ == "__main__":
    asyncio.run(take())
