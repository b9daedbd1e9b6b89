"""The lifeline of a step that writes, with a real Temporal: taken heartbeats, cuts, and silence."""

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import AsyncActivityCancelledError, Client, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from activities.heartbeat import ANSWER_SECONDS, Lifeline, StdoutTail
from demo.stack import free_port
from runpermit.payloads import data_converter


@workflow.defn(sandboxed=False)
class Stepping:
    """Runs one step."""

    @workflow.run
    async def run(self) -> None:
        """Run it once, and wait for its end."""
        await workflow.execute_activity(
            "step",
            start_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=timedelta(seconds=15),
            retry_policy=RetryPolicy(maximum_attempts=1),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )


class Step:
    """Beats until it is cut, or told to end; notes each heartbeat that was taken."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.beat = asyncio.Event()
        self.end = asyncio.Event()
        self.cut_at: float | None = None
        self.why = ""
        self.over = asyncio.Event()

    def _acknowledged(self) -> None:
        self.taken.append(time.monotonic())
        self.beat.set()

    @activity.defn(name="step")
    async def step(self) -> None:
        lifeline = Lifeline(StdoutTail())
        lifeline.acknowledged = self._acknowledged
        try:
            async with lifeline.beating():
                ended = asyncio.ensure_future(self.end.wait())
                await asyncio.wait({lifeline.cut, ended}, return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
                if lifeline.cut.done():
                    self.cut_at = time.monotonic()
                    self.why = lifeline.cut.result()
        finally:
            self.over.set()

    async def next_beat(self, seconds: float = 5) -> None:
        self.beat.clear()
        await asyncio.wait_for(self.beat.wait(), seconds)


@asynccontextmanager
async def stepping(client: Client) -> AsyncIterator[tuple[Step, WorkflowHandle[Any, Any]]]:
    """A step that runs and beats."""
    step, queue = Step(), f"steps-{secrets.token_hex(4)}"
    async with Worker(client, task_queue=queue, workflows=[Stepping], activities=[step.step]):
        handle = await client.start_workflow("Stepping", id=queue, task_queue=queue)
        # With the first one the SDK sends its own, which could learn of a cancellation before us.
        for _ in range(2):
            await step.next_beat(10)
        try:
            yield step, handle
        finally:
            step.end.set()
            await asyncio.wait_for(step.over.wait(), 10)


async def test_each_heartbeat_that_temporal_took_is_told(client: Client) -> None:
    async with stepping(client) as (step, handle):
        for _ in range(3):
            await step.next_beat()
        step.end.set()
        await handle.result()
        taken = len(step.taken)
        await asyncio.sleep(0.7)

    assert taken == len(step.taken) >= 4
    assert step.cut_at is None


@pytest.mark.alone
@pytest.mark.parametrize("way", ["cancel", "terminate"])
async def test_what_temporal_wants_no_more_is_cut_within_a_second(client: Client, way: str) -> None:
    async with stepping(client) as (step, handle):
        began = time.monotonic()
        await (handle.cancel() if way == "cancel" else handle.terminate())
        await asyncio.wait_for(step.over.wait(), 5)

    assert step.cut_at is not None
    assert step.cut_at - began < 1
    assert step.why == (
        "it was cancelled"
        if way == "cancel"
        else "Temporal knows it no more: it was terminated, or timed out"
    )


@pytest.mark.parametrize(
    ("error", "cut"),
    [
        (AsyncActivityCancelledError(), True),
        (RPCError("gone", RPCStatusCode.NOT_FOUND, b""), True),
        (RPCError("no connection", RPCStatusCode.UNAVAILABLE, b""), False),
        (RPCError("too late", RPCStatusCode.DEADLINE_EXCEEDED, b""), False),
        (RPCError("no more", RPCStatusCode.PERMISSION_DENIED, b""), False),
        (RPCError("slower", RPCStatusCode.RESOURCE_EXHAUSTED, b""), False),
    ],
)
async def test_a_heartbeat_that_was_not_taken_renews_nothing_and_the_next_one_follows(
    temporal: Any, error: Exception, *, cut: bool
) -> None:
    temporal.error = error
    lifeline = Lifeline(StdoutTail())
    lifeline.acknowledged = lambda: pytest.fail("nothing was taken")

    async def step() -> None:
        async with lifeline.beating():
            while len(temporal.heartbeats) < 2:  # noqa: ASYNC110  (its own clock is what beats)
                await asyncio.sleep(0.05)

    await asyncio.wait_for(ActivityEnvironment(temporal).run(step), 5)
    assert lifeline.cut.done() is cut
    # Also for what was cut: it is still to tell what it wrote.
    assert len(temporal.heartbeats) >= 2


async def test_the_end_of_the_output_travels_along(temporal: Any) -> None:
    tail = StdoutTail()
    tail.add("now\n")

    async def step() -> None:
        async with Lifeline(tail).beating():
            await asyncio.wait_for(temporal.told.wait(), 5)

    await ActivityEnvironment(temporal).run(step)
    assert temporal.heartbeats[0].stdout_tail == "now\n"


@asynccontextmanager
async def own_server() -> AsyncIterator[tuple[Client, int]]:
    """A Temporal that may be frozen, and its process id."""
    port = free_port()
    command = ["server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec("temporal", *command, stdout=quiet, stderr=quiet)
    try:
        yield await _connected(f"127.0.0.1:{port}"), process.pid
    finally:
        process.kill()
        await process.wait()


async def _connected(address: str) -> Client:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(RuntimeError, RPCError):
                client = await Client.connect(address, data_converter=data_converter)
                await client.count_workflows()  # the namespace comes last
                return client
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parts
async def test_a_frozen_temporal_takes_no_heartbeat_and_cuts_nothing() -> None:
    async with own_server() as (client, pid), stepping(client) as (step, handle):
        os.kill(pid, signal.SIGSTOP)
        try:
            frozen = time.monotonic()
            await asyncio.sleep(ANSWER_SECONDS + 1.5)
            assert [at for at in step.taken if at > frozen + 0.2] == []
            assert step.cut_at is None
        finally:
            os.kill(pid, signal.SIGCONT)
        await step.next_beat(10)
        step.end.set()
        await handle.result()
