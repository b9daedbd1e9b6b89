"""MACHINE LEFT CHANGED: a question that waits, and what is put back where somebody says so."""

import asyncio
import html
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import CancelledError

from runpermit.errors import (
    CodeRuntimeError,
    DecisionRefusedError,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.failures import unwrap
from runpermit.models import (
    DecisionReceipt,
    RestoredChannel,
    RestoreOutcome,
    RestoreReport,
    Stage,
    Verb,
    Verdict,
)
from runpermit.page import restore_page, restore_question
from runpermit.waiting import waits
from workflows.steps import Reached

WAYS = ["plain", "sha256", "named", "update"]
CHANGE = "SR:HCM1:SP: was 0.0, set to 0.1, reads 0.1"


def partly(lab: Any, *changes: Any) -> None:
    """The next apply fails after a write, and leaves `changes`."""
    lab.script.applies = [CodeRuntimeError("division by zero", "Traceback: …", 1)]
    lab.script.verdicts = [
        lab.script.told(Verdict.PARTIAL, *(changes or (lab.script.changed(),)), forwarded=2)
    ]


@pytest.fixture
async def left(lab: Any) -> Any:
    """An execution that failed after a write, and asks what becomes of the machine."""
    partly(lab)
    running = await lab.approved()
    await running.left_changed()
    return running


async def answer(running: Any, verb: str, way: str) -> None:
    pending = await running.left_changed()
    if way == "update":
        receipt = await running.handle.execute_update(
            "decide", {"decision": verb, "operator": "jd"}, result_type=DecisionReceipt
        )
        assert (receipt.accepted, receipt.verb) == (True, verb)
        assert receipt.revision == pending.revision
    elif way == "named":
        await running.signal(f"{verb}-{pending.revision}", {"operator": "jd"})
    elif way == "sha256":
        await running.signal(verb, {"sha256": pending.sha256, "operator": "jd"})
    else:
        await running.signal(verb, {"operator": "jd"})


async def signals(running: Any) -> set[str]:
    return {one.name for one in (await running.metadata()).definition.signal_definitions}


async def test_the_question_tells_what_was_left_and_why_it_ended(left: Any) -> None:
    pending = await left.left_changed()
    state = await left.state()

    assert [str(change) for change in pending.changes] == [CHANGE]
    assert pending.reason.startswith("division by zero")
    assert pending.binds.workflow_id == left.handle.id
    assert state.pending_restore == pending
    assert state.approval_interrupt_data is None


async def test_page_and_memo_say_that_the_machine_was_left_changed(left: Any) -> None:
    pending = await left.left_changed()
    page = html.unescape((await left.metadata()).current_details)
    memo = await left.memo()

    assert page == html.unescape(restore_page(pending))
    assert "MACHINE LEFT CHANGED" in page
    assert f"restore-{pending.revision}" in page
    assert f"leave-{pending.revision}" in page
    assert memo.stage is Stage.AWAITING_RESTORE
    assert memo.question == restore_question(pending)
    assert memo.question.startswith("MACHINE LEFT CHANGED")
    assert memo.first_writes == ["SR:HCM1:SP"]
    assert memo.sha256 == pending.sha256


async def test_the_question_does_not_expire(lab: Any) -> None:
    partly(lab)
    lab.script.deployment = {"question_expiry": 3600.0}
    running = await lab.approved()
    await running.left_changed()
    await running.sleep(timedelta(days=400))

    assert (await running.state()).current_stage is Stage.AWAITING_RESTORE
    await running.signal("restore")
    await running.failure()
    assert len(lab.script.tasks("restore")) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_restore_puts_back_once_and_tells_what_became_of_each_channel(
    lab: Any, left: Any, way: str
) -> None:
    await answer(left, "restore", way)
    error = await left.failure()

    [task] = lab.script.tasks("restore")
    assert (task.execution, task.operator) == (left.handle.id, "jd")
    assert isinstance(error, CodeRuntimeError)
    assert error.technical_details["restored"] == ["SR:HCM1:SP: restored, reads 0.0"]
    assert "left_changed" not in error.technical_details
    assert error.technical_details["forwarded"] == 2
    assert "division by zero. It wrote" in error.message
    page = html.unescape((await left.metadata()).current_details)
    assert "Put back: 1 of 1 channel." in page
    assert "SR:HCM1:SP  reads 0 A" in page
    assert "Left changed" not in page
    [conclusion] = lab.script.tasks("conclude")
    assert [channel.outcome for channel in conclusion.restored.channels] == ["restored"]
    assert conclusion.restored.operator == "jd"
    assert conclusion.changes == []
    assert conclusion.wrote
    assert [record.verb for record in conclusion.decisions] == [Verb.APPROVE, Verb.RESTORE]
    assert (await left.stages())[-3:] == [
        Stage.AWAITING_RESTORE,
        Stage.RESTORING,
        Stage.FAILED,
    ]
    assert await left.failed_tasks() == 0


@pytest.mark.parametrize("way", WAYS)
async def test_leave_leaves_everything_and_says_so(lab: Any, left: Any, way: str) -> None:
    await answer(left, "leave", way)
    error = await left.failure()

    assert isinstance(error, CodeRuntimeError)
    assert lab.script.tasks("restore") == []
    [leave] = lab.script.tasks("leave")
    assert (leave.execution, leave.operator) == (left.handle.id, "jd")
    assert error.technical_details["left_changed"] == [CHANGE]
    assert "restored" not in error.technical_details
    page = html.unescape((await left.metadata()).current_details)
    assert "Left changed: 1 channel." in page
    assert "before 0 A, written 0.1 A" in page
    assert "read 0.1 A at 13:28:02 UTC" in page
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.restored is None
    assert [str(change) for change in conclusion.changes] == [CHANGE]
    assert (await left.stages())[-2:] == [Stage.AWAITING_RESTORE, Stage.FAILED]
    state = await left.state()
    assert state.pending_restore is None


@pytest.mark.parametrize("verb", ["approve", "reject", "revise", "stop"])
async def test_other_answers_change_nothing(lab: Any, left: Any, verb: str) -> None:
    await left.signal(verb, {"operator": "jd"})
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await left.handle.execute_update("decide", {"decision": verb})
    error = unwrap(failed.value)
    state = await left.state()

    assert isinstance(error, DecisionRefusedError)
    assert "restore" in error.reason
    assert state.current_stage is Stage.AWAITING_RESTORE
    assert [record.accepted for record in state.decisions] == [True, False, False]
    assert lab.script.tasks("restore") == []
    # And the answer that counts still counts.
    await left.signal("restore")
    await left.failure()
    assert len(lab.script.tasks("restore")) == 1


@pytest.mark.parametrize(
    "argument", [False, "no", {}, None, {"answer": "yes"}, {"sha256": "0" * 64}]
)
async def test_an_answer_that_is_none_puts_nothing_back(lab: Any, left: Any, argument: Any) -> None:
    await left.signal("restore", argument)
    await left.signal("leave")
    await left.failure()

    assert lab.script.tasks("restore") == []


async def test_the_page_of_a_restore_tells_who_wanted_it_and_what_it_may_wait_for(
    lab: Any, left: Any
) -> None:
    held = lab.hold()
    lab.script.restores = [held]
    pending = await left.left_changed()
    name = "alice (signed) " + "x" * 110
    await left.signal(f"restore-{pending.revision}", {"operator": name})
    await asyncio.wait_for(held.entered.wait(), 5)
    page = html.unescape((await left.metadata()).current_details)
    assert "While writes are inhibited it waits" in page
    assert "runpermit inhibit status on testhost" in page
    assert "It waits." not in page
    assert not waits(await left.memo())
    told = f"restore by {name[:39]}… (not verified)"
    assert told in page
    held.open.set()
    await left.failure()

    (task,) = lab.script.tasks("restore")
    assert task.operator == name
    last = html.unescape((await left.metadata()).current_details)
    assert "approve of revision" in last
    assert told in last


async def test_the_page_of_a_restore_that_is_inhibited_says_so(lab: Any, left: Any) -> None:
    held = lab.hold()
    lab.script.restores = [held]
    lab.script.reaches = [Reached(inhibited="All writes of this host are inhibited by mk.")]
    await answer(left, "restore", "plain")
    await asyncio.wait_for(held.entered.wait(), 5)
    page = html.unescape((await left.metadata()).current_details)
    assert "It waits. All writes of this host are inhibited by mk." in page
    memo = await left.memo()
    assert waits(memo)
    assert memo.question == "RESTORE WAITS while writes are inhibited: SR:HCM1:SP"
    assert not memo.state_unknown
    held.open.set()
    await left.failure()


async def test_a_stop_before_the_first_write_of_a_restore_ends_it(lab: Any, left: Any) -> None:
    held = lab.hold(deaf=True)
    lab.script.reaches = [held]
    await answer(left, "restore", "plain")
    await asyncio.wait_for(held.entered.wait(), 5)
    await left.signal("stop", {"operator": "jd"})
    await asyncio.sleep(0.1)
    held.open.set()
    await left.left_changed(number=2)
    assert lab.script.tasks("restore") == []


async def test_a_restore_that_came_before_its_question_puts_nothing_back(lab: Any) -> None:
    held = lab.hold(deaf=True, answer=CodeRuntimeError("division by zero", "…", 1))
    partly(lab)
    lab.script.applies = [held]
    running = await lab.approved()
    await asyncio.wait_for(held.entered.wait(), 5)
    await running.signal("restore", {"operator": "jd"})
    held.open.set()
    await running.left_changed()

    assert lab.script.tasks("restore") == []
    assert [r.accepted for r in (await running.state()).decisions] == [True, False]


async def test_the_signals_of_the_question_are_offered_only_while_it_waits(
    lab: Any, left: Any
) -> None:
    held = lab.hold(deaf=True)
    lab.script.restores = [held]
    pending = await left.left_changed()
    own = {f"restore-{pending.revision}", f"leave-{pending.revision}"}
    waiting = await signals(left)
    await left.signal(f"restore-{pending.revision}")
    await asyncio.wait_for(held.entered.wait(), 5)
    between = await signals(left)
    held.open.set()
    await left.failure()

    assert own <= waiting
    assert not any(name.startswith(("approve-", "reject-", "revise-")) for name in waiting)
    assert own & between == own & await signals(left) == set()


async def test_a_request_that_wants_no_question_is_not_asked(lab: Any) -> None:
    partly(lab)
    running = await lab.approved(restore="never")
    error = await running.failure()

    assert Stage.AWAITING_RESTORE not in await running.stages()
    assert error.technical_details["left_changed"] == [CHANGE]
    assert lab.script.tasks("restore") == []


async def test_where_nothing_can_be_put_back_nobody_is_asked(lab: Any) -> None:
    partly(lab, lab.script.changed(restorable=False, why_not="restore: false"))
    running = await lab.approved()
    error = await running.failure()

    assert Stage.AWAITING_RESTORE not in await running.stages()
    assert error.technical_details["left_changed"] == [CHANGE]


async def test_where_some_can_be_put_back_it_is_asked_about_all(lab: Any) -> None:
    other = lab.script.changed(channel="SR:MODE", restorable=False, why_not="an enum")
    partly(lab, lab.script.changed(), other)
    running = await lab.approved()
    pending = await running.left_changed()

    assert [change.channel for change in pending.changes] == ["SR:HCM1:SP", "SR:MODE"]


async def test_where_nothing_was_written_nobody_is_asked(lab: Any) -> None:
    lab.script.applies = [ServiceUnavailableError("the gate was lost", "gate")]
    running = await lab.approved()
    await running.failure()

    assert Stage.AWAITING_RESTORE not in await running.stages()


async def test_what_is_not_back_is_still_told_as_left_changed(lab: Any) -> None:
    partly(lab, lab.script.changed(), lab.script.changed(channel="SR:HCM2:SP"))
    lab.script.restores = [
        RestoreReport(
            channels=[
                RestoredChannel(
                    channel="SR:HCM2:SP",
                    before=0.0,
                    reads=0.7,
                    outcome=RestoreOutcome.ANOTHER_HAND,
                    reason="it reads 0.7, not 0.1",
                ),
                RestoredChannel(
                    channel="SR:HCM1:SP", before=0.0, reads=0.0, outcome=RestoreOutcome.RESTORED
                ),
            ]
        )
    ]
    running = await lab.approved()
    await running.left_changed()
    await running.signal("restore")
    error = await running.failure()

    assert error.technical_details["left_changed"] == ["SR:HCM2:SP: was 0.0, set to 0.1, reads 0.1"]
    assert error.technical_details["restored"][0] == (
        "SR:HCM2:SP: NOT PUT BACK: somebody else has set it, reads 0.7 (it reads 0.7, not 0.1)"
    )


async def test_a_restore_goes_on_where_a_lost_worker_left_it(lab: Any, left: Any) -> None:
    lab.script.restores = [ServiceUnavailableError("the gate was lost", "gate"), None]
    await left.signal("restore", {"operator": "jd"})
    error = await left.failure()

    first, second = lab.script.tasks("restore")
    assert first == second
    assert "restored" in error.technical_details


async def test_a_restore_that_fails_is_asked_about_again_and_told_in_the_error(
    lab: Any, left: Any
) -> None:
    problem = "It could not be put back: the journal can't be read"
    lab.script.restores = [WorkflowError("the journal can't be read", "restoring")]
    await left.signal("restore")
    again = await left.left_changed(number=2)
    assert again.notes == [problem]
    await left.signal("restore")  # is no answer to a second question
    await left.signal(f"leave-{again.revision}")
    error = await left.failure()

    assert isinstance(error, CodeRuntimeError)
    assert error.message.endswith(problem)
    assert error.technical_details["left_changed"] == [CHANGE]
    assert len(lab.script.tasks("restore")) == 1
    [conclusion] = lab.script.tasks("conclude")
    assert "It could not be put back" in conclusion.failure
    assert [str(change) for change in conclusion.changes] == [CHANGE]


async def _restoring(lab: Any, *, stopped: bool) -> tuple[Any, Any]:
    """An execution that puts back, after a stop or a failure; and what holds it there."""
    held, restoring = lab.hold(), lab.hold()
    partly(lab)
    lab.script.restores = [restoring, None]
    if stopped:
        lab.script.applies = [held]
    running = await lab.approved()
    if stopped:
        await asyncio.wait_for(held.entered.wait(), 5)
        await running.signal("stop", {"operator": "jd"})
    await running.left_changed()
    await running.signal("restore")
    await asyncio.wait_for(restoring.entered.wait(), 5)
    return running, restoring


@pytest.mark.parametrize("stopped", [False, True], ids=["failed", "stopped"])
async def test_a_stop_ends_a_restore_and_what_is_still_changed_is_asked_about_again(
    lab: Any, *, stopped: bool
) -> None:
    running, _ = await _restoring(lab, stopped=stopped)
    still = lab.script.changed(channel="SR:HCM2:SP")
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, still, forwarded=2)]
    await running.signal("stop")
    again = await running.left_changed(number=2)

    assert again.notes == ["Putting back was stopped: look at the machine."]
    assert again.changes == [still]
    await running.signal(f"restore-{again.revision}")
    error = await running.failure()
    assert len(lab.script.tasks("restore")) == 2
    assert "restored" in error.technical_details
    assert "Putting back was stopped" not in error.message
    state = await running.state()
    assert state.current_stage is (Stage.STOPPED if stopped else Stage.FAILED)


@pytest.mark.parametrize("stopped", [False, True], ids=["failed", "stopped"])
async def test_a_cancel_ends_a_restore_and_the_execution_which_tells_how_far_it_came(
    lab: Any, *, stopped: bool
) -> None:
    running, _ = await _restoring(lab, stopped=stopped)
    halfway = lab.script.changed(channel="SR:HCM2:SP").model_copy(update={"reads": 0.05})
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, halfway, forwarded=2)]
    await running.handle.cancel()
    error = await running.failure()

    assert "Putting back was stopped: look at the machine." in error.message
    assert error.technical_details["left_changed"] == [str(halfway)]
    assert "read 0.05 at 13:28:02 UTC" in (await running.metadata()).current_details
    assert len(lab.script.tasks("restore")) == 1
    assert lab.script.tasks("leave") == []


async def test_a_restore_that_is_cancelled_tells_nothing_of_what_one_before_it_read(
    lab: Any,
) -> None:
    """And of a long value the gate tells a part, which may be as before where the whole is not."""
    still, held = lab.script.changed(), lab.hold()
    part = {"_type": "array", "count": 500, "first": [0.0] * 20}
    wave = lab.script.changed(channel="SR:WAVE", before=part, written=part, reads=part)
    partly(lab, still, wave)
    failed = RestoredChannel(
        channel=still.channel, before=0.0, reads=0.07, outcome=RestoreOutcome.FAILED, reason="lost"
    )
    lab.script.restores = [RestoreReport(channels=[failed]), held]
    running = await lab.approved()
    await running.left_changed()
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, still, wave, forwarded=2)]
    await running.signal("restore")
    again = await running.left_changed(number=2)
    assert again.changes == [still, wave]
    await running.signal(f"restore-{again.revision}")
    await asyncio.wait_for(held.entered.wait(), 5)
    halfway = still.model_copy(update={"reads": 0.05})
    lab.script.verdicts = [lab.script.told(Verdict.PARTIAL, halfway, forwarded=2)]
    await running.handle.cancel()
    await running.failure()

    page = html.unescape((await running.metadata()).current_details)
    assert "read 0.05" in page
    assert "NOT PUT BACK" not in page


async def test_a_stop_that_came_while_it_was_settled_does_not_use_up_the_one_of_the_restore(
    lab: Any,
) -> None:
    held, settling, restoring = lab.hold(), lab.hold(deaf=True), lab.hold()
    partly(lab)
    lab.script.applies, lab.script.restores = [held], [restoring]
    [verdict] = lab.script.verdicts

    async def settled(task: Any) -> Any:
        await settling(task)
        return verdict

    lab.script.verdicts = [settled]
    running = await lab.approved()
    await asyncio.wait_for(held.entered.wait(), 5)
    await running.signal("stop")
    await asyncio.wait_for(settling.entered.wait(), 5)
    await running.signal("stop")
    settling.open.set()
    await running.left_changed()
    await running.signal("restore")
    await asyncio.wait_for(restoring.entered.wait(), 5)
    await running.signal("stop")
    again = await running.left_changed(number=2)
    await running.signal(f"leave-{again.revision}")
    error = await running.failure()

    assert "Putting back was stopped" in error.message


async def test_a_cancel_while_it_is_asked_leaves_everything_as_it_is(lab: Any, left: Any) -> None:
    await left.handle.cancel()
    error = await left.failure()

    assert isinstance(error, CodeRuntimeError)
    assert lab.script.tasks("restore") == []
    assert error.technical_details["left_changed"] == [CHANGE]
    assert (await left.state()).pending_restore is None
    [conclusion] = lab.script.tasks("conclude")
    assert [str(change) for change in conclusion.changes] == [CHANGE]


@pytest.mark.parametrize("verb", ["restore", "leave"])
@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_after_a_stop_it_is_asked_and_ends_as_stopped(lab: Any, way: str, verb: str) -> None:
    held = lab.hold()
    partly(lab)
    lab.script.applies = [held]
    running = await lab.approved()
    await asyncio.wait_for(held.entered.wait(), 5)
    if way == "stop":
        await running.signal("stop", {"operator": "jd", "comment": "beam lost"})
    else:
        await running.handle.cancel()
    pending = await running.left_changed()
    await running.signal(f"{verb}-{pending.revision}")
    cause = await running.cause()
    state = await running.state()

    assert isinstance(cause, CancelledError) is (way == "cancel")
    assert state.current_stage is Stage.STOPPED
    assert pending.reason.startswith("Stopped")
    assert len(lab.script.tasks("restore")) == (1 if verb == "restore" else 0)
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.stage == Stage.STOPPED
    assert await running.failed_tasks() == 0


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_a_stop_while_it_verifies_asks_what_becomes_of_what_was_written(
    lab: Any, way: str
) -> None:
    held = lab.hold()
    lab.script.verifications = [held]
    running = await lab.approved()
    await asyncio.wait_for(held.entered.wait(), 5)
    await (running.signal("stop") if way == "stop" else running.handle.cancel())
    pending = await running.left_changed()
    await running.signal("restore")
    await running.cause()

    assert [str(change) for change in pending.changes] == [CHANGE]
    assert pending.reason.endswith("Nobody waited for its devices: look whether they followed.")
    assert len(lab.script.tasks("restore")) == 1
    assert (await running.state()).current_stage is Stage.STOPPED


async def test_a_success_asks_nothing_and_puts_nothing_back(lab: Any) -> None:
    running = await lab.approved()
    result = await running.result()

    assert result.restore is None
    assert Stage.AWAITING_RESTORE not in await running.stages()
    assert lab.script.tasks("restore") == []


@pytest.mark.parametrize("verb", [Verb.RESTORE, Verb.LEAVE])
async def test_while_an_approval_waits_nothing_is_put_back(lab: Any, verb: Verb) -> None:
    lab.script.programs = [lab.programs.write]
    running = await lab.start()
    await running.pending()
    await running.signal(verb)
    await asyncio.sleep(0.1)
    state = await running.state()

    assert state.current_stage is Stage.AWAITING_APPROVAL
    assert [record.accepted for record in state.decisions] == [False]
    assert lab.script.tasks("restore") == []


async def test_what_could_not_be_put_back_is_asked_about_again(lab: Any, left: Any) -> None:
    silent = RestoredChannel(
        channel="SR:HCM1:SP", before=0.0, outcome=RestoreOutcome.FAILED, reason="no answer"
    )
    lab.script.restores = [RestoreReport(channels=[silent]), None]
    await left.signal("restore")
    again = await left.left_changed(number=2)
    assert again.notes == [
        "Not all is back: SR:HCM1:SP: NOT PUT BACK: it failed, reads None (no answer)"
    ]
    await left.signal(f"restore-{again.revision}")
    error = await left.failure()

    assert len(lab.script.tasks("restore")) == 2
    assert "left_changed" not in error.technical_details


async def test_a_gate_that_is_silent_after_a_stopped_restore_takes_nothing_away(lab: Any) -> None:
    running, _ = await _restoring(lab, stopped=False)
    lab.script.verdicts = [WorkflowError("the gate is gone", "settling")]
    await running.signal("stop")
    again = await running.left_changed(number=2)
    await running.signal(f"leave-{again.revision}")
    error = await running.failure()

    assert error.technical_details["verdict"] == Verdict.PARTIAL
    assert error.technical_details["left_changed"] == [CHANGE]


async def test_a_cancel_while_the_gate_is_told_to_leave_ends_it_properly(lab: Any) -> None:
    leaving = lab.hold()
    partly(lab)
    lab.script.leaves = [leaving]
    running = await lab.approved()
    await running.left_changed()
    await running.signal("leave")
    await asyncio.wait_for(leaving.entered.wait(), 5)
    await running.handle.cancel()
    error = await running.failure()

    assert error.technical_details["left_changed"] == [CHANGE]
    assert len(lab.script.tasks("conclude")) == 1


async def test_whoever_cancelled_is_told_that_only_an_answer_helps_now(lab: Any) -> None:
    held = lab.hold()
    partly(lab)
    lab.script.applies = [held]
    running = await lab.approved()
    await asyncio.wait_for(held.entered.wait(), 5)
    await running.handle.cancel()
    pending = await running.left_changed()

    assert any("answer restore or leave" in note for note in pending.notes)
    await running.signal("leave")
    assert isinstance(await running.cause(), CancelledError)


async def test_of_many_channels_an_error_tells_the_first_and_how_many_more(lab: Any) -> None:
    partly(lab, *(lab.script.changed(channel=f"SR:HCM{n}:SP") for n in range(40)))
    running = await lab.approved()
    await running.left_changed()
    await running.signal("leave")
    told = (await running.failure()).technical_details["left_changed"]

    assert told[0].startswith("SR:HCM0:SP")
    assert told[-1] == "and 25 more: see the journal"
