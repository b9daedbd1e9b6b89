"""Code taken for reading that writes all the same: it is rehearsed, and a person is asked."""

from typing import Any

import pytest

from runpermit.errors import (
    ChannelLimitsViolationError,
    ContainerConfigurationError,
    ServiceUnavailableError,
)
from runpermit.models import ExecutionMode, PlanKind, Stage

REASON = "this run is read_only, in which nothing may be written"
WHY = "The gate refused a write to SR:HCM1:SP = 0.1 in the read-only run"


def refusal(channel: str = "SR:HCM1:SP", value: Any = 0.1) -> ChannelLimitsViolationError:
    return ChannelLimitsViolationError(channel, value, "NOT_ALLOWED", REASON)


@pytest.fixture
def refused(lab: Any) -> Any:
    """The gate refuses a write of the read-only run, and takes it in the next."""
    lab.script.runs = [refusal()]
    lab.script.applies = [{"applied": True}]
    return lab


async def test_the_same_code_is_rehearsed_asked_about_and_applied_without_using_an_attempt(
    refused: Any,
) -> None:
    running = await refused.start(retries=1)
    pending = await running.pending()

    assert pending.code == refused.programs.read
    assert pending.execution_mode is ExecutionMode.WRITE_ACCESS
    assert pending.plan.kind is PlanKind.COMPLETE
    await running.signal(f"approve-{pending.revision}")
    result = await running.result()

    assert result.execution_result.results == {"applied": True}
    assert result.generation_attempt == 1
    assert result.plan == pending.plan
    assert result.writes.forwarded == 1
    steps = refused.script.tasks("execute", "rehearse", "apply")
    assert [task.attempt for task in steps] == [1, 1, 1]
    assert {task.code for task in steps} == {refused.programs.read}
    assert steps[-1].permit.revision.sha256 == pending.sha256
    assert len(refused.script.tasks("generate")) == 1
    assert (await running.stages())[2:] == [
        Stage.ANALYSING,
        Stage.EXECUTING,
        Stage.REHEARSING,
        Stage.AWAITING_APPROVAL,
        Stage.APPLYING,
        Stage.VERIFYING,
        Stage.SUCCEEDED,
    ]


async def test_state_and_question_say_why_it_is_asked(refused: Any) -> None:
    running = await refused.start()
    pending = await running.pending()
    state = await running.state()

    assert [change.stage for change in state.stages if WHY in change.note] == [Stage.REHEARSING]
    [why] = pending.changed
    assert WHY in why
    assert state.error_chain == []


async def test_given_code_takes_the_same_way(refused: Any) -> None:
    running = await refused.start(approved_code=refused.programs.other_read)
    pending = await running.pending()
    await running.signal("approve", {"sha256": pending.sha256})

    assert (await running.result()).generated_code == refused.programs.other_read
    assert refused.script.tasks("generate") == []


async def test_where_all_code_is_approved_it_is_asked_again_as_a_new_revision(
    refused: Any,
) -> None:
    refused.script.deployment = {"approval_mode": "all_code"}
    running = await refused.start()
    first = await running.pending()
    assert first.execution_mode is ExecutionMode.READ_ONLY
    await running.signal(f"approve-{first.revision}")
    second = await running.until_number(2)

    assert second.code == first.code
    assert second.sha256 != first.sha256
    assert second.execution_mode is ExecutionMode.WRITE_ACCESS
    await running.signal("approve")  # is no answer to a second revision
    await running.signal(f"approve-{second.revision}")
    result = await running.result()
    [applied] = refused.script.tasks("apply")
    assert applied.permit.revision.number == 2
    assert [record.accepted for record in result.decisions] == [True, False, True]


async def test_a_write_that_the_rehearsal_does_not_show_goes_back_to_the_model(lab: Any) -> None:
    lab.script.programs = [lab.programs.read, lab.programs.other_read]
    lab.script.runs = [refusal(), refusal(), {"orbit": 0.1}]
    lab.script.rehearsals = [lab.script.planned()]
    result = await (await lab.start(retries=2)).result()

    assert result.generated_code == lab.programs.other_read
    assert result.generation_attempt == 2
    [told] = lab.script.tasks("generate")[1].errors
    assert "When it was rehearsed, the code wrote nothing" in told.error_message
    assert len(lab.script.tasks("rehearse")) == 1
    assert len(lab.script.tasks("execute")) == 3
    assert lab.script.tasks("draft", "apply") == []


async def test_given_code_that_hides_its_writes_from_the_rehearsal_ends_with_the_refusal(
    lab: Any,
) -> None:
    lab.script.runs = [refusal()]
    lab.script.rehearsals = [lab.script.planned()]
    error = await (await lab.start(approved_code=lab.programs.other_read, retries=5)).failure()

    assert isinstance(error, ChannelLimitsViolationError)
    assert "When it was rehearsed, the code wrote nothing" in error.message
    assert len(lab.script.tasks("rehearse")) == 1
    assert len(lab.script.tasks("execute")) == 2


async def test_where_writes_are_disabled_it_ends_naming_the_setting(refused: Any) -> None:
    refused.script.writes_enabled = False
    error = await (await refused.start(retries=5)).failure()

    assert isinstance(error, ContainerConfigurationError)
    assert "control_system.writes_enabled" in error.message
    assert len(refused.script.tasks("execute")) == 1
    assert refused.script.tasks("rehearse", "apply", "draft") == []


async def test_without_a_sandbox_it_ends_naming_the_setting(refused: Any) -> None:
    refused.script.deployment = {"isolation": "none"}
    error = await (await refused.start()).failure()

    assert isinstance(error, ContainerConfigurationError)
    assert "kernels.isolation" in error.message
    assert refused.script.tasks("rehearse", "apply", "draft") == []


async def test_a_refused_write_that_no_limits_allow_goes_back_to_the_model(lab: Any) -> None:
    lab.script.programs = [lab.programs.read, lab.programs.other_read]
    lab.script.runs = [refusal(value=7), {"orbit": 0.1}]
    lab.script.rehearsals = [
        ChannelLimitsViolationError("SR:HCM1:SP", 7, "MAX_EXCEEDED", "at most 1", -1, 1)
    ]
    result = await (await lab.start()).result()

    assert result.generated_code == lab.programs.other_read
    [told] = lab.script.tasks("generate")[1].errors
    assert "SR:HCM1:SP" in told.error_message
    assert "MAX_EXCEEDED" in told.error_message
    assert lab.script.tasks("draft", "apply") == []


async def test_a_gate_lost_while_reading_is_met_with_the_same_run_again(lab: Any) -> None:
    lab.script.runs = [ServiceUnavailableError("the gate was lost", "gate"), {"current": 1}]
    result = await (await lab.start(retries=1)).result()

    assert result.execution_result.results == {"current": 1}
    assert len(lab.script.tasks("execute")) == 2
