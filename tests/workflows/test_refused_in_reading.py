"""Code that is taken for reading and writes all the same: the gate decides, a person is asked."""

from typing import Any

import pytest

from runpermit.errors import (
    ChannelLimitsViolationError,
    ContainerConfigurationError,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.models import ExecutionMode, PlanKind, Stage

REASON = "this run is read_only, in which nothing may be written"


def refusal(channel: str = "SR:HCM1:SP", value: Any = 0.1) -> ChannelLimitsViolationError:
    return ChannelLimitsViolationError(channel, value, "NOT_ALLOWED", REASON)


@pytest.fixture
def refused(lab: Any) -> Any:
    """The gate refuses a write of the read-only run, and takes it in the next."""
    lab.script.runs = [refusal()]
    lab.script.applies = [{"applied": True}]
    return lab


async def test_the_same_code_is_asked_about_and_applied_without_using_an_attempt(
    refused: Any,
) -> None:
    running = await refused.start(retries=1)
    pending = await running.pending()

    assert pending.code == refused.programs.read
    assert pending.execution_mode is ExecutionMode.WRITE_ACCESS
    assert pending.plan.kind is PlanKind.REFUSED_READ_ONLY
    [write] = pending.plan.writes
    assert (write.channel, write.value, write.value_known, write.line) == (
        "SR:HCM1:SP", 0.1, True, None,
    )  # fmt: skip
    assert (write.min_value, write.max_value, write.units) == (-1, 1, "A")
    await running.signal(f"approve-{pending.revision}")
    result = await running.result()

    assert result.execution_result.results == {"applied": True}
    assert result.generation_attempt == 1
    assert result.plan == pending.plan
    assert [task.attempt for task in refused.script.tasks("execute", "apply")] == [1, 1]
    [applied] = refused.script.tasks("apply")
    assert applied.approved.sha256 == pending.sha256
    assert len(refused.script.tasks("generate")) == 1


async def test_state_and_question_say_why_it_is_asked(refused: Any) -> None:
    running = await refused.start()
    pending = await running.pending()
    state = await running.state()

    why = "The gate refused a write to SR:HCM1:SP = 0.1 in the read-only run"
    assert [change.stage for change in state.stages if why in change.note] == [Stage.ANALYSING]
    assert any(why in warning and "More writes may follow" in warning
               for warning in pending.warnings)  # fmt: skip
    assert not any("Nothing was rehearsed" in warning for warning in pending.warnings)
    assert state.error_chain == []
    assert state.execution_failed is None
    assert state.analysis_result.execution_mode is ExecutionMode.WRITE_ACCESS


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
    assert applied.approved.number == 2
    assert [record.accepted for record in result.decisions] == [True, False, True]


async def test_where_writes_are_disabled_it_ends_naming_the_setting(refused: Any) -> None:
    refused.script.writes_enabled = False
    error = await (await refused.start(retries=5)).failure()

    assert isinstance(error, ContainerConfigurationError)
    assert "control_system.writes_enabled" in error.message
    assert len(refused.script.tasks("execute")) == 1
    assert refused.script.tasks("apply", "draft") == []


async def test_without_a_sandbox_it_ends_naming_the_setting(refused: Any) -> None:
    refused.script.deployment = {"isolation": "none"}
    error = await (await refused.start()).failure()

    assert isinstance(error, ContainerConfigurationError)
    assert "kernels.isolation" in error.message
    assert refused.script.tasks("apply", "draft") == []


async def test_a_refused_write_beyond_the_limits_goes_back_to_the_model(lab: Any) -> None:
    lab.script.programs = [lab.programs.read, lab.programs.other_read]
    lab.script.runs = [refusal(value=7), {"orbit": 0.1}]
    result = await (await lab.start()).result()

    assert result.generated_code == lab.programs.other_read
    [told] = lab.script.tasks("generate")[1].errors
    assert "SR:HCM1:SP" in told.error_message
    assert "MAX_EXCEEDED" in told.error_message
    assert lab.script.tasks("draft", "apply") == []


async def test_a_refusal_while_it_applies_is_terminal_and_keeps_its_class(lab: Any) -> None:
    beyond = ChannelLimitsViolationError(
        "SR:HCM1:SP", 0.9, "MAX_STEP_EXCEEDED", "0.8 in one step", -1, 1, 0.5, 0.1
    )
    beyond.technical_details = {"forwarded": 2, "writes": ["SR:HCM1:SP: 0 → 0.1, confirmed"]}
    lab.script.runs, lab.script.applies = [refusal()], [beyond]
    running = await lab.start(retries=5)
    await running.pending()
    await running.signal("approve")
    error = await running.failure()

    assert isinstance(error, ChannelLimitsViolationError)
    assert (error.channel_address, error.attempted_value, error.violation_type) == (
        "SR:HCM1:SP", 0.9, "MAX_STEP_EXCEEDED",
    )  # fmt: skip
    assert (error.min_value, error.max_value, error.max_step, error.current_value) == (
        -1, 1, 0.5, 0.1,
    )  # fmt: skip
    assert "Writes forwarded: 2" in error.message
    assert error.technical_details["forwarded"] == 2
    assert len(lab.script.tasks("apply")) == 1
    assert len(lab.script.tasks("generate")) == 1


async def test_a_gate_lost_while_reading_is_met_with_the_same_run_again(lab: Any) -> None:
    lab.script.runs = [ServiceUnavailableError("the gate was lost", "gate"), {"current": 1}]
    result = await (await lab.start(retries=1)).result()

    assert result.execution_result.results == {"current": 1}
    assert len(lab.script.tasks("execute")) == 2


async def test_a_gate_lost_while_applying_is_never_repeated(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    lab.script.applies = [ServiceUnavailableError("the gate was lost", "gate"), {"done": True}]
    running = await lab.start()
    await running.pending()
    await running.signal("approve")
    error = await running.failure()

    assert isinstance(error, WorkflowError)
    assert error.stage == Stage.APPLYING
    assert "look at the machine" in error.message
    assert "the gate was lost" in error.message
    assert isinstance(error.original_exception, ServiceUnavailableError)
    assert len(lab.script.tasks("apply")) == 1
