"""A cancelled step is waited for: nothing is concluded while its code may still be running."""

import asyncio
import time
from typing import Any

import pytest
from temporalio import activity

from runpermit.errors import WorkflowError
from runpermit.models import Stage

STILL_RUNNING = 1.0


class Deaf:
    """A step that takes another second, whoever cancels it."""

    def __init__(self, answer: Any) -> None:
        self.entered = asyncio.Event()
        self.told = False
        self.left: float | None = None
        self._answer = answer

    async def __call__(self, _task: Any) -> Any:
        work = asyncio.create_task(self._work())
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                self.told = True
        self.left = time.monotonic()
        return work.result()

    async def _work(self) -> Any:
        self.entered.set()
        until = time.monotonic() + STILL_RUNNING
        while time.monotonic() < until:
            activity.heartbeat()
            await asyncio.sleep(0.05)
        return self._answer


def conclusions(lab: Any) -> list[float]:
    """When `conclude` was called, filled while the execution goes on."""
    called: list[float] = []

    async def noted(_task: Any) -> None:
        called.append(time.monotonic())

    lab.script.conclusions = [noted]
    return called


@pytest.mark.parametrize("way", ["stop", "cancel"])
@pytest.mark.parametrize("stage", [Stage.EXECUTING, Stage.APPLYING])
async def test_nothing_is_concluded_while_a_cancelled_run_goes_on(
    lab: Any, stage: Stage, way: str
) -> None:
    deaf = Deaf({"done": True})
    lab.script.runs = [deaf]
    called = conclusions(lab)
    writes = stage is Stage.APPLYING
    running = await (lab.approved(restore="never") if writes else lab.start())
    await asyncio.wait_for(deaf.entered.wait(), 5)
    await (running.signal("stop") if way == "stop" else running.handle.cancel())
    await running.cause()

    assert deaf.left is not None
    [concluded] = called
    assert concluded >= deaf.left
    assert deaf.told
    assert (await running.state()).current_stage is Stage.STOPPED


async def test_an_execution_has_not_ended_while_its_cancelled_run_goes_on(lab: Any) -> None:
    deaf = Deaf({"done": True})
    lab.script.runs = [deaf]
    running = await lab.start()
    await asyncio.wait_for(deaf.entered.wait(), 5)
    await running.signal("stop", {"operator": "jd"})
    await asyncio.sleep(STILL_RUNNING / 3)
    meanwhile = await running.state()
    assert deaf.left is None
    error = await running.failure()

    assert not meanwhile.current_stage.is_final
    assert isinstance(error, WorkflowError)
    assert error.stage == Stage.STOPPED
    assert deaf.left is not None
