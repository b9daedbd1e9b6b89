"""Decisions whose author must be proven, by signal, revision signal and update, in real runs."""

import asyncio
import html
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import CancelledError

from runpermit.errors import ServiceUnavailableError, WorkflowError
from runpermit.failures import to_application_error, unwrap
from runpermit.models import ApprovalRule, Assurance, DecisionReceipt, Stage, Verb
from runpermit.models.permit import Yes
from workflows.proving import MOST, MOST_AT_ONCE

pytestmark = pytest.mark.parts

SIGNED = ApprovalRule(assurance=Assurance.SIGNED)


async def waiting(lab: Any, rule: ApprovalRule = SIGNED, **deployment: Any) -> Any:
    lab.script.deployment |= {"rule": rule, **deployment}
    lab.script.programs = [lab.programs.write]
    running = await lab.start(requester="agent")
    return running, await running.pending()


async def decided(running: Any, **decision: Any) -> DecisionReceipt:
    receipt: DecisionReceipt = await running.handle.execute_update(
        "decide", decision, result_type=DecisionReceipt
    )
    return receipt


async def refused(running: Any, **decision: Any) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await decided(running, **decision)
    return unwrap(failed.value).message


async def until_recorded(running: Any, count: int) -> list[Any]:
    async with asyncio.timeout(20):
        while len(found := (await running.state()).decisions) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return list(found)


async def test_a_signed_yes_counts_and_its_signature_is_in_the_permit(lab: Any) -> None:
    running, pending = await waiting(lab)
    await decided(running, decision="approve", sha256=pending.sha256, signature="by jd")
    result = await running.result()
    (task,) = lab.script.tasks("apply")
    assert task.permit.approvals == [
        Yes(operator="jd", assurance=Assurance.SIGNED, signature="by jd")
    ]
    (asked,) = lab.script.tasks("identify")
    assert asked.statement.sha256 == pending.sha256
    assert asked.statement.decision is Verb.APPROVE
    assert result.decisions[0].by == "jd (signed)"
    assert "approver not verified" not in str(result.analysis_warnings)


async def test_a_result_says_that_nobody_verified_its_approver(lab: Any) -> None:
    running = await lab.approved()
    result = await running.result()
    assert "approver not verified: any signal could approve." in result.analysis_warnings


async def test_no_unsigned_yes_counts_by_any_way_and_no_click_is_offered(lab: Any) -> None:
    running, pending = await waiting(lab)
    offered = {one.name for one in (await running.metadata()).definition.signal_definitions}
    assert f"approve-{pending.revision}" not in offered
    assert f"reject-{pending.revision}" in offered
    await running.signal("approve")
    await running.signal("approve", {"sha256": pending.sha256, "operator": "jd"})
    await running.signal(f"approve-{pending.revision}")
    why = await refused(running, decision="approve", sha256=pending.sha256, operator="jd")
    assert "must be signed" in why
    why = await refused(running, decision="approve", sha256=pending.sha256, signature="forged")
    assert "nobody" in why
    assert (await running.pending()).sha256 == pending.sha256
    await running.signal("reject", {"operator": "jd"})
    failure = await running.failure()
    assert isinstance(failure, WorkflowError)
    assert failure.stage == Stage.REJECTED
    assert lab.script.tasks("apply") == []


async def test_two_persons_approve_and_the_page_names_the_first(lab: Any) -> None:
    running, pending = await waiting(lab, SIGNED.model_copy(update={"persons": 2}))
    receipt = await decided(running, decision="approve", sha256=pending.sha256, signature="by jd")
    assert "1 of 2" in receipt.reason
    assert (await running.pending()).approved_by == ["jd"]
    memo = await running.memo()
    assert (memo.approvals, memo.persons, memo.sha256) == (1, 2, pending.sha256)
    details = html.unescape((await running.metadata()).current_details)
    assert "2 persons must approve it; jd approved it: 1 more must" in details
    why = await refused(running, decision="approve", sha256=pending.sha256, signature="by jd")
    assert "jd has approved it already" in why
    his = "by jd's other name with the key of jd"
    why = await refused(running, decision="approve", sha256=pending.sha256, signature=his)
    assert "by the key SHA256:jd, which has approved it already as jd" in why
    await decided(running, decision="approve", sha256=pending.sha256, signature="by mk")
    await running.result()
    (task,) = lab.script.tasks("apply")
    assert [yes.operator for yes in task.permit.approvals] == ["jd", "mk"]
    last = html.unescape((await running.metadata()).current_details)
    for name in ("jd", "mk"):
        assert f"approve of revision {pending.revision} by {name} (signed)" in last


async def test_a_no_is_never_shown_as_one_of_two_approvals(lab: Any) -> None:
    gate = lab.hold(deaf=True)
    lab.script.conclusions = [gate]
    running, _ = await waiting(lab, SIGNED.model_copy(update={"persons": 2}))
    await running.signal("reject", {"operator": "jd"})
    await asyncio.wait_for(gate.entered.wait(), 5)
    assert (await running.memo()).approvals == 0
    assert "approved it" not in html.unescape((await running.metadata()).current_details)
    gate.open.set()
    assert (await running.failure()).stage == Stage.REJECTED


async def test_one_of_two_approvals_is_void_where_the_plan_is_made_anew(lab: Any) -> None:
    running, pending = await waiting(lab, SIGNED.model_copy(update={"persons": 2}))
    await decided(running, decision="approve", sha256=pending.sha256, signature="by jd")
    await running.signal("revise", {"comment": "less"})
    second = await running.until_number(2)
    assert second.approved_by == []
    memo = await running.memo()
    assert (memo.approvals, memo.persons) == (0, 2)
    why = await refused(running, decision="approve", sha256=pending.sha256, signature="by mk")
    assert "sha256" in why
    receipt = await decided(running, decision="approve", sha256=second.sha256, signature="by mk")
    assert "1 of 2" in receipt.reason
    await running.signal("stop")
    assert (await running.failure()).stage == Stage.STOPPED


async def test_the_server_s_principal_of_the_very_signal_counts(lab: Any) -> None:
    rule = ApprovalRule(assurance=Assurance.AUTHENTICATED, approvers=["jwt:jd"])
    lab.script.principals = ["jwt:agent", "jwt:jd"]
    running, pending = await waiting(lab, rule)
    why = await refused(running, decision="approve", sha256=pending.sha256, operator="jwt:jd")
    assert "names no author of an update" in why
    await running.signal(f"approve-{pending.revision}", {"operator": "jwt:jd"})
    await running.signal(f"approve-{pending.revision}", {"operator": "whatever"})
    result = await running.result()
    refusal, _, counted = sorted(result.decisions, key=lambda one: one.accepted)
    assert not refusal.accepted
    assert counted.by == "jwt:jd (authenticated)"
    numbers = [(task.signal.name, task.signal.number) for task in lab.script.tasks("identify")]
    assert numbers == [(f"approve-{pending.revision}", 1), (f"approve-{pending.revision}", 2)]


async def test_while_one_is_looked_at_another_counts_and_a_stop_ends_it(lab: Any) -> None:
    slow = lab.hold(deaf=True)
    lab.script.identities = [slow]
    running, pending = await waiting(lab)
    signed = {"sha256": pending.sha256, "signature": "by jd"}
    await running.signal("approve", signed)
    await asyncio.wait_for(slow.entered.wait(), 20)
    await running.signal("stop", {"operator": "mk"})
    slow.open.set()
    failure = await running.failure()
    assert failure.stage == Stage.STOPPED
    assert await running.failed_tasks() == 0
    late = (await running.state()).decisions[-1]
    assert (late.verb, late.accepted) == (Verb.APPROVE, False)
    assert lab.script.tasks("apply") == []


async def test_a_flood_of_signatures_is_bounded_and_blocks_nobody(lab: Any) -> None:
    slow = lab.hold(deaf=True)
    lab.script.identities = [slow]
    running, pending = await waiting(lab)
    for number in range(MOST_AT_ONCE + 5):
        await running.signal("approve", {"sha256": pending.sha256, "signature": f"by {number}"})
    found = await until_recorded(running, 5)
    assert all("send it again" in one.reason for one in found)
    await running.signal("reject")
    slow.open.set()
    assert (await running.failure()).stage == Stage.REJECTED
    assert len(lab.script.tasks("identify")) <= MOST_AT_ONCE


async def test_no_more_are_looked_at_for_one_question_and_what_is_asked_anew_can_be_approved(
    lab: Any,
) -> None:
    running, pending = await waiting(lab)
    forged = {"sha256": pending.sha256, "signature": "forged"}
    for _ in range(MOST // MOST_AT_ONCE):
        updates = (refused(running, decision="approve", **forged) for _ in range(MOST_AT_ONCE))
        assert all("nobody" in why for why in await asyncio.gather(*updates))
    genuine = {"sha256": pending.sha256, "signature": "by jd"}
    assert "Say revise" in await refused(running, decision="approve", **genuine)
    assert len(lab.script.tasks("identify")) == MOST
    await running.signal("revise", {"comment": "once more"})
    again = await running.until_number(2)
    await decided(running, decision="approve", sha256=again.sha256, signature="by jd")
    await running.result()


@pytest.mark.slow
async def test_a_signature_that_is_looked_at_for_longer_than_its_question_waits_is_too_late(
    lab: Any,
) -> None:
    slow = lab.hold(deaf=True)
    lab.script.identities = [slow]
    running, pending = await waiting(lab, question_expiry=30.0)
    await running.sleep(timedelta(seconds=22))
    await running.signal("approve", {"sha256": pending.sha256, "signature": "by jd"})
    await asyncio.wait_for(slow.entered.wait(), 20)
    await running.sleep(timedelta(seconds=8))
    slow.open.set()
    assert (await running.failure()).stage == Stage.EXPIRED
    late = (await running.state()).decisions[-1]
    assert (late.verb, late.accepted) == (Verb.APPROVE, False)
    assert await running.failed_tasks() == 0
    assert lab.script.tasks("apply") == []


async def test_a_cancel_waits_for_no_signature(lab: Any) -> None:
    slow = lab.hold(deaf=True)
    lab.script.identities = [slow]
    running, pending = await waiting(lab)
    await running.signal("approve", {"sha256": pending.sha256, "signature": "by jd"})
    await asyncio.wait_for(slow.entered.wait(), 20)
    await running.handle.cancel()
    slow.open.set()
    assert isinstance(await running.cause(), CancelledError)
    assert await running.failed_tasks() == 0
    assert lab.script.tasks("apply") == []


async def test_where_the_gate_can_not_be_asked_nothing_counts_and_it_is_said_why(lab: Any) -> None:
    error = ServiceUnavailableError("The gate does not answer at its socket", "gate")
    lab.script.identities = [to_application_error(error, non_retryable=True), None]
    running, pending = await waiting(lab)
    signed = {"decision": "approve", "sha256": pending.sha256, "signature": "by jd"}
    why = await refused(running, **signed)
    assert "could verify" in why
    assert "does not answer" in why
    await decided(running, **signed)
    await running.result()


async def test_who_asked_may_not_approve(lab: Any) -> None:
    running, pending = await waiting(lab, requesters=["agent"])
    signed = {"decision": "approve", "sha256": pending.sha256}
    assert "agent asked for it" in await refused(running, **signed, signature="by agent")
    await decided(running, **signed, signature="by jd")
    await running.result()


async def test_a_machine_is_put_back_by_a_signed_answer_alone(lab: Any) -> None:
    lab.script.applies = [ServiceUnavailableError("the gate was lost", "gate")]
    lab.script.verdicts = [lab.script.told("partial", lab.script.changed(), forwarded=1)]
    running, pending = await waiting(lab, SIGNED.model_copy(update={"persons": 2}))
    for name in ("jd", "mk"):
        await decided(running, decision="approve", sha256=pending.sha256, signature=f"by {name}")
    left = await running.left_changed()
    assert "must be signed" in await refused(running, decision="restore", sha256=left.sha256)
    await decided(running, decision="restore", sha256=left.sha256, signature="by jd")
    await running.failure()
    (task,) = lab.script.tasks("restore")
    assert (task.operator, task.signature) == ("jd", "by jd")
    assert task.statement.decision is Verb.RESTORE
    assert task.statement.sha256 == left.sha256
