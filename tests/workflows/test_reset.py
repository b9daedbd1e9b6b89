"""A reset runs steps again: the permit is the same, so that the gate knows it; on a real server."""

import html
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

from runpermit.errors import WorkflowError
from runpermit.models import Stage, Verdict
from runpermit.page import approval_page, restore_page


@pytest.fixture
async def lab(real_lab: Any) -> AsyncIterator[Any]:
    shared, own = real_lab.script.workers(real_lab.client)
    async with shared, own:
        yield real_lab


async def reset(lab: Any, running: Any, step: str) -> Any:
    """The run that goes on from where `step` was first asked for."""
    history = await running.handle.fetch_history()
    [event] = [
        event.activity_task_scheduled_event_attributes.workflow_task_completed_event_id
        for event in history.events
        if event.activity_task_scheduled_event_attributes.activity_type.name == step
    ]
    await lab.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(
                workflow_id=running.handle.id, run_id=running.handle.first_execution_run_id
            ),
            reason="a person's finger",
            workflow_task_finish_event_id=event,
            request_id=secrets.token_hex(8),
        )
    )
    return lab.attach(running.handle.id)


async def test_an_apply_that_is_reset_shows_the_gate_the_permit_that_it_knows(lab: Any) -> None:
    running = await lab.approved()
    await running.result()
    lab.script.applies = [WorkflowError("The permit was used.", "applying")]
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL)]
    again = await reset(lab, running, "apply")
    error = await again.failure()

    first, second = lab.script.tasks("apply")
    assert first.permit.revision == second.permit.revision
    assert first.permit.id == second.permit.id
    assert isinstance(error, WorkflowError)
    assert error.technical_details["verdict"] == "partial"
    assert [task.permit.issue for task in lab.script.tasks("apply")] == [1, 1]


async def test_a_plain_yes_of_before_a_reset_approves_nothing_after_it(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    running = await lab.start()
    first = await running.pending()
    assert not any("RESET RUN" in warning for warning in first.warnings)
    await running.signal("approve")
    await running.result()
    again = await reset(lab, running, "rehearse")
    pending = await again.pending()
    assert "RESET RUN" in pending.warnings[0]
    assert "plain approve" in pending.warnings[0]
    assert "RESET RUN" in approval_page(pending)
    await again.signal("approve")
    await again.signal("reject", {"sha256": pending.sha256})
    await again.failure()
    page = html.unescape((await again.metadata()).current_details)
    assert "This run wrote nothing to the machine. The run before the reset may have." in page
    state = await again.state()

    assert [record.accepted for record in state.decisions] == [False, False, True]
    assert len(lab.script.tasks("apply")) == 1


async def test_a_restore_of_before_a_reset_puts_nothing_back_after_it(lab: Any) -> None:
    lab.script.applies = [WorkflowError("the kernel died", "applying")]
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, lab.script.changed())]
    running = await lab.approved()
    pending = await running.left_changed()
    await running.signal(f"restore-{pending.revision}")
    await running.failure()
    assert pending.notes == []
    again = await reset(lab, running, "settle")
    question = await again.left_changed()
    assert "RESET RUN" in question.notes[0]
    assert "RESET RUN" in restore_page(question)

    assert (await again.state()).current_stage is Stage.AWAITING_RESTORE
    assert len(lab.script.tasks("restore")) == 1
