"""Records the histories that `test_replay.py` replays.

Run it (`make histories`) after every change of the workflow that is meant to change its commands.
"""

import asyncio
import contextlib
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment

from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeRuntimeError,
    ServiceUnavailableError,
)
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
    """A write that the gate refuses a read-only run, asked about and applied."""
    lab.script.runs = [ChannelLimitsViolationError("SR:HCM1:SP", 0.1, "NOT_ALLOWED", "read only")]
    lab.script.applies = [{"done": True}]
    running = await lab.start()
    pending = await running.pending()
    await running.signal(f"approve-{pending.revision}", {"operator": "jd"})
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
