"""A worker that forgets each execution between two tasks: all is told again from its history."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runpermit.errors import CodeRuntimeError, ServiceUnavailableError, WorkflowError
from runpermit.models import Stage, Verdict
from workflows.steps import Timeouts


@pytest.fixture
async def forgetful(idle_lab: Any) -> AsyncIterator[Any]:
    """The lab with a worker that keeps nothing in memory."""
    shared, own = idle_lab.script.workers(idle_lab.client, max_cached_workflows=0)
    async with shared, own:
        yield idle_lab


async def test_a_write_is_approved_applied_and_verified(forgetful: Any) -> None:
    running = await forgetful.approved()
    result = await running.result()

    assert result.writes.forwarded == 1
    assert await running.failed_tasks() == 0


async def test_a_question_what_to_put_back_waits_and_is_answered(forgetful: Any) -> None:
    script = forgetful.script
    script.applies = [CodeRuntimeError("division by zero", "…", 1)]
    script.verdicts = [script.told(Verdict.PARTIAL, script.changed())]
    running = await forgetful.approved()
    pending = await running.left_changed()
    await running.signal("approve")
    await running.signal("restore", {"sha256": "0" * 64})
    assert (await running.left_changed()).binds == pending.binds
    await running.signal(f"restore-{pending.revision}", {"operator": "jd"})
    error = await running.failure()

    assert isinstance(error, CodeRuntimeError)
    assert error.technical_details["restored"] == ["SR:HCM1:SP: restored, reads 0.0"]
    assert len(script.tasks("restore")) == 1
    assert len(script.tasks("apply")) == 1
    assert await running.failed_tasks() == 0


@pytest.mark.parametrize("way", ["none", "stop", "cancel"])
async def test_an_apply_is_settled_whoever_says_stop_meanwhile(forgetful: Any, way: str) -> None:
    settling = forgetful.hold(deaf=True)
    script = forgetful.script
    script.applies = [ServiceUnavailableError("the gate was lost", "gate")]
    verdict = script.told(Verdict.PARTIAL, script.changed())

    async def settled(task: Any) -> Any:
        await settling(task)
        return verdict

    script.verdicts = [settled]
    running = await forgetful.approved()
    await asyncio.wait_for(settling.entered.wait(), 5)
    if way == "stop":
        await running.signal("stop", {"operator": "jd"})
    elif way == "cancel":
        await running.handle.cancel()
    await running.state()
    settling.open.set()
    await running.left_changed()
    await running.signal("leave")
    await running.cause()
    state = await running.state()

    assert state.current_stage is (Stage.FAILED if way == "none" else Stage.STOPPED)
    assert len(script.tasks("apply")) == len(script.tasks("settle")) == 1
    assert await running.failed_tasks() == 0


async def test_a_stop_ends_a_restore(forgetful: Any) -> None:
    restoring = forgetful.hold()
    script = forgetful.script
    script.applies = [CodeRuntimeError("division by zero", "…", 1)]
    script.verdicts = [script.told(Verdict.PARTIAL, script.changed())]
    script.restores = [restoring]
    running = await forgetful.approved()
    await running.left_changed()
    await running.signal("restore")
    await asyncio.wait_for(restoring.entered.wait(), 5)
    await running.signal("stop")
    again = await running.left_changed(number=2)
    await running.signal(f"leave-{again.revision}")
    error = await running.failure()

    assert "Putting back was stopped" in error.message
    assert await running.failed_tasks() == 0


async def test_a_host_that_was_gone_puts_back_when_it_returns(idle_lab: Any) -> None:
    script = idle_lab.script
    script.applies = [CodeRuntimeError("division by zero", "…", 1)]
    script.verdicts = [script.told(Verdict.PARTIAL, script.changed())]
    script.deployment = {"timeouts": Timeouts(host=0.5)}
    shared, own = script.workers(idle_lab.client)
    async with shared:
        async with own:
            running = await idle_lab.approved()
            await running.left_changed()
        await running.signal("restore")
        await running.until(Stage.RESTORING)
        await asyncio.sleep(1)  # longer than any other step waits for its host
        async with script.host_worker(idle_lab.client):
            error = await running.failure()

    assert error.technical_details["restored"] == ["SR:HCM1:SP: restored, reads 0.0"]
    assert len(script.tasks("restore")) == 1


async def test_a_host_that_was_gone_tells_its_next_worker_what_was_written(idle_lab: Any) -> None:
    script = idle_lab.script
    held = idle_lab.hold()
    script.applies = [held]
    script.verdicts = [script.told(Verdict.PARTIAL)]
    script.deployment = {"timeouts": Timeouts(heartbeat=0.5)}  # time does not skip meanwhile
    shared, own = script.workers(idle_lab.client, max_cached_workflows=0)
    async with shared:
        async with own:
            running = await idle_lab.approved()
            await asyncio.wait_for(held.entered.wait(), 5)
        # The host's worker is gone, and its apply was told as an outage.
        await running.until(Stage.HOST_UNREACHABLE)
        assert script.tasks("settle") == []
        async with script.host_worker(idle_lab.client):
            error = await running.failure()

    assert isinstance(error, WorkflowError)
    assert error.technical_details["verdict"] == "partial"
    assert len(script.tasks("apply")) == len(script.tasks("settle")) == 1
    assert await running.failed_tasks() == 0
