"""Rehearsal and plan: what is asked about, what can't be approved, and when a plan is too old."""

from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from runpermit.errors import (
    CodeRuntimeError,
    DecisionRefusedError,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.failures import unwrap
from runpermit.models import MachineState, PlanKind, Stage

INCOMPLETE: dict[str, Any] = {
    "kind": PlanKind.INCOMPLETE,
    "problem": "LinAlgError: Singular matrix",
}


async def test_what_writes_is_rehearsed_asked_about_applied_and_verified(lab: Any) -> None:
    running = await lab.approved()
    result = await running.result()

    assert await running.stages() == [
        Stage.PREPARING,
        Stage.GENERATING,
        Stage.ANALYSING,
        Stage.REHEARSING,
        Stage.AWAITING_APPROVAL,
        Stage.APPLYING,
        Stage.VERIFYING,
        Stage.SUCCEEDED,
    ]
    steps = [name for name, _ in lab.script.calls]
    assert steps == [
        "prepare", "generate", "analyse", "rehearse", "draft", "apply", "settle", "verify",
        "conclude",
    ]  # fmt: skip
    assert result.plan.kind is PlanKind.COMPLETE
    assert await running.failed_tasks() == 0


async def test_code_that_only_reads_is_not_rehearsed(lab: Any) -> None:
    result = await (await lab.start()).result()

    assert lab.script.tasks("rehearse", "settle", "verify") == []
    assert result.plan is None
    assert result.verified == []


async def test_the_rehearsal_knows_the_guards_and_is_short(lab: Any) -> None:
    guard = {"channel": "SR:VAC:OK", "op": "==", "value": 1}
    lab.script.programs = [lab.programs.write]
    await (await lab.start(guards=[guard], timeout_seconds=30)).pending()
    await (await lab.start()).pending()

    first, second = lab.script.tasks("rehearse")
    assert [one.channel for one in first.guards] == ["SR:VAC:OK"]
    assert (first.timeout, second.timeout) == (30, 120)
    assert (first.run_seconds, second.run_seconds) == (30, 600)


async def test_an_error_in_the_rehearsal_is_feedback_for_the_next_attempt(lab: Any) -> None:
    lab.script.programs = [lab.programs.write, lab.programs.other_write]
    lab.script.rehearsals = [CodeRuntimeError("division by zero", "Traceback: …", 1), None]
    pending = await (await lab.start()).pending()

    assert pending.code == lab.programs.other_write
    [error] = lab.script.tasks("generate")[1].errors
    assert error.error_message == "division by zero"
    assert error.traceback == "Traceback: …"
    assert error.stage == Stage.REHEARSING
    assert len(lab.script.tasks("draft")) == 1


async def test_code_that_writes_nothing_in_its_rehearsal_runs_and_nobody_is_asked(
    lab: Any,
) -> None:
    lab.script.programs = [lab.programs.write]
    lab.script.rehearsals = [lab.script.planned()]
    running = await lab.start()
    result = await running.result()

    assert result.plan is result.writes is None
    assert (await running.stages())[3:] == [Stage.REHEARSING, Stage.EXECUTING, Stage.SUCCEEDED]
    assert lab.script.tasks("draft", "apply", "settle") == []


async def test_a_gate_that_is_lost_in_a_rehearsal_is_waited_for(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    lab.script.rehearsals = [ServiceUnavailableError("the gate was lost", "gate"), None]
    running = await lab.start(retries=1)
    await running.pending()

    first, second = lab.script.tasks("rehearse")
    assert first == second
    assert (await running.state()).error_chain == []


@pytest.fixture
async def incomplete(lab: Any) -> Any:
    """An execution whose rehearsal failed after its first write."""
    lab.script.programs = [lab.programs.write, lab.programs.other_write]
    lab.script.rehearsals = [lab.script.planned(0.1, **INCOMPLETE), None]
    running = await lab.start()
    await running.pending()
    return running


async def test_an_incomplete_plan_is_asked_about_and_approve_is_not_offered(
    incomplete: Any,
) -> None:
    pending = await incomplete.pending()
    metadata = await incomplete.metadata()
    offered = {signal.name for signal in metadata.definition.signal_definitions}

    assert f"reject-{pending.revision}" in offered
    assert f"revise-{pending.revision}" in offered
    assert f"approve-{pending.revision}" not in offered
    assert "LinAlgError" in metadata.current_details


@pytest.mark.parametrize("way", ["signal", "sha256", "named", "update"])
async def test_an_incomplete_plan_can_t_be_approved(lab: Any, incomplete: Any, way: str) -> None:
    pending = await incomplete.pending()
    yes = {"decision": "approve", "sha256": pending.sha256}
    if way == "update":
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await incomplete.handle.execute_update("decide", yes)
        error = unwrap(failed.value)
        assert isinstance(error, DecisionRefusedError)
        assert "LinAlgError" in error.reason
    elif way == "named":
        await incomplete.signal(f"approve-{pending.revision}")
    else:
        await incomplete.signal("approve", *([yes] if way == "sha256" else []))
    # Behind it in the same queue, so that it was heard when this one counts.
    await incomplete.signal("reject")
    await incomplete.failure()

    assert lab.script.tasks("apply") == []
    decisions = (await incomplete.state()).decisions
    assert [record.verb for record in decisions if record.accepted] == ["reject"]
    assert len(decisions) == 2


async def test_an_incomplete_plan_can_be_sent_back(lab: Any, incomplete: Any) -> None:
    first = await incomplete.pending()
    await incomplete.signal("revise", {"comment": "declare your envelope", "sha256": first.sha256})
    second = await incomplete.until_number(2)
    await incomplete.signal(f"approve-{second.revision}")
    result = await incomplete.result()

    assert result.generated_code == lab.programs.other_write
    [wish] = lab.script.tasks("generate")[1].errors
    assert "declare your envelope" in wish.error_message


LONG = timedelta(minutes=16)


async def test_a_plan_that_is_old_and_still_stands_is_applied_as_the_revision_that_it_is(
    lab: Any,
) -> None:
    lab.script.programs = [lab.programs.write]
    lab.script.rehearsals = [None, lab.script.planned(0.105, live=0.005)]
    running = await lab.start()
    pending = await running.pending()
    await running.sleep(LONG)
    await running.signal("approve", {"operator": "jd"})
    result = await running.result()

    [applied] = lab.script.tasks("apply")
    assert applied.permit.revision == pending.binds
    assert result.plan == pending.plan
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.plan == pending.plan
    assert len(lab.script.tasks("rehearse")) == 2
    assert len(lab.script.tasks("draft")) == 1
    rehearsed = [c for c in (await running.state()).stages if c.stage is Stage.REHEARSING]
    assert [change.note for change in rehearsed] == ["", "the plan has waited for long"]


async def test_a_plan_that_is_not_old_is_not_rehearsed_again(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    running = await lab.start()
    await running.pending()
    await running.sleep(timedelta(minutes=14))
    await running.signal("approve")
    await running.result()

    assert len(lab.script.tasks("rehearse")) == 1


async def test_how_old_a_plan_may_be_is_the_deployment_s_to_say(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    lab.script.deployment = {"plan_max_age": 60.0}
    running = await lab.start()
    await running.pending()
    await running.sleep(timedelta(minutes=2))
    await running.signal("approve")
    await running.result()

    assert len(lab.script.tasks("rehearse")) == 2


async def test_a_plan_that_is_old_and_changed_is_asked_about_anew(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    lab.script.rehearsals = [None, lab.script.planned(0.1, live=0.05)]
    running = await lab.start()
    first = await running.pending()
    await running.sleep(LONG)
    await running.signal("approve", {"operator": "jd"})
    second = await running.until_number(2)

    assert second.code == first.code
    assert second.changed != []
    assert any("0.05" in line for line in second.changed)
    assert lab.script.tasks("apply") == []
    assert len(lab.script.tasks("generate")) == 1
    await running.signal("approve")  # is no answer to a second revision
    await running.signal(f"approve-{second.revision}")
    result = await running.result()
    [applied] = lab.script.tasks("apply")
    assert applied.permit.revision.sha256 == second.sha256
    assert [record.accepted for record in result.decisions] == [True, False, True]


async def test_a_program_that_fails_in_its_second_rehearsal_is_not_applied(lab: Any) -> None:
    lab.script.programs = [lab.programs.write, lab.programs.read]
    lab.script.rehearsals = [None, CodeRuntimeError("division by zero", "Traceback: …", 1)]
    running = await lab.start()
    await running.pending()
    await running.sleep(LONG)
    await running.signal("approve")
    result = await running.result()

    assert result.generated_code == lab.programs.read
    assert lab.script.tasks("apply") == []


async def test_a_machine_that_never_stands_still_is_not_asked_about_for_ever(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    lab.script.deployment = {"plan_max_age": 0.0}
    plans = [lab.script.planned(0.1, live=round(0.02 * n, 2)) for n in range(50)]
    lab.script.rehearsals = plans
    running = await lab.start()
    for number in range(1, 21):
        pending = await running.until_number(number)
        await running.signal(f"approve-{pending.revision}")
    error = await running.failure()

    assert isinstance(error, WorkflowError)
    assert "20 plans of this code did not last" in error.message
    assert "SR:HCM1:SP" in error.message
    assert lab.script.tasks("apply") == []


async def test_a_condition_that_does_not_hold_is_a_warning(lab: Any) -> None:
    shutter = MachineState(channel="SR:SHUTTER", op="==", value=1, reads="0", holds=False)
    lab.script.programs = [lab.programs.write]
    lab.script.rehearsals = [lab.script.planned(0.1, machine=[shutter])]
    running = await lab.start()
    await running.pending()

    page = (await running.metadata()).current_details
    assert "SR:SHUTTER" in page
