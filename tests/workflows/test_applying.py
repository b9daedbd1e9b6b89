"""Apply: at most once, whatever becomes of it, and told by the gate's journal alone."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeRuntimeError,
    ContainerConfigurationError,
    ExecutionTimeoutError,
    PlanOutdatedError,
    PythonExecutorException,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.models import (
    FollowOutcome,
    PlanKind,
    PythonExecutionSuccess,
    Stage,
    Verdict,
    VerifiedChannel,
)
from runpermit.models.permit import Yes, permit_id
from workflows.steps import Timeouts, Verified

OUTAGE = ServiceUnavailableError("the gate was lost", "gate")
NOTHING = [Verdict.NOT_OPENED, Verdict.NOTHING_FORWARDED]
UNTOUCHED = "Nothing was written to the machine"
AS_BEFORE = "All channels read as before"
# What a person at a keyboard, or a machine that moved, brings about: nothing was written.
ASKED_AGAIN: list[PythonExecutorException] = [
    PlanOutdatedError("not run", ["input files changed since the last revision"]),
    ChannelLimitsViolationError("SR:HCM1:SP", 0.1, "OUTSIDE_PLAN", "it reads 0.5, was 0.0"),
]


def completed(lab: Any, results: dict[str, Any] | None = None) -> Any:
    """The verdict on an apply that came to its end, whatever Temporal was told of it."""

    async def answer(_task: Any) -> Any:
        applied = lab.script.tasks("apply")[-1]
        executed = lab.script.executed(applied, results or {"found": True})
        return lab.script.told(Verdict.COMPLETED, executed=executed)

    return answer


async def test_what_was_approved_is_applied_with_a_permit_that_a_reset_does_not_change(
    lab: Any,
) -> None:
    lab.script.programs = [lab.programs.write]
    running = await lab.start(guards=[{"channel": "SR:VAC:OK", "op": "==", "value": 1}])
    pending = await running.pending()
    await running.signal("approve", {"operator": "jd"})
    await running.result()

    [applied] = lab.script.tasks("apply")
    permit = applied.permit
    assert permit.revision == pending.binds
    assert (permit.issue, permit.approvals) == (1, [Yes(operator="jd")])
    assert pending.asked_at < permit.decided_at
    assert [guard.channel for guard in applied.guards] == ["SR:VAC:OK"]
    first_run = running.handle.first_execution_run_id
    assert permit.id == permit_id(running.handle.id, first_run, pending.sha256, 1)
    [settled], [verified] = lab.script.tasks("settle"), lab.script.tasks("verify")
    assert settled.permit == verified.permit == permit.id
    assert settled.execution == verified.execution == running.handle.id


async def test_what_was_written_is_told_by_the_journal_and_what_followed_by_the_devices(
    lab: Any,
) -> None:
    result = await (await lab.approved()).result()

    assert result.writes.forwarded == 1
    assert [record.channel for record in result.writes.writes] == ["SR:HCM1:SP"]
    assert [channel.outcome for channel in result.verified] == [FollowOutcome.FOLLOWED]
    assert result.restore is None
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.wrote
    assert conclusion.verdict is Verdict.COMPLETED
    assert conclusion.writes == result.writes
    assert conclusion.verified == result.verified
    assert conclusion.changes == []


async def test_a_device_that_did_not_follow_is_a_warning(lab: Any) -> None:
    stuck = VerifiedChannel(
        channel="SR:HCM1:SP",
        written=0.1,
        reads=0.1,
        accepted=True,
        device="SR:HCM1:RB",
        expected=0.1,
        device_reads=0.0,
        outcome=FollowOutcome.NOT_FOLLOWED,
    )
    lab.script.verifications = [Verified(channels=[stuck])]
    result = await (await lab.approved()).result()

    assert result.verified == [stuck]
    assert any("SR:HCM1:RB did not follow" in line for line in result.analysis_warnings)


async def test_what_can_t_be_verified_is_a_warning_and_takes_no_result_away(lab: Any) -> None:
    lab.script.verifications = [WorkflowError("the records are gone", "verifying")]
    running = await lab.approved()
    result = await running.result()

    assert result.execution_result.results == {"done": True}
    assert result.verified == []
    assert any("could not be verified: the records are gone" in w for w in result.analysis_warnings)
    assert (await running.stages())[-2:] == [Stage.VERIFYING, Stage.SUCCEEDED]


@pytest.mark.parametrize("verdict", NOTHING)
async def test_an_outage_that_provably_wrote_nothing_is_met_with_one_more_permit(
    lab: Any, verdict: Verdict
) -> None:
    lab.script.applies = [OUTAGE, {"done": "at last"}]
    lab.script.verdicts = [lab.script.told(verdict), None]
    running = await lab.approved()
    result = await running.result()

    first, second = lab.script.tasks("apply")
    assert [task.permit.issue for task in (first, second)] == [1, 2]
    assert first.permit.revision == second.permit.revision
    assert first.permit.id != second.permit.id
    settled = [task.permit for task in lab.script.tasks("settle")]
    assert settled == [first.permit.id, second.permit.id]
    assert result.execution_result.results == {"done": "at last"}
    assert result.generation_attempt == 1


async def test_there_is_never_a_third_permit(lab: Any) -> None:
    lab.script.applies = [OUTAGE]
    running = await lab.approved(retries=5)
    error = await running.failure()

    assert isinstance(error, ServiceUnavailableError)
    assert error.message == "the gate was lost"
    assert error.technical_details["verdict"] == "nothing_forwarded"
    assert [task.permit.issue for task in lab.script.tasks("apply")] == [1, 2]
    assert len(lab.script.tasks("generate")) == 1
    [conclusion] = lab.script.tasks("conclude")
    assert not conclusion.wrote


@pytest.mark.parametrize("failure", ASKED_AGAIN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("verdict", NOTHING)
async def test_what_is_no_longer_as_approved_is_rehearsed_and_asked_about_anew(
    lab: Any, failure: Exception, verdict: Verdict
) -> None:
    lab.script.applies = [failure, {"done": True}]
    lab.script.verdicts = [lab.script.told(verdict), None]
    running = await lab.approved(retries=1)
    second = await running.until_number(2)

    assert len(second.changed) == 1
    assert len(lab.script.tasks("rehearse")) == 2
    await running.signal(f"approve-{second.revision}")
    result = await running.result()
    assert [task.permit.revision.number for task in lab.script.tasks("apply")] == [1, 2]
    assert [task.permit.issue for task in lab.script.tasks("apply")] == [1, 1]
    assert result.generation_attempt == 1
    assert len(lab.script.tasks("generate")) == 1


async def test_a_plan_that_became_one_of_reading_tells_nothing_of_the_apply_before(
    lab: Any,
) -> None:
    lab.script.rehearsals = [None, lab.script.planned()]
    lab.script.runs = [{"only": "read"}]
    lab.script.applies = [ASKED_AGAIN[0]]
    result = await (await lab.approved()).result()

    assert result.execution_result.results == {"only": "read"}
    assert result.writes is result.plan is None
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.verdict is None
    assert not conclusion.wrote


@pytest.mark.parametrize(
    "violation", ["INHIBITED", "CONDITION_FAILED", "NOT_ALLOWED", "LIMITS_UNAVAILABLE"]
)
async def test_where_the_machine_takes_no_write_no_program_is_tried_and_none_is_asked_about(
    lab: Any, violation: str
) -> None:
    lab.script.applies = [
        ChannelLimitsViolationError("SR:HCM1:SP", 0.1, violation, "inhibited by jd")
    ]
    running = await lab.approved(retries=5)
    error = await running.failure()

    assert isinstance(error, WorkflowError)
    assert error.message == "Nothing was written. SR:HCM1:SP: inhibited by jd."
    assert len(lab.script.tasks("generate")) == 1
    assert len(lab.script.tasks("rehearse")) == 1
    assert len(lab.script.tasks("apply")) == 1
    assert (await running.state()).error_chain == []


async def test_a_program_that_failed_before_its_first_write_gets_a_next_attempt(lab: Any) -> None:
    lab.script.applies = [CodeRuntimeError("division by zero", "Traceback: …", 1)]
    lab.script.programs = [lab.programs.write, lab.programs.read]
    running = await lab.start()
    await running.pending()
    await running.signal("approve")
    result = await running.result()

    assert result.generation_attempt == 2
    [told] = lab.script.tasks("generate")[1].errors
    assert told.stage == Stage.APPLYING


FAILURES = {
    CodeRuntimeError: CodeRuntimeError("division by zero", "Traceback: …", 1),
    ChannelLimitsViolationError: ChannelLimitsViolationError(
        "SR:HCM1:SP", 0.9, "MAX_STEP_EXCEEDED", "0.8 in one step", -1, 1, 0.5, 0.1
    ),
    ExecutionTimeoutError: ExecutionTimeoutError(600),
    ServiceUnavailableError: OUTAGE,
    PlanOutdatedError: ASKED_AGAIN[0],
    ContainerConfigurationError: ContainerConfigurationError("the disk is read-only"),
    ValueError: ValueError("nobody foresaw this"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_after_a_write_there_is_no_next_attempt_whatever_the_error(
    lab: Any, failure: type[Exception]
) -> None:
    lab.script.applies = [FAILURES[failure], {"done": True}]
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, lab.script.changed(), forwarded=2)]
    running = await lab.approved(retries=5, restore="never")
    error = await running.failure()

    kept = failure in {CodeRuntimeError, ChannelLimitsViolationError, ExecutionTimeoutError}
    assert type(error) is (failure if kept else WorkflowError)
    assert "look at the machine. Writes forwarded: 2." in error.message
    details = error.technical_details
    assert details["verdict"] == "partial"
    assert details["forwarded"] == 2
    assert details["writes"] == ["SR:HCM1:SP: 0.0 → 0.1, confirmed"] * 2
    assert details["left_changed"] == ["SR:HCM1:SP: was 0.0, set to 0.1, reads 0.1"]
    for step in ("generate", "rehearse", "draft", "apply", "settle", "conclude"):
        assert len(lab.script.tasks(step)) == 1, step
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.wrote
    assert conclusion.writes.forwarded == 2
    assert conclusion.changes == [lab.script.changed()]


async def test_a_violation_that_came_after_a_write_keeps_its_fields(lab: Any) -> None:
    lab.script.applies = [FAILURES[ChannelLimitsViolationError]]
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL)]
    error = await (await lab.approved()).failure()

    assert (error.channel_address, error.attempted_value, error.violation_type) == (
        "SR:HCM1:SP", 0.9, "MAX_STEP_EXCEEDED",
    )  # fmt: skip
    assert (error.min_value, error.max_value, error.max_step, error.current_value) == (
        -1, 1, 0.5, 0.1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "said", "shown"),
    [
        (Verdict.PARTIAL, "did not come to its end", AS_BEFORE),
        (Verdict.NOTHING_FORWARDED, "completed by somebody else: nothing was written", UNTOUCHED),
        (Verdict.NOT_OPENED, "completed by somebody else: nothing was written", UNTOUCHED),
        (Verdict.COMPLETED, "What else came of it was lost", AS_BEFORE),
        (Verdict.UNKNOWN, "Nobody could ask the gate's journal", "Nobody can tell what of this"),
    ],
)
async def test_an_apply_that_says_it_is_done_is_not_believed(
    lab: Any, verdict: Verdict, said: str, shown: str
) -> None:
    lab.script.applies = [{"done": True}]
    lab.script.verdicts = [lab.script.told(verdict)]
    running = await lab.approved(retries=5)
    error = await running.failure()

    assert isinstance(error, WorkflowError)
    assert said in error.message
    assert shown in (await running.metadata()).current_details
    assert len(lab.script.tasks("apply")) == 1
    assert len(lab.script.tasks("generate")) == 1


async def test_an_apply_that_is_completed_by_hand_is_not_believed(lab: Any) -> None:
    held = lab.hold(deaf=True, answer={"done": True})
    lab.script.applies = [held]
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, forwarded=1)]
    running = await lab.approved()
    await asyncio.wait_for(held.entered.wait(), 5)
    number = await scheduled(running, "apply")
    handle = lab.client.get_async_activity_handle(
        workflow_id=running.handle.id,
        run_id=running.handle.first_execution_run_id,
        activity_id=number,
    )
    await handle.complete(None)
    error = await running.failure()
    held.open.set()

    assert isinstance(error, WorkflowError)
    assert error.technical_details["verdict"] == "partial"
    assert len(lab.script.tasks("apply")) == 1


async def scheduled(running: Any, name: str) -> str:
    """The id of the activity of that name."""
    history = await running.handle.fetch_history()
    [number] = [
        event.activity_task_scheduled_event_attributes.activity_id
        for event in history.events
        if event.activity_task_scheduled_event_attributes.activity_type.name == name
    ]
    return str(number)


async def test_an_apply_that_completed_is_a_success_though_nobody_heard_of_it(lab: Any) -> None:
    lost = lab.hold(deaf=True)
    lab.script.applies = [lost]
    lab.script.verdicts = [completed(lab)]
    lab.script.deployment = {"timeouts": Timeouts(heartbeat=0.3)}
    running = await lab.approved()
    result = await running.result()
    lost.open.set()

    assert result.execution_result.results == {"found": True}
    assert isinstance(result.execution_result, PythonExecutionSuccess)
    assert len(lab.script.tasks("apply")) == 1
    assert len(result.verified) == 1
    assert (await running.state()).execution_failed is False


async def test_a_worker_that_was_lost_is_settled_and_never_simply_repeated(lab: Any) -> None:
    lost = lab.hold(deaf=True)
    lab.script.applies = [lost]
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, forwarded=1)]
    lab.script.deployment = {"timeouts": Timeouts(heartbeat=0.3)}
    running = await lab.approved()
    error = await running.failure()
    lost.open.set()

    assert isinstance(error, WorkflowError)
    assert error.stage == Stage.APPLYING
    assert "look at the machine" in error.message
    assert isinstance(error.original_exception, ServiceUnavailableError)
    assert len(lab.script.tasks("apply")) == 1


async def test_a_gate_that_is_silent_after_an_apply_is_asked_until_it_answers(lab: Any) -> None:
    lab.script.applies = [OUTAGE]
    lab.script.verdicts = [OUTAGE, OUTAGE, completed(lab)]
    running = await lab.approved()

    assert (await running.result()).execution_result.results == {"found": True}
    assert len(lab.script.tasks("settle")) == 3
    assert len({task.permit for task in lab.script.tasks("settle")}) == 1
    assert Stage.HOST_UNREACHABLE not in await running.stages()


async def test_a_gate_that_takes_its_time_is_no_silent_host(lab: Any) -> None:
    lab.script.applies = [OUTAGE]
    lab.script.verdicts = [OUTAGE] * 7 + [completed(lab)]  # two minutes
    running = await lab.approved()
    await running.result()

    assert Stage.HOST_UNREACHABLE not in await running.stages()
    assert len(lab.script.tasks("reach")) >= 2


async def test_a_gate_that_answers_and_never_tells_is_shown_all_the_same(lab: Any) -> None:
    lab.script.applies = [OUTAGE]
    lab.script.verdicts = [OUTAGE]
    running = await lab.approved()
    error = await running.failure()

    assert error.technical_details["verdict"] == "unknown"
    assert Stage.HOST_UNREACHABLE in await running.stages()
    assert len(lab.script.tasks("reach")) == 10


@pytest.fixture
async def silent(lab: Any) -> Any:
    """An execution whose host says nothing of what it wrote."""
    lab.script.applies = [OUTAGE]
    lab.script.verdicts = lab.script.reaches = [OUTAGE]
    running = await lab.approved(retries=5)
    await running.sleep(timedelta(seconds=40))
    return running


async def test_a_host_that_says_nothing_is_shown_as_unreachable(silent: Any) -> None:
    state = await silent.until(Stage.HOST_UNREACHABLE)

    assert "testhost does not tell what was written" in state.stages[-1].note
    memo = await silent.memo()
    assert (memo.stage, memo.state_unknown) == (Stage.HOST_UNREACHABLE, True)
    assert memo.asked_at is not None
    details = (await silent.metadata()).current_details
    assert "Look at the machine" in details
    assert "It was to write" in details
    assert "ends it only once the host tells" in details
    assert "SR:HCM1:SP  0 → 0.1 A" in details


async def test_a_host_that_says_nothing_for_an_hour_ends_it_as_unknown(
    lab: Any, silent: Any
) -> None:
    error = await silent.failure()

    assert isinstance(error, WorkflowError)
    assert error.technical_details["verdict"] == "unknown"
    assert "forwarded" not in error.technical_details
    assert "Nobody could ask the gate's journal" in error.message
    stages = (await silent.state()).stages
    assert stages[-2].stage is Stage.HOST_UNREACHABLE
    waited = stages[-1].at - stages[-2].at
    assert timedelta(minutes=55) < waited < timedelta(minutes=65)
    assert len(lab.script.tasks("apply")) == 1
    assert len(lab.script.tasks("generate")) == 1
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.wrote
    assert conclusion.verdict is Verdict.UNKNOWN
    assert conclusion.plan.kind is PlanKind.COMPLETE
    memo = await silent.memo()
    assert (memo.stage, memo.state_unknown) == (Stage.FAILED, True)
    assert memo.question == "MACHINE STATE UNKNOWN: host testhost, 1 channel: SR:HCM1:SP"


async def test_a_cancel_of_a_host_that_says_nothing_ends_it_as_unknown(
    lab: Any, silent: Any
) -> None:
    await silent.until(Stage.HOST_UNREACHABLE)
    await silent.handle.cancel()

    assert isinstance(await silent.cause(), CancelledError)
    memo = await silent.memo()
    assert (memo.stage, memo.state_unknown) == (Stage.STOPPED, True)
    assert memo.question == "MACHINE STATE UNKNOWN: host testhost, 1 channel: SR:HCM1:SP"
    details = (await silent.metadata()).current_details
    assert "Nobody can tell what of this was written" in details
    assert len(lab.script.tasks("apply")) == 1


async def test_how_long_a_verdict_is_waited_for_is_the_deployment_s_to_say(lab: Any) -> None:
    lab.script.applies = [OUTAGE]
    lab.script.verdicts = lab.script.reaches = [OUTAGE]
    lab.script.deployment = {"timeouts": Timeouts(verdict=600)}
    running = await lab.approved()
    await running.failure()
    stages = (await running.state()).stages

    # The last try that still fits into it.
    assert timedelta(seconds=530) < stages[-1].at - stages[-3].at < timedelta(seconds=605)


async def test_a_host_that_comes_back_tells_what_was_written(lab: Any, silent: Any) -> None:
    await silent.until(Stage.HOST_UNREACHABLE)
    lab.script.verdicts = [completed(lab)]
    result = await silent.result()

    assert result.execution_result.results == {"found": True}
    assert (await silent.stages())[-3:] == [
        Stage.HOST_UNREACHABLE,
        Stage.VERIFYING,
        Stage.SUCCEEDED,
    ]
    memo = await silent.memo()
    assert (memo.question, memo.state_unknown) == ("", False)


async def test_a_stop_of_a_silent_host_waits_for_its_word(lab: Any, silent: Any) -> None:
    await silent.until(Stage.HOST_UNREACHABLE)
    await silent.signal("stop", {"operator": "jd"})
    await asyncio.sleep(0.1)
    assert (await silent.state()).current_stage is Stage.HOST_UNREACHABLE
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL)]
    error = await silent.failure()

    assert isinstance(error, WorkflowError)
    assert error.stage == Stage.STOPPED
    assert error.technical_details["verdict"] == "partial"


async def test_a_verdict_that_fails_otherwise_is_unknown_at_once(lab: Any) -> None:
    lab.script.applies = [OUTAGE]
    lab.script.verdicts = [ValueError("nobody foresaw this")]
    running = await lab.approved()
    error = await running.failure()

    assert error.technical_details["verdict"] == "unknown"
    assert len(lab.script.tasks("settle")) == 1


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_a_stop_while_it_applies_is_settled_and_tells_what_was_written(
    lab: Any, way: str
) -> None:
    held = lab.hold()
    lab.script.applies = [held]
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, lab.script.changed(), forwarded=3)]
    running = await lab.approved(restore="never")
    await asyncio.wait_for(held.entered.wait(), 5)
    if way == "stop":
        await running.signal("stop", {"operator": "jd", "comment": "beam lost"})
        error = await running.failure()
        assert isinstance(error, WorkflowError)
        assert error.stage == Stage.STOPPED
        assert error.message.startswith("Stopped by jd: beam lost.")
        assert error.technical_details["forwarded"] == 3
    else:
        await running.handle.cancel()
        await running.cause()
    state = await running.state()

    assert state.current_stage is Stage.STOPPED
    assert "Writes forwarded: 3." in state.failure_reason
    assert len(lab.script.tasks("settle")) == 1
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.wrote
    assert conclusion.stage == Stage.STOPPED


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_a_stop_that_meets_the_end_of_an_apply_tells_what_it_wrote(
    lab: Any, way: str
) -> None:
    held = lab.hold(deaf=True, answer={"done": True})
    lab.script.applies = [held]
    running = await lab.approved(restore="never")
    await asyncio.wait_for(held.entered.wait(), 5)
    await (running.signal("stop") if way == "stop" else running.handle.cancel())
    await asyncio.sleep(0.2)
    held.open.set()
    with pytest.raises(WorkflowFailureError):
        await running.result()
    state = await running.state()

    assert state.current_stage is Stage.STOPPED
    assert "It wrote all that it was to write. Writes forwarded: 1." in state.failure_reason
    assert lab.script.tasks("verify") == []
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.wrote
    assert conclusion.verdict is Verdict.COMPLETED


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_a_stop_while_it_is_settled_ends_it_once_it_is_known_what_was_written(
    lab: Any, way: str
) -> None:
    held = lab.hold(deaf=True)
    lab.script.verdicts = [held]
    running = await lab.approved(restore="never")
    await asyncio.wait_for(held.entered.wait(), 5)
    await (running.signal("stop") if way == "stop" else running.handle.cancel())
    await asyncio.sleep(0.2)
    assert not (await running.state()).current_stage.is_final
    held.open.set()
    with pytest.raises(WorkflowFailureError):
        await running.result()

    assert (await running.state()).current_stage is Stage.STOPPED
    assert len(lab.script.tasks("settle")) == 1
    assert lab.script.tasks("verify") == []
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.verdict is Verdict.COMPLETED


async def test_a_stop_with_nothing_written_ends_as_any_other(lab: Any) -> None:
    held = lab.hold()
    lab.script.applies = [held]
    running = await lab.approved()
    await asyncio.wait_for(held.entered.wait(), 5)
    await running.signal("stop", {"operator": "jd"})
    error = await running.failure()

    assert error.message == "Stopped by jd: no reason was given."
    assert error.technical_details["verdict"] == "nothing_forwarded"
    [conclusion] = lab.script.tasks("conclude")
    assert not conclusion.wrote


@pytest.mark.parametrize("said", ["done", {}, [], 5])
async def test_a_verdict_that_somebody_made_up_by_hand_is_none(lab: Any, said: Any) -> None:
    lab.script.verdicts = [said or {"verdict": "fine"}]
    running = await lab.approved()
    error = await running.failure()

    assert error.technical_details["verdict"] == Verdict.UNKNOWN
    assert error.technical_details["planned"] == ["SR:HCM1:SP"]
    assert "completed by hand" in error.message
    assert await running.failed_tasks() == 0


async def test_a_verification_that_somebody_made_up_by_hand_is_a_warning(lab: Any) -> None:
    lab.script.verifications = ["done"]
    running = await lab.approved()
    warnings = (await running.result()).analysis_warnings

    assert any("completed by hand" in warning for warning in warnings)
    assert await running.failed_tasks() == 0


async def test_where_all_was_written_and_its_results_are_lost_the_devices_are_looked_at(
    lab: Any,
) -> None:
    lab.script.applies = [OUTAGE]
    lab.script.verdicts = [lab.script.told(Verdict.COMPLETED, forwarded=1)]
    error = await (await lab.approved()).failure()

    assert error.technical_details["verdict"] == Verdict.COMPLETED
    assert len(lab.script.tasks("verify")) == 1
    [conclusion] = lab.script.tasks("conclude")
    assert len(conclusion.verified) == 1
