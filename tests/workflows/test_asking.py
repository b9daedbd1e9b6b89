"""The question at 3 a.m.: who is asked, which answers count, and how long it waits."""

import asyncio
import html
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowUpdateFailedError

from runpermit.errors import DecisionRefusedError, WorkflowError
from runpermit.failures import unwrap
from runpermit.models import DecisionReceipt, DecisionWay, Stage, Verb
from runpermit.page import approval_page


@pytest.fixture
async def asking(lab: Any) -> Any:
    """An execution whose first revision waits."""
    lab.script.programs = [lab.programs.write, lab.programs.other_write]
    running = await lab.start()
    await running.pending()
    return running


async def records(running: Any) -> list[tuple[Verb, bool, str]]:
    state = await running.state()
    return [(record.verb, record.accepted, record.reason) for record in state.decisions]


async def test_an_approval_after_three_days_runs_the_very_code_that_was_shown(
    lab: Any, asking: Any
) -> None:
    pending = await asking.pending()
    await asking.sleep(timedelta(days=3))
    await asking.signal("approve", {"sha256": pending.sha256, "operator": "jd"})
    result = await asking.result()

    [applied] = lab.script.tasks("apply")
    assert applied.code == pending.code == lab.programs.write
    assert applied.permit.revision == pending.binds
    assert result.plan == pending.plan
    [record] = result.decisions
    assert (record.operator, record.accepted, record.via) == ("jd", True, DecisionWay.SIGNAL)
    stages = [change.stage for change in (await asking.state()).stages]
    # The plan is old by then, and is rehearsed again: it still stands.
    assert stages[-5:] == [
        Stage.AWAITING_APPROVAL,
        Stage.REHEARSING,
        Stage.APPLYING,
        Stage.VERIFYING,
        Stage.SUCCEEDED,
    ]
    assert (await asking.state()).approval_interrupt_data is None


async def test_the_signal_of_the_revision_needs_no_input(asking: Any) -> None:
    pending = await asking.pending()
    await asking.signal(f"approve-{pending.revision}")
    result = await asking.result()

    assert result.decisions[0].revision == pending.revision


async def test_a_plain_approve_counts_for_the_first_revision_of_a_first_run(asking: Any) -> None:
    await asking.signal("approve")

    assert (await asking.result()).execution_result.results == {"done": True}


async def test_the_question_is_about_the_plan_that_was_rehearsed(lab: Any, asking: Any) -> None:
    pending = await asking.pending()

    assert pending.plan.writes == lab.script.planned(0.1).writes
    assert pending.plan.rehearsed_at is not None
    assert pending.changed == []
    assert pending.number == 1
    [drafted] = lab.script.tasks("draft")
    assert drafted.plan == pending.plan
    assert any("approver not verified" in warning for warning in pending.warnings)


async def test_a_question_expires_by_a_durable_timer(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    lab.script.deployment = {"question_expiry": 3600.0}
    running = await lab.start()
    pending = await running.pending()
    assert pending.expires_at - pending.asked_at == timedelta(hours=1)
    error = await running.failure()

    assert isinstance(error, WorkflowError)
    assert error.stage == Stage.EXPIRED
    assert "approval.question_expiry" in error.message
    assert lab.script.tasks("apply") == []
    assert (await running.state()).current_stage is Stage.EXPIRED


async def test_a_question_without_expiry_waits_on(asking: Any) -> None:
    await asking.sleep(timedelta(days=400))

    assert (await asking.state()).current_stage is Stage.AWAITING_APPROVAL


async def test_a_rejection_ends_it_with_the_operators_reason(lab: Any, asking: Any) -> None:
    await asking.signal("reject", {"operator": "jd", "reason": "not during user beam"})
    error = await asking.failure()

    assert isinstance(error, WorkflowError)
    assert error.stage == Stage.REJECTED
    assert error.message == "Rejected by jd: not during user beam"
    assert lab.script.tasks("apply") == []
    state = await asking.state()
    assert state.current_stage is Stage.REJECTED
    assert state.approved is False
    assert [task.stage for task in lab.script.tasks("conclude")] == [Stage.REJECTED]


async def test_revise_gives_the_comment_to_the_next_generation_and_asks_again(
    lab: Any, asking: Any
) -> None:
    first = await asking.pending()
    await asking.signal(f"revise-{first.revision}", {"comment": "use half the kick"})
    second = await asking.until_number(2)

    [wish] = lab.script.tasks("generate")[1].errors
    assert wish.error_type == "revision"
    assert "use half the kick" in wish.error_message
    assert second.number == 2
    assert second.code == lab.programs.other_write
    assert second.sha256 != first.sha256
    assert first.revised is None
    assert second.revised is not None
    assert second.revised.comment == "use half the kick"
    details = html.unescape((await asking.metadata()).current_details)
    assert "Revised by an unnamed operator (not verified): use half the kick" in details

    # Neither a plain approval nor the click on the old page approves the new revision.
    await asking.signal("approve")
    await asking.signal(f"approve-{first.revision}")
    await asking.signal("approve", {"sha256": first.sha256})
    await asyncio.sleep(0.1)
    assert lab.script.tasks("apply") == []
    assert (await asking.state()).current_stage is Stage.AWAITING_APPROVAL

    await asking.signal(f"approve-{second.revision}")
    result = await asking.result()
    assert result.generated_code == lab.programs.other_write
    [(_, counted, _), (_, plain, why), *late] = await records(asking)
    assert counted
    assert not plain
    assert f"approve-{second.revision}" in why
    assert [accepted for _, accepted, _ in late].count(True) == 1
    old = [r for r in (await asking.state()).decisions if r.revision == first.revision]
    assert [(r.verb, r.accepted) for r in old] == [(Verb.REVISE, True), (Verb.APPROVE, False)]


async def test_a_click_on_an_old_page_is_told_on_the_new_one_and_its_signal_is_offered_no_more(
    asking: Any,
) -> None:
    first = await asking.pending()
    await asking.signal(f"revise-{first.revision}", {"comment": "use half the kick"})
    second = await asking.until_number(2)
    await asking.signal(f"approve-{first.revision}", {"operator": "jd"})

    while (told := await asking.pending()).not_counted is None:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    metadata = await asking.metadata()
    assert told.not_counted.operator == "jd"
    assert told.not_counted.revision == first.revision
    assert told.sha256 == second.sha256
    assert metadata.current_details == approval_page(told)
    names = [signal.name for signal in metadata.definition.signal_definitions]
    assert names[0] == f"approve-{second.revision}"
    assert f"approve-{first.revision}" not in names
    assert await asking.failed_tasks() == 0


async def test_revise_starts_generation_for_approved_code(lab: Any) -> None:
    lab.script.programs = [lab.programs.read]
    running = await lab.start(approved_code=lab.programs.write)
    await running.pending()
    await running.signal("revise", {"comment": "only read"})
    result = await running.result()

    assert result.generated_code == lab.programs.read
    assert len(lab.script.tasks("generate")) == 1


async def test_revisions_use_no_attempt(lab: Any) -> None:
    lab.script.programs = [lab.programs.write, lab.programs.read]
    running = await lab.start(retries=1)
    await running.pending()
    await running.signal("revise", {"comment": "only read"})

    assert (await running.result()).generated_code == lab.programs.read


@pytest.mark.parametrize(
    "argument",
    [False, "no", {}, None, {"answer": "yes"}, {"sha256": "7f3a9c"}, {"decision": "reject"},
     [True], 1, {"operator": ""}, {"comment": "x" * 5000}],
)  # fmt: skip
async def test_an_answer_that_is_no_decision_is_recorded_and_runs_nothing(
    lab: Any, asking: Any, argument: Any
) -> None:
    await asking.signal("approve", argument)
    await asyncio.sleep(0.1)

    [(verb, accepted, _)] = await records(asking)
    assert (verb, accepted) == (Verb.APPROVE, False)
    assert lab.script.tasks("apply") == []
    assert (await asking.state()).current_stage is Stage.AWAITING_APPROVAL
    assert await asking.failed_tasks() == 0


STRANGE = [
    Payload(metadata={"encoding": b"json/plain"}, data=b"{not json"),
    Payload(metadata={"encoding": b"json/plain"}, data=b'{"comment": NaN}'),
    Payload(metadata={"encoding": b"json/plain"}, data=b"[" * 20_000),
    Payload(metadata={"encoding": b"json/plain"}, data=b'{"comment": "\xff\xfe"}'),
    Payload(metadata={"encoding": b"json/plain"}, data=b'{"comment": "\\ud800"}'),
    Payload(metadata={"encoding": b"json/protobuf", "messageType": b"no.such"}, data=b"{}"),
    Payload(metadata={"encoding": b"no/such"}, data=b"\x00\xff"),
    Payload(metadata={"encoding": b"\xff\xfe"}, data=b"x"),
    Payload(metadata={"encoding": b"binary/null"}),
    Payload(metadata={"encoding": b"binary/plain"}, data=b"\xff"),
    Payload(data=b"{}"),
]


@pytest.mark.parametrize("payload", STRANGE, ids=range(len(STRANGE)))
async def test_an_undecodable_signal_is_recorded_and_jams_nothing(
    raw_signal: Any, asking: Any, payload: Payload
) -> None:
    revision = (await asking.pending()).revision
    await raw_signal(asking, "approve", payload)
    await raw_signal(asking, f"approve-{revision}", payload)
    await asyncio.sleep(0.1)

    assert [accepted for _, accepted, _ in await records(asking)] == [False, False]
    assert await asking.failed_tasks() == 0
    await asking.signal(f"approve-{revision}")
    await asking.result()


async def test_an_undecodable_stop_still_stops(raw_signal: Any, asking: Any) -> None:
    await raw_signal(asking, "stop", STRANGE[0])
    error = await asking.failure()

    assert isinstance(error, WorkflowError)
    assert error.stage == Stage.STOPPED


async def test_two_arguments_are_recorded_and_change_nothing(asking: Any) -> None:
    await asking.signal("approve", {"operator": "jd"}, {"operator": "jd"})
    await asyncio.sleep(0.1)

    [(_, accepted, why)] = await records(asking)
    assert not accepted
    assert "2 arguments" in why
    assert await asking.failed_tasks() == 0


async def test_an_unknown_signal_changes_nothing(asking: Any) -> None:
    await asking.signal("approve-000000")
    await asking.signal("launch", {"now": True})
    await asyncio.sleep(0.1)

    assert (await asking.state()).current_stage is Stage.AWAITING_APPROVAL
    assert await asking.failed_tasks() == 0


async def test_the_update_tells_at_once_that_a_decision_counted(asking: Any) -> None:
    pending = await asking.pending()
    receipt = await asking.handle.execute_update(
        "decide",
        {"decision": "approve", "sha256": pending.sha256, "operator": "jd"},
        result_type=DecisionReceipt,
    )

    assert receipt.accepted
    assert (receipt.verb, receipt.revision) == (Verb.APPROVE, pending.revision)
    assert (await asking.result()).decisions[0].via is DecisionWay.UPDATE


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([{"decision": "approve", "sha256": "0" * 64}], "sha256"),
        ([{"decision": "approve", "colour": "red"}], "colour"),
        ([{"decision": "approve"}, {"decision": "approve"}], "2 arguments"),
    ],
)
async def test_a_refused_update_is_typed_and_stays_recorded(
    asking: Any, arguments: list[Any], why: str
) -> None:
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await asking.handle.execute_update("decide", args=arguments)

    error = unwrap(failed.value)
    assert isinstance(error, DecisionRefusedError)
    assert why in error.reason
    assert [accepted for _, accepted, _ in await records(asking)] == [False]
    assert (await asking.state()).current_stage is Stage.AWAITING_APPROVAL


@pytest.mark.parametrize("arguments", [[], [None], [{}], [{"decision": "launch"}], [["approve"]]])
async def test_an_update_without_a_verb_is_refused_typed_and_stays_recorded(
    asking: Any, arguments: list[Any]
) -> None:
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await asking.handle.execute_update("decide", args=arguments)

    error = unwrap(failed.value)
    assert isinstance(error, DecisionRefusedError)
    assert "approve, reject, revise, stop, restore, leave" in error.reason
    assert [accepted for _, accepted, _ in await records(asking)] == [False]
    assert (await asking.state()).current_stage is Stage.AWAITING_APPROVAL
    assert await asking.failed_tasks() == 0


async def test_an_approval_before_anything_waits_is_recorded_and_approves_nothing(
    lab: Any,
) -> None:
    held = asyncio.Event()

    async def program(_task: Any) -> Any:
        await held.wait()
        return lab.programs.write

    lab.script.programs = [program]
    running = await lab.start()
    await running.until(Stage.GENERATING)
    await running.signal("approve")
    held.set()
    await running.pending()

    [(_, accepted, why)] = await records(running)
    assert not accepted
    assert why == "nothing waits for a decision"
    assert lab.script.tasks("apply") == []


async def test_an_approval_that_comes_with_the_start_approves_nothing(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    running = await lab.start_with({"start_signal": "approve"})
    await running.pending()
    await asyncio.sleep(0.1)

    assert lab.script.tasks("apply") == []
    assert [accepted for _, accepted, _ in await records(running)] == [False]


async def test_signals_of_strangers_never_grow_the_history_beyond_its_bounds(
    lab: Any, asking: Any
) -> None:
    worst = {"comment": "\x01" * 4096, "operator": "\x01" * 128, "sha256": "0" * 64}
    for _ in range(110):
        await asking.signal("approve", worst)
    await asking.signal("approve")
    await asking.result()

    state = await asking.state()
    assert len(state.decisions) == 100
    assert [record.accepted for record in state.decisions].count(True) == 1
    [conclusion] = lab.script.tasks("conclude")
    assert len(conclusion.model_dump_json()) < 1024 * 1024
    assert await asking.failed_tasks() == 0


@pytest.mark.parametrize("mode", ["all_code", "no such mode", ""])
async def test_reads_wait_where_all_code_must_be_approved_or_the_mode_is_unknown(
    lab: Any, mode: str
) -> None:
    lab.script.deployment = {"approval_mode": mode}
    running = await lab.start()
    pending = await running.pending()

    assert pending.plan.writes == []
    assert lab.script.tasks("execute") == []
    await running.signal(f"approve-{pending.revision}")
    await running.result()
    assert lab.script.tasks("apply") == []


async def test_an_answer_after_the_end_is_recorded_no_more_and_jams_nothing(asking: Any) -> None:
    await asking.signal("reject")
    await asking.signal("approve")
    assert isinstance(await asking.failure(), WorkflowError)

    state = await asking.state()
    assert [record.accepted for record in state.decisions] == [True, False]
    assert state.current_stage is Stage.REJECTED
