"""Pictures of the page of every kind of question, in the real Web UI: look at them.

`python -m tests.system.page_pictures FOLDER [NAME …]`, of all cases or of those that are named.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from demo.stack import temporal_server
from runpermit.models import (
    ApprovalRule,
    Assurance,
    Declaration,
    MachineState,
    PendingApproval,
    Plan,
    PlanKind,
    Stage,
)
from runpermit.page import approval_page, progress_page, restore_page
from tests.runpermit.page.conftest import (
    HOSTILE,
    change,
    channel,
    hostile,
    pending,
    pending_restore,
    plan,
    ramp,
    write,
)
from tests.system.browser import execution_address, new_page, open_question, running_browser

_QUEUE = "pages"
SIZES = ((1400, 900), (1000, 800), (1400, 2400))
STEP = """\
import time

SETPOINT = "SR:HCM1:SP"

start = float(read_channel(SETPOINT))
write_channel(SETPOINT, start + 0.2)
time.sleep(2)
results = {"orbit_mm": float(read_channel("SR:BPM1:X"))}
"""


def cases() -> Iterator[tuple[str, str]]:
    """The name of each case, and its page."""
    yield "one-write", approval_page(pending(code=STEP))
    yield "ramps", approval_page(pending(_ramps(), code=STEP))
    yield "declared", approval_page(pending(_declared(), code=STEP))
    yield "incomplete", approval_page(pending(_incomplete(), code=STEP))
    yield "five-warnings", approval_page(pending(_five_warnings(), code=STEP))
    yield "long-code", approval_page(pending(code=_long_code()))
    yield (
        "changed",
        approval_page(
            pending(code=STEP, changed=["SR:HCM1:SP was 0.1 A and is 0.4 A now", "3 writes, not 2"])
        ),
    )
    two = ApprovalRule(assurance=Assurance.SIGNED, persons=2, approvers=["jd@ops", "mk@ops"])
    yield "signed", approval_page(pending(code=STEP, rule=two, approved_by=["jd@ops"], warnings=[]))
    for number, text in enumerate(HOSTILE):
        yield f"hostile-{number}", approval_page(hostile(text))
    yield "hostile-words", approval_page(_foreign_words())
    yield "left-changed", restore_page(pending_restore([change(), change("SR:HCM2:SP")]))
    yield "left-hostile", restore_page(pending_restore([change(HOSTILE[0])], reason=HOSTILE[1]))
    for name, stage, note, facts in _ENDS:
        yield name, progress_page(stage, 1, note, [], facts)


_NOTEBOOK = "Notebook: /srv/executions/2026-11/orbit_12/notebook.ipynb"
_LEFT = "Left changed: SR:HCM1:SP: was 0.1, set to 0.3, reads 0.3"
_YES = "approve of revision 4c0d30 by jd (not verified)"
_ENDS: tuple[tuple[str, Stage, str, list[str]], ...] = (
    ("applying", Stage.APPLYING, "",
     ["It writes: 1 setpoint, 25 writes, 9.7 s. SR:HCM4:SP +0.500 A. Plan COMPLETE",
      "To stop it: Request Cancellation, or More Actions → Send a Signal → stop → Submit.", _YES]),
    ("restoring", Stage.RESTORING, "", [_YES]),
    ("succeeded", Stage.SUCCEEDED, "", ["Written: 2 values.", _YES, _NOTEBOOK]),
    ("rejected", Stage.REJECTED, "Rejected by jd: not now.", [_NOTEBOOK]),
    ("expired", Stage.EXPIRED, "Nobody answered within 3600 s (approval.question_expiry).", []),
    ("stopped", Stage.STOPPED, "Stopped by jd: beam lost.", [_LEFT, _YES, _NOTEBOOK]),
    ("failed", Stage.FAILED, "SR:HCM1:SP = 7 is above max_value 5 A.", [_LEFT, _YES, _NOTEBOOK]),
    ("hostile-comment", Stage.REJECTED, f"Rejected by jd: {HOSTILE[0]} {HOSTILE[3]}", []),
    ("unreachable", Stage.HOST_UNREACHABLE,
     "demo does not tell what was written. Look at the machine.", [_YES]),
)  # fmt: skip


def _ramps() -> Plan:
    names = [f"SR:HCM{number}:SP" for number in range(1, 6)]
    writes = [one for at, name in enumerate(names) for one in ramp(name, at=5.0 * at)]
    channels = [
        channel(name, description=f"Setpoint of horizontal corrector {number}", writes=40)
        for number, name in enumerate(names, 1)
    ]
    return plan(writes=writes, channels=channels, seconds=25)


def _declared() -> Plan:
    return plan(
        kind=PlanKind.DECLARED,
        declared=[Declaration(channel="SR:HCM1:SP", low=-0.5, high=0.5, max_writes=20)],
        problem="the beam position did not answer",
        unknown=["SR:BPM1:X"],
    )


def _incomplete() -> Plan:
    return plan(
        kind=PlanKind.INCOMPLETE,
        problem="ZeroDivisionError: division by zero in line 12",
        unknown=["SR:BPM1:X"],
    )


def _five_warnings() -> Plan:
    return plan(
        channels=[
            channel(alarm="HIHI MAJOR", moved_by="the orbit feedback", restorable=False,
                    why_not="its entry says restore: false", stoppable=False),
        ],
        machine=[MachineState(channel="SR:INTERLOCK", op="==", value="OK", reads="Tripped",
                              holds=False)],
        unknown=["SR:BPM1:X", "SR:BPM2:X"],
    )  # fmt: skip


def _long_code() -> str:
    lines = [f"value_{number} = read_channel('SR:BPM{number % 8 + 1}:X')" for number in range(600)]
    return "\n".join([*lines, 'write_channel("SR:HCM1:SP", 0.3)', "results = {}"])


def _foreign_words() -> PendingApproval:
    query = "<h1>Approved</h1> ``` </pre></details> | a | b | \u202eesrever\u202c"
    bad = channel(description="</pre><details> ``` | safe | yes | \u202e" + 100 * "wide ")
    return pending(
        plan(channels=[bad], writes=[write()]),
        code=f'"""{HOSTILE[0]}"""\n# {HOSTILE[1]}\n# ' + "y" * 100_000,
        user_query=query,
        task_objective=query,
        requester=query,
    )


@workflow.defn
class Shown:
    """Shows one page until it is ended."""

    @workflow.run
    async def run(self, page: str) -> None:
        """Wait with `page` as the current details."""
        workflow.set_current_details(page)
        await workflow.wait_condition(lambda: False)


async def take(folder: Path, names: set[str]) -> None:
    """Take the pictures of all cases, or of those in `names`."""
    with tempfile.TemporaryDirectory(prefix="pages-") as scratch:
        async with (
            temporal_server(Path(scratch)) as (address, web_ui),
            running_browser() as browser,
        ):
            client = await Client.connect(address)
            async with (
                Worker(client, task_queue=_QUEUE, workflows=[Shown],
                       workflow_runner=UnsandboxedWorkflowRunner()),
                new_page(browser) as page,
            ):  # fmt: skip
                for name, text in cases():
                    if names and name not in names:
                        continue
                    await client.start_workflow(Shown.run, text, id=name, task_queue=_QUEUE)
                    shown = await open_question(page, execution_address(web_ui, name))
                    await shown.locator("h2, h3").first.wait_for()
                    for width, height in SIZES:
                        await page.set_viewport_size({"width": width, "height": height})
                        await page.screenshot(path=folder / f"{name}-{width}x{height}.png")
                    (folder / f"{name}.md").write_text(text)


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]), set(sys.argv[2:])))
