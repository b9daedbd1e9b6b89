from pathlib import Path
from typing import Any

import nbformat
import pytest
from temporalio.testing import ActivityEnvironment

from activities.drafting import Drafting
from runpermit.config import LimitsSettings, limits_file
from runpermit.errors import ServiceUnavailableError
from runpermit.models import Plan
from tests.gate.giving_permits import planned
from workflows.steps import Draft, DraftTask


async def draft(desk: Any, task: DraftTask, **sections: dict[str, Any]) -> Draft:
    found: Draft = await ActivityEnvironment().run(Drafting(desk.house(**sections)).draft, task)
    return found


def waiting(desk: Any) -> DraftTask:
    folder = desk.folder()
    notebook = desk.notebook(folder, "approval")
    plan = planned([("SR:HCM1:SP", 0.1)])
    return DraftTask(folder=folder, notebook=notebook, code="results = {}", plan=plan)


async def test_the_notebook_shows_the_code_as_it_waits_and_refuses_to_run(gated: Any) -> None:
    task = waiting(gated)
    await draft(gated, task)
    first = task.notebook.notebook_path.read_bytes()
    await draft(gated, task)
    assert task.notebook.notebook_path.read_bytes() == first
    written = nbformat.read(task.notebook.notebook_path, as_version=4)
    assert "waits for approval" in written.cells[0].source
    assert written.cells[1].source.endswith("results = {}")
    assert "RUNPERMIT_RERUN_WRITES" in written.cells[1].source


async def test_the_plan_that_is_asked_about_lies_in_the_folder(gated: Any) -> None:
    task = waiting(gated)
    await draft(gated, task)
    assert Plan.model_validate_json(task.folder.plan.read_bytes()) == task.plan


async def test_the_stock_tells_the_inputs_as_they_are_now(gated: Any) -> None:
    task = waiting(gated)
    before = await draft(gated, task)
    (task.folder.work / "left_by_an_attempt.csv").write_text("1,2")
    after = await draft(gated, task)
    assert set(after.inputs) - set(before.inputs) == {"left_by_an_attempt.csv"}


async def test_the_draft_tells_what_is_in_force_at_the_gate(gated: Any) -> None:
    found = await draft(gated, waiting(gated))
    assert found.gate.writes
    assert found.gate.inhibited is None
    assert found.gate.limits_error is None


async def test_without_a_gate_the_draft_is_tried_again(desk: Any) -> None:
    with pytest.raises(ServiceUnavailableError, match=r"gate\.socket") as raised:
        await draft(desk, waiting(desk))
    assert raised.value.service == "gate"
    assert raised.value.should_retry_execution()


def test_what_an_approval_binds_of_the_limits_covers_both_switches(tmp_path: Path) -> None:
    file = tmp_path / "limits.json"
    file.write_text("{}")
    settings = LimitsSettings(file=file)
    variants = [
        settings,
        settings.model_copy(update={"enabled": False}),
        settings.model_copy(update={"allow_unlisted": True}),
    ]
    bound = {limits_file(variant).status().binds for variant in variants}
    file.write_text('{"A": {"max_value": 1}}')
    bound.add(limits_file(settings).status().binds)
    assert len(bound) == 4
