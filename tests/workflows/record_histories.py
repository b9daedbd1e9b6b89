"""Records the histories that `test_replay.py` replays.

Run it (`make histories`) after every change of the workflow that is meant to change its commands.

What lies under `histories/released/` is of a release, whose executions may wait for weeks: it is
never recorded again, and the workflow of today must replay it. So what changes the commands of a
run (another step, timer or memo, or another order of them) goes behind
`if workflow.patched("what changed"):` with the old way as its `else`; an answer of a step may get
new fields only with defaults. Once no execution of before the patch is open or kept for queries
(see the namespace's retention), `workflow.deprecate_patch` replaces `patched` and the old way goes,
and only then may the histories of that release be deleted; once those patched are gone, so may it.

A release adds its own: copies of those that show most of the lifecycle, and their SHA256SUMS.
"""

import asyncio
import contextlib
import importlib.util
import json
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment

from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeRuntimeError,
    PlanOutdatedError,
    ServiceUnavailableError,
)
from runpermit.models import ApprovalRule, Assurance, PlanKind, Verdict
from runpermit.payloads import data_converter

HERE = Path(__file__).parent
HISTORIES = HERE / "histories"


def _conftest() -> Any:
    sys.path.insert(0, str(HERE.parents[1]))
    spec = importlib.util.spec_from_file_location("workflow_lab", HERE / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def attempts(lab: Any) -> Any:
    """Two failures, an outage, then success."""
    lab.script.programs = [
        lab.programs.no_python,
        ServiceUnavailableError("the model does not answer", "model"),
        lab.programs.read,
        lab.programs.other_read,
    ]
    lab.script.runs = [CodeRuntimeError("division by zero", "Traceback: …", 2), {"orbit": 0.1}]
    return await lab.start()


async def revised_and_approved(lab: Any) -> Any:
    """A question, a revision, a refused plain approval, and a yes."""
    lab.script.programs = [lab.programs.write, lab.programs.other_write]
    running = await lab.start()
    first = await running.pending()
    await running.signal(f"revise-{first.revision}", {"operator": "jd", "comment": "less"})
    second = await running.until_number(2)
    await running.signal("approve", {"operator": "jd"})
    await running.signal(f"approve-{first.revision}")
    await running.signal("approve", {"operator": "jd", "sha256": second.sha256})
    return running


async def expired(lab: Any) -> Any:
    """A question that nobody answers."""
    lab.script.programs = [lab.programs.write]
    lab.script.deployment = {"question_expiry": 3600.0}
    return await lab.start()


async def rejected_by_update(lab: Any) -> Any:
    """A no by the update."""
    lab.script.programs = [lab.programs.write]
    running = await lab.start()
    await running.pending()
    no = {"decision": "reject", "operator": "jd", "comment": "not now"}
    await running.handle.execute_update("decide", no)
    return running


async def stopped_while_it_runs(lab: Any) -> Any:
    """A stop that a run does not hear."""
    entered, heard = asyncio.Event(), asyncio.Event()

    async def run(_task: Any) -> dict[str, Any]:
        entered.set()
        await heard.wait()
        return {"late": True}

    lab.script.runs = [run]
    running = await lab.start()
    await entered.wait()
    await running.signal("stop", {"operator": "jd", "comment": "beam lost"})
    await asyncio.sleep(0.3)
    heard.set()
    return running


async def cancelled_while_it_waits(lab: Any) -> Any:
    """The big blue button."""
    lab.script.programs = [lab.programs.write]
    running = await lab.start()
    await running.pending()
    await running.handle.cancel()
    return running


async def refused_in_reading(lab: Any) -> Any:
    """A write that the gate refuses a read-only run, rehearsed, asked about and applied."""
    lab.script.runs = [ChannelLimitsViolationError("SR:HCM1:SP", 0.1, "NOT_ALLOWED", "read only")]
    lab.script.applies = [{"done": True}]
    running = await lab.start()
    pending = await running.pending()
    await running.signal(f"approve-{pending.revision}", {"operator": "jd"})
    return running


async def partial_and_restored(lab: Any) -> Any:
    """An apply that fails after a write, a no to something else, and a restore."""
    lab.script.applies = [CodeRuntimeError("division by zero", "Traceback: …", 1)]
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, lab.script.changed())]
    running = await lab.approved()
    pending = await running.left_changed()
    await running.signal("reject", {"operator": "jd"})
    await running.signal(f"restore-{pending.revision}", {"operator": "jd"})
    return running


async def stopped_while_it_applies_and_left(lab: Any) -> Any:
    """A stop in an apply, and a machine that is left as it is."""
    held = lab.hold()
    lab.script.applies = [held]
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, lab.script.changed())]
    running = await lab.approved()
    await held.entered.wait()
    await running.signal("stop", {"operator": "jd", "comment": "beam lost"})
    await running.left_changed()
    await running.handle.execute_update("decide", {"decision": "leave", "operator": "jd"})
    return running


async def cancelled_while_it_restores(lab: Any) -> Any:
    """The big blue button, in a restore."""
    held = lab.hold()
    lab.script.applies = [CodeRuntimeError("division by zero", "Traceback: …", 1)]
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, lab.script.changed())]
    lab.script.restores = [held]
    running = await lab.approved()
    await running.left_changed()
    await running.signal("restore")
    await held.entered.wait()
    await running.handle.cancel()
    return running


async def silent_host(lab: Any) -> Any:
    """A host that answers too late to be waited for quietly, and then a second permit."""
    lost = ServiceUnavailableError("the gate was lost", "gate")
    lab.script.reaches = [lost]
    lab.script.applies = [lost, {"done": True}]
    lab.script.verdicts = [lost] * 7 + [lab.script.told(Verdict.NOTHING_FORWARDED), None]
    return await lab.approved()


async def unknown(lab: Any) -> Any:
    """A host that answers, never tells, and then is silent."""
    lab.script.reaches = [None, ServiceUnavailableError("the gate is gone", "gate")]
    lab.script.applies = [ServiceUnavailableError("the gate was lost", "gate")]
    lab.script.verdicts = [ServiceUnavailableError("the gate is gone", "gate")]
    return await lab.approved()


async def outdated_and_asked_again(lab: Any) -> Any:
    """An old plan that changed, one that changed at the gate, and a yes that holds."""
    lab.script.programs = [lab.programs.write]
    lab.script.rehearsals = [None, lab.script.planned(0.1, live=0.05)]
    lab.script.applies = [PlanOutdatedError("not run", ["input files changed"]), {"done": True}]
    running = await lab.start()
    first = await running.pending()
    await running.sleep(timedelta(minutes=20))
    await running.signal(f"approve-{first.revision}", {"operator": "jd"})
    for number in (2, 3):
        pending = await running.until_number(number)
        await running.signal(f"approve-{pending.revision}", {"operator": "jd"})
    return running


async def incomplete(lab: Any) -> Any:
    """A plan that can't be approved."""
    lab.script.programs = [lab.programs.write]
    problem = {"kind": PlanKind.INCOMPLETE, "problem": "LinAlgError: Singular matrix"}
    lab.script.rehearsals = [lab.script.planned(0.1, **problem)]
    running = await lab.start()
    pending = await running.pending()
    await running.signal(f"approve-{pending.revision}")
    await running.signal("approve", {"operator": "jd"})
    await running.signal("reject", {"operator": "jd"})
    return running


async def signed_and_restored(lab: Any) -> Any:
    """Nothing unsigned counts, nor a signature of nobody; a signed yes, and a signed restore."""
    lab.script.deployment = {"rule": ApprovalRule(assurance=Assurance.SIGNED)}
    lab.script.programs = [lab.programs.write]
    lab.script.applies = [CodeRuntimeError("division by zero", "Traceback: …", 1)]
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, lab.script.changed())]
    running = await lab.start()
    pending = await running.pending()
    await running.signal("approve", {"operator": "jd"})
    await running.signal("approve", {"sha256": pending.sha256, "signature": "forged"})
    await running.signal("approve", {"sha256": pending.sha256, "signature": "by jd"})
    left = await running.left_changed()
    await running.signal("restore", {"sha256": left.sha256})
    await running.signal("restore", {"sha256": left.sha256, "signature": "by jd"})
    return running


async def approved_by_two(lab: Any) -> Any:
    """One of two approvals, void by a revision, and then those of two persons."""
    lab.script.deployment = {"rule": ApprovalRule(assurance=Assurance.SIGNED, persons=2)}
    lab.script.programs = [lab.programs.write, lab.programs.other_write]
    running = await lab.start()
    first = await running.pending()
    yes = {"decision": "approve", "sha256": first.sha256, "signature": "by jd"}
    await running.handle.execute_update("decide", yes)
    await running.signal("revise", {"operator": "mk", "comment": "less"})
    second = await running.until_number(2)
    for name in ("jd", "mk"):
        again = {"decision": "approve", "sha256": second.sha256, "signature": f"by {name}"}
        await running.handle.execute_update("decide", again)
    return running


async def stopped_while_one_is_looked_at(lab: Any) -> Any:
    """A stop while a signature is verified, which then comes too late."""
    held = lab.hold(deaf=True)
    lab.script.deployment = {"rule": ApprovalRule(assurance=Assurance.SIGNED)}
    lab.script.programs = [lab.programs.write]
    lab.script.identities = [held]
    running = await lab.start()
    pending = await running.pending()
    await running.signal("approve", {"sha256": pending.sha256, "signature": "by jd"})
    await held.entered.wait()
    await running.signal("stop", {"operator": "mk"})
    held.open.set()
    return running


async def no_request(lab: Any) -> Any:
    """Input that is no request."""
    return await lab.start(inputs=[{"colour": "red"}])


SCENARIOS = (
    attempts,
    revised_and_approved,
    expired,
    rejected_by_update,
    stopped_while_it_runs,
    cancelled_while_it_waits,
    refused_in_reading,
    partial_and_restored,
    stopped_while_it_applies_and_left,
    cancelled_while_it_restores,
    silent_host,
    unknown,
    outdated_and_asked_again,
    incomplete,
    signed_and_restored,
    approved_by_two,
    stopped_while_one_is_looked_at,
    no_request,
)


async def _record(module: Any, scenario: Any) -> None:
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=module.time_skipping_server(), data_converter=data_converter
    )
    async with environment:
        with tempfile.TemporaryDirectory() as folder:
            limits = Path(folder) / "limits.json"
            limits.write_text(json.dumps(module.LIMITS))
            script = module.Script(limits)
            shared, own = script.workers(environment.client)
            async with shared, own:
                running = await scenario(module.Lab(environment, script))
                with contextlib.suppress(WorkflowFailureError):
                    await running.handle.result()
                history = await running.handle.fetch_history()
    recorded = json.loads(history.to_json())
    for event in recorded["events"]:
        _anonymise(event)
    path = HISTORIES / f"{scenario.__name__}.json"
    path.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    print(f"{path.name}: {len(recorded['events'])} events")  # noqa: T201


def _anonymise(value: Any) -> None:
    """Leave out which process of which machine it was."""
    if isinstance(value, dict):
        if "identity" in value:
            value["identity"] = "recorder"
        if "stackTrace" in value:
            value["stackTrace"] = ""
        for item in value.values():
            _anonymise(item)
    elif isinstance(value, list):
        for item in value:
            _anonymise(item)


def main() -> None:
    """Record every scenario anew."""
    module = _conftest()
    HISTORIES.mkdir(exist_ok=True)
    for scenario in SCENARIOS:
        asyncio.run(_record(module, scenario))


if __name__ == "__main__":
    main()
