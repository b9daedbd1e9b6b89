"""What an execution shows where people look: details, memo, signals to choose, summaries."""

import asyncio
import html
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from runpermit.errors import CodeGenerationError, CodeRuntimeError, PlanOutdatedError
from runpermit.models import Memo, PendingApproval, Stage
from runpermit.models.wire import canonical_sha256
from runpermit.page import approval_page, question

UNTOUCHED = "Nothing was written to the machine."
OF_EVERY_EXECUTION = {"approve", "reject", "revise", "stop", "restore", "leave"}


@pytest.fixture
async def asking(lab: Any) -> Any:
    """An execution whose first revision waits, with a second program for after it."""
    lab.script.programs = [lab.programs.write, lab.programs.other_write]
    running = await lab.start(user_query="How is the beam?")
    await running.pending()
    return running


async def shown(running: Any) -> WorkflowMetadata:
    """What the Web UI reads."""
    metadata: WorkflowMetadata = await running.handle.query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    return metadata


async def details(running: Any) -> str:
    return (await shown(running)).current_details


async def words(running: Any) -> str:
    """The details as people read them."""
    return html.unescape(await details(running))


async def signals(running: Any) -> set[str]:
    """What the Web UI offers to send."""
    return {signal.name for signal in (await shown(running)).definition.signal_definitions}


async def memo(running: Any) -> Memo:
    description = await running.handle.describe()
    return Memo.model_validate(await description.memo())


def of_revision(pending: PendingApproval) -> set[str]:
    return {f"{verb}-{pending.revision}" for verb in ("approve", "reject", "revise")}


async def test_the_details_are_the_approval_page_while_a_question_waits(asking: Any) -> None:
    pending = await asking.pending()

    page = await details(asking)
    assert page == approval_page(pending)
    assert f"approve-{pending.revision}" in page
    assert "SR:HCM1:SP" in page


async def test_the_details_tell_the_stage_while_it_works(lab: Any) -> None:
    go_on = asyncio.Event()

    async def held(_task: Any) -> dict[str, Any]:
        await go_on.wait()
        return {"done": True}

    lab.script.runs = [held]
    running = await lab.start()
    await running.until(Stage.EXECUTING)
    page = await words(running)
    offered = (await shown(running)).definition.signal_definitions
    go_on.set()
    await running.result()

    assert offered[0].name == "stop"
    assert page.startswith("## executing")
    assert "Attempt 1" in page


async def test_the_details_tell_after_a_success_who_approved_and_where_the_notebook_is(
    asking: Any,
) -> None:
    pending = await asking.pending()
    await asking.signal("approve", {"sha256": pending.sha256, "operator": "jd"})
    result = await asking.result()

    page = await words(asking)
    assert page.startswith("## succeeded")
    assert f"approve of revision {pending.revision} by jd" in page
    assert "Written: 1 value to 1 channel. All as it should be." in page
    assert "SR:HCM1:SP  0 → 0.1 A " in page
    assert "setpoint accepted" in page
    assert f"Notebook: {result.execution_result.notebook_path}" in page
    assert "Approve?" not in page


async def test_the_details_tell_while_it_writes_what_and_how_to_stop_it(lab: Any) -> None:
    gate = lab.hold(answer={"done": True})
    lab.script.applies = [gate]
    running = await lab.approved()
    await asyncio.wait_for(gate.entered.wait(), 5)

    page = await words(running)
    assert page.startswith("## applying")
    assert f"It writes: {question(lab.script.planned(0.1))}" in page
    assert "SR:HCM1:SP  0 → 0.1 A " in page
    assert "To stop it: Request Cancellation, or More Actions" in page
    gate.open.set()
    await running.result()


async def test_a_question_asked_anew_tells_what_is_others_in_its_plan_too(lab: Any) -> None:
    lab.script.applies = [PlanOutdatedError("not run", ["The limits are others now"])]
    rehearsing = lab.hold(answer=lab.script.planned(0.6, live=0.5))
    lab.script.rehearsals = [None, rehearsing]
    running = await lab.approved()
    await asyncio.wait_for(rehearsing.entered.wait(), 5)
    meanwhile = await words(running)
    rehearsing.open.set()
    second = await running.until_number(2)

    assert "The limits are others now" in meanwhile
    assert UNTOUCHED in meanwhile
    assert "This run has written nothing so far. Changed since" in await words(running)

    assert second.changed == [
        "The limits are others now",
        "SR:HCM1:SP now reads 0.5 A, was 0 A",
        "SR:HCM1:SP, write 1: now 0.6 A, was 0.1 A",
    ]


async def test_the_details_tell_after_a_rejection_who_and_why(asking: Any) -> None:
    await asking.signal("reject", {"operator": "jd", "comment": "user beam"})
    await asking.failure()

    page = await words(asking)
    assert page.startswith("## rejected")
    assert f"Rejected by jd: user beam\n\n{UNTOUCHED}" in page


async def test_the_details_tell_after_a_failure_the_reason(lab: Any) -> None:
    lab.script.runs = [CodeRuntimeError("division by zero", "Traceback", 1)]
    running = await lab.start(retries=2)
    await running.failure()

    page = await words(running)
    assert page.startswith("## failed")
    assert "all 2 programs failed" in page
    assert UNTOUCHED in page
    assert "Attempt 1 failed: division by zero" in page
    assert "Attempt 2 failed: division by zero" in page


async def test_the_details_tell_after_a_stop_who_and_why(asking: Any) -> None:
    await asking.signal("stop", {"operator": "jd", "comment": "beam lost"})
    await asking.failure()

    page = await words(asking)
    assert page.startswith("## stopped")
    assert "Stopped by jd: beam lost" in page
    assert UNTOUCHED in page


async def test_the_memo_tells_the_question_while_it_waits(asking: Any) -> None:
    pending = await asking.pending()
    told = await memo(asking)

    assert told.stage is Stage.AWAITING_APPROVAL
    assert told.attempt == 1
    assert told.question == question(pending.plan)
    assert "0.1" in told.question
    assert told.first_writes == ["SR:HCM1:SP"]
    assert told.asked_at == pending.asked_at
    assert told.requester == (pending.requester or "")
    assert told.sha256 == pending.sha256
    assert told.host == "testhost"
    sent = (await asking.state()).request.model_copy(update={"execution_folder_path": None})
    assert told.request_sha256 == canonical_sha256(sent)


async def test_the_memo_names_the_first_three_channels(lab: Any) -> None:
    [channel] = lab.script.planned(0.1).channels
    channels = [channel.model_copy(update={"channel": f"SR:HCM{n}:SP"}) for n in range(1, 6)]
    lab.script.programs = [lab.programs.write]
    lab.script.rehearsals = [lab.script.planned(0.1, channels=channels)]
    running = await lab.start()
    await running.pending()

    assert (await memo(running)).first_writes == ["SR:HCM1:SP", "SR:HCM2:SP", "SR:HCM3:SP"]


async def test_the_memo_of_an_answered_question_asks_nothing_more(asking: Any) -> None:
    before = await memo(asking)
    await asking.signal("approve")
    await asking.result()
    told = await memo(asking)

    assert told == Memo(
        stage=Stage.SUCCEEDED,
        attempt=1,
        host="testhost",
        request_sha256=before.request_sha256,
    )


async def test_the_memo_tells_the_revision_that_waits_now(lab: Any, asking: Any) -> None:
    lab.script.rehearsals = [None, lab.script.planned(0.2)]
    first = await asking.pending()
    await asking.signal(f"revise-{first.revision}", {"comment": "more"})
    second = await asking.until_number(2)
    told = await memo(asking)

    assert told.sha256 == second.sha256 != first.sha256
    assert told.question == question(second.plan)
    assert "0.2" in told.question
    assert told.attempt == 2


async def test_the_signals_of_a_question_are_offered_only_while_it_waits(
    lab: Any, asking: Any
) -> None:
    held, go_on = asyncio.Event(), asyncio.Event()

    async def generating(_task: Any) -> str:
        held.set()
        await go_on.wait()
        return str(lab.programs.other_write)

    lab.script.programs = [lab.programs.write, generating]
    first = await asking.pending()
    offered = await signals(asking)
    await asking.signal(f"revise-{first.revision}", {"comment": "more"})
    await asyncio.wait_for(held.wait(), 5)
    between = await signals(asking)
    go_on.set()
    second = await asking.until_number(2)
    offered_second = await signals(asking)
    await asking.signal(f"approve-{second.revision}")
    await asking.result()

    assert offered == OF_EVERY_EXECUTION | of_revision(first)
    assert between == OF_EVERY_EXECUTION
    assert offered_second == OF_EVERY_EXECUTION | of_revision(second)
    assert await signals(asking) == OF_EVERY_EXECUTION


async def test_what_answers_the_page_is_offered_first_each_with_what_it_does(asking: Any) -> None:
    revision = (await asking.pending()).revision
    offered = (await shown(asking)).definition.signal_definitions

    verbs = ["approve", "reject", "revise"]
    assert [signal.name for signal in offered[:3]] == [f"{verb}-{revision}" for verb in verbs]
    assert all(signal.description for signal in offered)
    [plain] = [signal for signal in offered if signal.name == "approve"]
    assert plain.description.startswith("Not from the page: choose approve-…")


async def test_the_signals_of_a_question_go_with_a_stop(asking: Any) -> None:
    await asking.signal("stop")
    await asking.failure()

    assert await signals(asking) == OF_EVERY_EXECUTION


async def test_each_step_and_the_wait_have_a_summary_in_the_history(lab: Any) -> None:
    lab.script.deployment = {"question_expiry": 3600.0}
    lab.script.programs = [lab.programs.write]
    running = await lab.start(timeout_seconds=20)
    pending = await running.pending()
    await running.signal("approve")
    await running.result()

    history = await running.handle.fetch_history()
    converter = lab.client.data_converter.payload_converter
    permit = lab.script.tasks("apply")[0].permit
    summaries, timers = {}, []
    for event in history.events:
        attributes = event.activity_task_scheduled_event_attributes
        if event.HasField("activity_task_scheduled_event_attributes"):
            summary = converter.from_payload(event.user_metadata.summary, str)
            summaries[attributes.activity_type.name] = summary
        if event.HasField("timer_started_event_attributes"):
            timers.append(converter.from_payload(event.user_metadata.summary, str))
    assert summaries == {
        "prepare": "folder for orbit",
        "generate": "attempt 1",
        "rehearse": "attempt 1, writes go nowhere",
        "draft": "attempt 1",
        "apply": "attempt 1, write access, 20 s at most",
        "settle": f"what was written with permit {permit.id[:6]}",
        "verify": "setpoints and devices",
        "conclude": "succeeded",
    }
    assert timers == [
        f"revision {pending.revision} waits for approval",
        "what was written is looked up",
    ]


async def test_a_failed_generation_leaves_nothing_of_the_attempt_before(lab: Any) -> None:
    held, go_on = asyncio.Event(), asyncio.Event()

    async def failing(_task: Any) -> str:
        held.set()
        await go_on.wait()
        raise CodeGenerationError("the model gave no code", 2, [])

    lab.script.programs = [lab.programs.read, failing]
    lab.script.runs = [CodeRuntimeError("division by zero", "Traceback", 1)]
    running = await lab.start(retries=2)
    await asyncio.wait_for(held.wait(), 5)
    meanwhile = await running.state()
    go_on.set()
    await running.failure()
    ended = await running.state()

    for state in (meanwhile, ended):
        assert state.generation_attempt == 2
        assert state.generated_code is None
        assert state.analysis_result is None
        assert state.analysis_failed is None
        assert state.execution_failed is None
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.code is None


async def test_a_question_that_expires_is_told_everywhere(lab: Any) -> None:
    lab.script.deployment = {"question_expiry": 3600.0}
    lab.script.programs = [lab.programs.write]
    running = await lab.start()
    pending = await running.pending()
    await running.sleep(timedelta(hours=2))
    await running.failure()

    page, told = await words(running), await memo(running)
    assert page.startswith("## expired")
    assert f"Nobody decided on revision {pending.revision}" in page
    assert UNTOUCHED in page
    assert told.stage is Stage.EXPIRED
    assert told.question == told.sha256 == ""
    assert await signals(running) == OF_EVERY_EXECUTION
