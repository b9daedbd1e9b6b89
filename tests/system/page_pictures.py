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
    FollowOutcome,
    MachineState,
    PendingApproval,
    Plan,
    PlanKind,
    RestoredChannel,
    RestoreOutcome,
    Stage,
    VerifiedChannel,
    WriteOutcome,
    WriteRecord,
    WriteReport,
)
from runpermit.page import (
    Machine,
    approval_page,
    ended,
    planned,
    progress_page,
    question,
    restore_page,
    succeeded,
)
from tests.runpermit.page.conftest import (
    HOSTILE,
    change,
    channel,
    hostile,
    pending,
    pending_restore,
    plan,
    ramp,
    refused,
    write,
)
from tests.system.browser import execution_address, new_page, open_question, running_browser

_QUEUE = "pages"
SIZES = ((1400, 900), (1000, 800), (1400, 2400))
_WIDE = 1200
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
    yield "stale-click", approval_page(pending(code=STEP, not_counted=refused(operator="jd")))
    signed = ApprovalRule(assurance=Assurance.SIGNED)
    yield "signed", approval_page(pending(code=STEP, rule=signed, warnings=[]))
    two = ApprovalRule(assurance=Assurance.SIGNED, persons=2, approvers=["jd@ops", "mk@ops"])
    yield (
        "two-persons",
        approval_page(pending(code=STEP, rule=two, approved_by=["jd@ops"], warnings=[])),
    )
    yield "declared-range", approval_page(pending(_declared_range(), code=STEP))
    for number, text in enumerate(HOSTILE):
        yield f"hostile-{number}", approval_page(hostile(text))
    yield "hostile-words", approval_page(_foreign_words())
    uncertain = change("SR:HCM2:SP", reads=0.2, uncertain=True)
    units = {"SR:HCM1:SP": "A", "SR:HCM2:SP": "A"}
    yield "left-changed", restore_page(pending_restore([change(), uncertain], units=units))
    yield "left-hostile", restore_page(pending_restore([change(HOSTILE[0])], reason=HOSTILE[1]))
    yield from _ends()


_NOTEBOOK = "Notebook: /srv/executions/2026-11/orbit_12/notebook.ipynb"
_YES = "approve of revision 4c0d30 by jd (not verified)"
_NO_WRITE = Machine("Nothing was written to the machine.")
_STOP = "To stop it: Request Cancellation, or More Actions → Send a Signal → stop → Submit."
_BELOW = "SR:HCM1:SP = 7 is above max_value 5 A. It wrote, did not come to its end, and is not "


def _ends() -> Iterator[tuple[str, str]]:
    """The pages while it works, and after the end."""
    fixed = change("SR:MODE", before="OFF", written="ON", reads="ON", restorable=False,
                   why_not="an enum")  # fmt: skip
    left = ended([change(), fixed], [], plan())
    back = RestoredChannel(channel="SR:HCM1:SP", before=0.1, reads=0.1,
                           outcome=RestoreOutcome.RESTORED, writes=2)  # fmt: skip
    hand = RestoredChannel(channel="SR:HCM2:SP", before=0.1, reads=0.7,
                           outcome=RestoreOutcome.ANOTHER_HAND,
                           reason="it reads 0.7, and 0.3 was written")  # fmt: skip
    report = WriteReport.of(
        [WriteRecord(channel=one, old=0.1, new=0.3, outcome=WriteOutcome.CONFIRMED)
         for one in ("SR:HCM1:SP", "SR:HCM2:SP")], 2, Path("/srv/x/journal.jsonl"),
    )  # fmt: skip
    fine = VerifiedChannel(channel="SR:HCM1:SP", written=0.3, reads=0.3, accepted=True,
                           device="SR:HCM1:RB", outcome=FollowOutcome.FOLLOWED)  # fmt: skip
    bad = VerifiedChannel(channel="SR:HCM2:SP", written=0.3, reads=0.28, accepted=False,
                          device="SR:HCM2:RB", outcome=FollowOutcome.NOT_FOLLOWED,
                          expected=0.3, device_reads=0.1)  # fmt: skip
    two = plan(channels=[channel(), channel("SR:HCM2:SP")])
    pages: tuple[tuple[str, Stage, str, Machine, list[str]], ...] = (
        ("outdated", Stage.REHEARSING, "SR:HCM1:SP now reads 0.4 A, was 0.1 A", _NO_WRITE, []),
        ("applying", Stage.APPLYING, "", planned(f"It writes: {question(plan())}", plan()),
         [_STOP, _YES]),
        ("restoring", Stage.RESTORING, "It waits. All writes of this host are inhibited by mk.",
         Machine(), ["To stop it: More Actions → Send a Signal → stop → Submit.", _YES]),
        ("succeeded", Stage.SUCCEEDED, "", succeeded(report, [fine], [], two), [_YES, _NOTEBOOK]),
        ("not-followed", Stage.SUCCEEDED, "", succeeded(report, [fine, bad], [], two),
         [_YES, _NOTEBOOK]),
        ("rejected", Stage.REJECTED, "Rejected by jd: not now.", _NO_WRITE, [_NOTEBOOK]),
        ("expired", Stage.EXPIRED, "Nobody decided on revision 4c0d30 within 3600 s "
         "(approval.question_expiry). Start it again when somebody can.", _NO_WRITE, []),
        ("stopped-before", Stage.STOPPED, "Stopped by jd: beam lost.", _NO_WRITE, [_NOTEBOOK]),
        ("stopped", Stage.STOPPED, "Stopped by jd: beam lost.", left, [_YES, _NOTEBOOK]),
        ("failed", Stage.FAILED, f"{_BELOW}repeated: look at the machine. Writes forwarded: 2.",
         left, [_YES, _NOTEBOOK]),
        ("restored", Stage.FAILED, "corrector 6 gave no answer.", ended([], [back], two),
         [_YES, "restore by jd (not verified)", _NOTEBOOK]),
        ("partly-restored", Stage.FAILED, "corrector 6 gave no answer.",
         ended([change("SR:HCM2:SP", reads=0.7)], [back, hand], two), [_YES, _NOTEBOOK]),
        ("hostile-comment", Stage.REJECTED, f"Rejected by jd: {HOSTILE[0]} {HOSTILE[3]}",
         _NO_WRITE, []),
        ("unreachable", Stage.HOST_UNREACHABLE,
         "demo does not tell what was written. Look at the machine.",
         planned("It was to write:", plan()), [_YES]),
        ("unknown", Stage.FAILED, "Nobody could ask the gate's journal what was written: look at "
         "the machine, and at the plan of this execution.",
         planned("Nobody can tell what of this was written:", _ramps()), [_YES, _NOTEBOOK]),
    )  # fmt: skip
    for name, stage, note, machine, facts in pages:
        yield name, progress_page(stage, 1, note, [], facts, machine)


def _ramps() -> Plan:
    names = [f"SR:HCM{number}:SP" for number in range(1, 6)]
    writes = [one for at, name in enumerate(names) for one in ramp(name, at=5.0 * at)]
    channels = [
        channel(
            name,
            description=f"Setpoint of horizontal corrector {number}",
            writes=40,
            live=0.0,
            low=0.01,
            high=0.4,
            last=0.4,
            largest_step=0.01,
        )
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


def _declared_range() -> Plan:
    return plan(
        kind=PlanKind.DECLARED,
        declared=[
            Declaration(channel=name, low=-0.5, high=0.5, max_writes=20)
            for name in ("SR:HCM1:SP", "SR:HCM2:SP")
        ],
        channels=[channel(), channel("SR:HCM2:SP")],
        seconds=12,
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
                        if width < _WIDE:  # below summary and details
                            await shown.locator("h2, h3").first.scroll_into_view_if_needed()
                            await page.mouse.wheel(0, height)
                        await page.screenshot(path=folder / f"{name}-{width}x{height}.png")
                    (folder / f"{name}.md").write_text(text)


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]), set(sys.argv[2:])))
