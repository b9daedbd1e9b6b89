"""One execution through its handle: answers, results, progress."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import TerminatedError
from temporalio.service import RPCError, RPCStatusCode

from runpermit import (
    ContainerConfigurationError,
    DecisionRefusedError,
    Execution,
    InvalidRequestError,
    MaxAttemptsExceededError,
    PendingApproval,
    PendingRestore,
    ProgressEvent,
    ProgressKind,
    Revision,
    RunpermitClient,
    ServiceUnavailableError,
    Stage,
    UnreadableMessageError,
    WorkflowError,
)


async def start(server: Any, task: str, **options: Any) -> Execution:
    client = await RunpermitClient.connect(server.address)
    fields = {"user_query": "q", "task_objective": task, "execution_folder_name": "scan"}
    return await client.start(fields, **options)


async def asked(execution: Execution) -> PendingApproval:
    async with asyncio.timeout(10):
        while True:
            pending = await execution.pending_approval()
            if pending is not None:
                return pending
            await asyncio.sleep(0.05)


async def all_events(execution: Execution) -> list[ProgressEvent]:
    async with asyncio.timeout(60):
        return [event async for event in execution.progress()]


def stages(events: list[ProgressEvent]) -> list[Stage | None]:
    return [event.stage for event in events if event.kind is ProgressKind.STAGE]


async def test_an_approval_of_the_revision_that_waits_counts_and_the_code_runs(
    server: Any,
) -> None:
    execution = await start(server, "ask")
    pending = await asked(execution)
    assert await execution.code() == pending.code
    receipt = await execution.approve(operator="jd", sha256=pending.sha256, comment="go")
    assert receipt.accepted
    assert receipt.revision == pending.revision
    assert (await execution.result()).execution_result.results["value"] == 42
    assert await execution.pending_approval() is None
    assert (await execution.state()).current_stage is Stage.SUCCEEDED


async def test_an_approval_of_another_revision_is_refused_with_the_reason(server: Any) -> None:
    execution = await start(server, "ask")
    await asked(execution)
    with pytest.raises(DecisionRefusedError) as refused:
        await execution.approve("jd", "0" * 64)
    assert refused.value.reason == "its sha256 is another one's"
    assert (await execution.state()).current_stage is Stage.AWAITING_APPROVAL


async def test_whatever_fails_the_update_means_that_the_decision_does_not_count(
    server: Any,
) -> None:
    execution = await start(server, "ask")
    await asked(execution)
    with pytest.raises(DecisionRefusedError, match="boom"):
        await execution.reject("jd", "crash")


@pytest.mark.parametrize("sha256", ["", "7f3a9c", "G" * 64])
async def test_an_approval_without_a_whole_sha256_is_never_sent(server: Any, sha256: str) -> None:
    execution = await start(server, "ask")
    with pytest.raises(InvalidRequestError) as refused:
        await execution.approve("jd", sha256)
    assert refused.value.field == "sha256"


async def test_a_rejection_ends_as_a_workflow_error_with_the_operators_reason(server: Any) -> None:
    execution = await start(server, "ask")
    await asked(execution)
    await execution.reject("jd", "not now")
    with pytest.raises(WorkflowError, match="not now") as ended:
        await execution.result()
    assert ended.value.stage == "rejected"


async def left_changed(execution: Execution) -> PendingRestore:
    async with asyncio.timeout(10):
        while True:
            pending = await execution.pending_restore()
            if pending is not None:
                return pending
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("verb", ["restore", "leave"])
async def test_the_answer_to_a_machine_left_changed_names_the_question(
    server: Any, verb: str
) -> None:
    execution = await start(server, "leave changed")
    pending = await left_changed(execution)
    assert [change.channel for change in pending.changes] == ["SR:HCM1"]
    receipt = await getattr(execution, verb)("jd", "as agreed")
    assert receipt.revision == pending.revision
    with pytest.raises(WorkflowError, match=f"{verb}: as agreed"):
        await execution.result()


@pytest.mark.parametrize("verb", ["restore", "leave"])
async def test_an_answer_to_another_left_machine_is_refused(server: Any, verb: str) -> None:
    execution = await start(server, "leave changed")
    await left_changed(execution)
    with pytest.raises(DecisionRefusedError, match="another one"):
        await getattr(execution, verb)("jd", sha256="0" * 64)
    assert await execution.pending_restore() is not None


async def test_where_nothing_was_left_changed_no_answer_is_sent(server: Any) -> None:
    execution = await start(server, "ask")
    await asked(execution)
    for answer in (execution.restore, execution.leave):
        with pytest.raises(DecisionRefusedError, match="nothing was sent"):
            await answer("jd")
    assert await execution.pending_approval() is not None


async def test_progress_asks_about_a_machine_left_changed(server: Any) -> None:
    execution = await start(server, "leave changed")
    pending = await left_changed(execution)
    async with asyncio.timeout(20):
        async for event in execution.progress():
            if event.kind is ProgressKind.QUESTION:
                break
    assert event.restore == pending
    assert event.pending is None


async def test_a_revision_asks_again_under_another_sha256(server: Any) -> None:
    execution = await start(server, "ask")
    first = await asked(execution)
    await execution.revise("jd", "smaller steps")
    second = await asked(execution)
    assert second.number == 2
    assert second.sha256 != first.sha256


async def test_a_decision_after_the_end_is_refused(server: Any) -> None:
    execution = await start(server, "succeed")
    await execution.result()
    with pytest.raises(DecisionRefusedError, match="has ended"):
        await execution.reject("jd", "late")
    with pytest.raises(DecisionRefusedError, match="has ended"):
        await execution.stop("jd", "late")


async def test_a_stop_is_kept_while_no_worker_is_there(server: Any) -> None:
    execution = await start(server, "ask")
    await asked(execution)
    await asyncio.to_thread(server.stop_worker)
    async with asyncio.timeout(30):
        await execution.stop("jd", "beam lost")
    await asyncio.to_thread(server.start_worker)
    with pytest.raises(WorkflowError, match="beam lost") as ended:
        await execution.result()
    assert ended.value.stage == "stopped"


async def test_failures_come_back_as_the_very_classes_of_errors_py(server: Any) -> None:
    failed = await start(server, "fail")
    with pytest.raises(MaxAttemptsExceededError) as attempts:
        await failed.result()
    assert attempts.value.error_chain == ["NameError: x"]
    misconfigured = await start(server, "misconfigured")
    with pytest.raises(ContainerConfigurationError, match="writes_enabled"):
        await misconfigured.result()


async def test_an_execution_that_does_not_exist_is_named(server: Any) -> None:
    client = await RunpermitClient.connect(server.address)
    ghost = client.handle("ghost")
    for call in (ghost.state, ghost.result, ghost.describe, lambda: ghost.stop("jd", "x")):
        with pytest.raises(InvalidRequestError, match="no execution ghost"):
            await call()
    with pytest.raises(InvalidRequestError, match="no execution ghost"):
        await all_events(ghost)


async def test_a_worker_that_is_newer_than_this_client_is_told_as_that(server: Any) -> None:
    execution = await start(server, "ask newer")
    async with asyncio.timeout(10):
        while (await execution.code()) is None:  # noqa: ASYNC110  (a query tells no event)
            await asyncio.sleep(0.05)
    pending = await server.client.get_workflow_handle(execution.id).query("pending_approval")
    sha256 = Revision.model_validate(pending["binds"]).sha256

    for ask in (execution.state, execution.pending_approval):
        with pytest.raises(UnreadableMessageError, match=r"older than .* novel") as newer:
            await ask()
        assert newer.value.field == "novel"
    with pytest.raises(UnreadableMessageError, match="and counts"):
        await execution.approve("jd", sha256)
    with pytest.raises(UnreadableMessageError, match="novel"):
        await asyncio.wait_for(execution.result(), 10)


@pytest.mark.slow
async def test_a_question_to_no_worker_is_told_in_bounded_time(server: Any) -> None:
    execution = await start(server, "ask")
    await asked(execution)
    await asyncio.to_thread(server.stop_worker)
    async with asyncio.timeout(15):
        with pytest.raises(ServiceUnavailableError, match="No worker answers") as away:
            await execution.state()
    assert away.value.service == "worker"


async def test_progress_tells_each_stage_once_and_ends(server: Any) -> None:
    execution = await start(server, "succeed")
    events = await all_events(execution)
    expected = [Stage.PREPARING, Stage.GENERATING, Stage.EXECUTING, Stage.SUCCEEDED]
    assert stages(events) == expected
    assert events[-1].kind is ProgressKind.END
    assert events[-1].stage is Stage.SUCCEEDED
    assert stages(await all_events(execution)) == expected


async def test_progress_tells_the_question_with_what_it_binds(server: Any) -> None:
    execution = await start(server, "ask")
    events = []
    async with asyncio.timeout(20):
        async for event in execution.progress():
            events.append(event)
            if event.kind is ProgressKind.QUESTION:
                assert event.pending is not None
                await execution.approve("jd", event.pending.sha256)
    assert [event.kind for event in events].count(ProgressKind.QUESTION) == 1
    assert stages(events)[-2:] == [Stage.EXECUTING, Stage.SUCCEEDED]


@pytest.mark.slow
async def test_progress_tells_stdout_while_the_code_prints_it(server: Any) -> None:
    execution = await start(server, "print")
    events = await all_events(execution)
    printed = [event.text for event in events if event.kind is ProgressKind.STDOUT]
    assert "".join(printed) == "".join(f"line {number}\n" for number in range(6))
    assert len(printed) > 2


async def test_progress_of_a_failure_ends_with_its_reason(server: Any) -> None:
    events = await all_events(await start(server, "fail"))
    assert events[-1].stage is Stage.FAILED
    assert "NameError: x" in events[-1].text


@pytest.mark.slow
async def test_progress_without_a_worker_tells_the_end_from_the_memo(server: Any) -> None:
    execution = await start(server, "succeed")
    await execution.result()
    await asyncio.to_thread(server.stop_worker)
    events = await all_events(execution)
    assert [event.kind for event in events] == ["notice", "stage", "end"]
    assert events[-1].stage is Stage.SUCCEEDED


@pytest.mark.slow
async def test_progress_goes_on_when_the_worker_comes_back(server: Any) -> None:
    execution = await start(server, "ask")
    pending = await asked(execution)
    await asyncio.to_thread(server.stop_worker)
    following = asyncio.create_task(all_events(execution))
    await asyncio.sleep(1)
    await asyncio.to_thread(server.start_worker)
    await execution.approve("jd", pending.sha256)
    told = stages(await following)
    assert len(told) == len(set(told))
    assert told[-1] is Stage.SUCCEEDED


async def reset(server: Any, execution: Execution) -> None:
    """What `temporal workflow reset` does: another run begins after the first workflow task."""
    client = await RunpermitClient.connect(server.address)
    run_id = (await execution.describe()).run_id
    await client.temporal.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=execution.id, run_id=run_id),
            reason="by hand",
            workflow_task_finish_event_id=4,
            request_id=run_id,
        )
    )


async def test_result_and_progress_follow_a_reset_to_the_new_run(server: Any) -> None:
    execution = await start(server, "ask")
    await asked(execution)
    waiting = asyncio.create_task(execution.result())
    following = asyncio.create_task(all_events(execution))
    await asyncio.sleep(1)
    await reset(server, execution)
    async with asyncio.timeout(10):
        await execution.approve("jd", (await asked(execution)).sha256)
        assert (await waiting).execution_result.results["value"] == 42
    events = await following
    assert "reset" in "".join(e.text for e in events if e.kind is ProgressKind.NOTICE)
    assert stages(events)[-1] is Stage.SUCCEEDED


async def test_a_reset_run_that_has_ended_before_we_look_is_the_one_that_counts(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = await start(server, "ask")
    await asked(execution)
    await reset(server, execution)
    await execution.approve("jd", (await asked(execution)).sha256)
    await execution.result()
    handle = execution._handle
    looks: list[Any] = [handle.describe, RPCError("gone", RPCStatusCode.UNAVAILABLE, b"")]
    ends: list[Any] = [handle.result, *[WorkflowFailureError(cause=TerminatedError("reset"))] * 2]

    def one_after_the_other(found: list[Any]) -> Callable[..., Awaitable[Any]]:
        async def call(**options: Any) -> Any:
            if len(found) == 1:
                return await found[0](**options)
            raise found.pop()

        return call

    monkeypatch.setattr(handle, "result", one_after_the_other(ends))
    monkeypatch.setattr(handle, "describe", one_after_the_other(looks))
    assert (await execution.result()).execution_result.results["value"] == 42
    assert (len(looks), len(ends)) == (1, 1)


async def test_a_terminated_execution_ends_progress_and_result(server: Any) -> None:
    execution = await start(server, "ask")
    await asked(execution)
    handle = server.client.get_workflow_handle(execution.id)
    server.call(handle.terminate, "by hand")
    events = await all_events(execution)
    assert events[-1].stage is None
    assert "terminated" in events[-1].text
    with pytest.raises(WorkflowError, match="terminated"):
        await execution.result()
