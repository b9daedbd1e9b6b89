"""Workers that die, operators who stop, callers who cancel: nothing is left or done twice."""
# ruff: noqa: ASYNC240  (a test may wait for its own disk)

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from runpermit.models import Stage, Verdict

# From the Web UI or a signal, to the end of the kernel.
STOP_SECONDS = 2.0
ENDLESS = "import time\nprint('started', flush=True)\nwhile True:\n    time.sleep(0.1)\n"
SLOW_READ = """\
import time
time.sleep(3)
results = {"current": float(read_channel("SR:BEAM:CURRENT"))}
"""
STEP = 'write_channel("SR:HCM4:SP", 0.1)\nresults = {}'
LONG_WRITE = (
    'import time\nwrite_channel("SR:HCM5:SP", read_channel("SR:HCM5:SP") + 0.01)\n'
    'print("written", flush=True)\n'
    "for _ in range(3000):\n    time.sleep(0.1)\n"
    "results = {}\n"
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fragile(open_house: Any) -> Any:
    """A house whose workers the tests end, noticed soon."""
    return await open_house("fragile", {"timeouts": {"heartbeat": 2}})


@pytest.mark.slow
async def test_a_worker_killed_while_reading_is_replaced(
    fragile: Any, worker_of: Any, eventually: Any
) -> None:
    async with worker_of(fragile) as first:
        handle = await fragile.start(SLOW_READ)
        await eventually(fragile.kernels)
        await fragile.reach(handle, Stage.EXECUTING)
        first.kill()
        await first.wait()
        await eventually(lambda: not fragile.kernels(), within=10)
    async with worker_of(fragile):
        result = await asyncio.wait_for(fragile.result(handle), 60)
    assert result.execution_result.results["current"] > 0
    assert result.generation_attempt == 1


@pytest.mark.slow
async def test_a_worker_killed_while_writing_is_not_replaced(
    fragile: Any, worker_of: Any, ring: Any, eventually: Any
) -> None:
    before = ring.puts()[4]
    async with worker_of(fragile) as first:
        handle = await fragile.start(LONG_WRITE)
        pending = await fragile.question(handle)
        await handle.signal(f"approve-{pending.revision}")
        await eventually(lambda: ring.puts()[4] == before + 1)
        first.kill()
        await first.wait()
        await eventually(lambda: not fragile.kernels(), within=10)
    async with worker_of(fragile):
        state = await fragile.reach(handle, Stage.AWAITING_RESTORE, within=60)
        question = state.pending_restore
        [change] = question.changes
        assert change.channel == "SR:HCM5:SP"
        await handle.signal(f"leave-{question.revision}", {"operator": "jd"})
        error = await asyncio.wait_for(fragile.failure(handle), 60)
    assert type(error).__name__ == "WorkflowError"
    assert error.stage == Stage.APPLYING
    assert "look at the machine" in str(error)
    assert error.technical_details["verdict"] == Verdict.PARTIAL
    assert error.technical_details["forwarded"] == 1
    assert error.technical_details["left_changed"] == [str(change)]
    assert ring.puts()[4] == before + 1


@pytest.mark.slow
async def test_a_question_outlives_its_worker(fragile: Any, worker_of: Any, ring: Any) -> None:
    before = ring.puts()[3]
    async with worker_of(fragile) as first:
        handle = await fragile.start(STEP)
        pending = await fragile.question(handle)
        first.kill()
        await first.wait()
    # Nobody is there to listen; the server keeps the answer.
    await handle.signal(f"approve-{pending.revision}", {"operator": "jd"})
    async with worker_of(fragile):
        result = await asyncio.wait_for(fragile.result(handle), 60)
    assert result.decisions[0].operator == "jd"
    assert ring.puts()[3] == before + 1


@pytest.mark.slow
async def test_a_worker_told_to_end_leaves_no_kernel(
    fragile: Any, worker_of: Any, eventually: Any
) -> None:
    async with worker_of(fragile) as worker:
        handle = await fragile.start(ENDLESS)
        (kernel,) = await eventually(fragile.kernels)
        await fragile.reach(handle, Stage.EXECUTING)
        worker.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(worker.wait(), 15)
        assert status == 0
        assert not Path(f"/proc/{kernel}").exists()
        assert not fragile.kernels()
    await handle.terminate("the test is over")


@pytest.mark.slow
async def test_a_worker_that_frees_its_work_on_sigterm_is_succeeded_at_once(
    fragile: Any, worker_of: Any, eventually: Any
) -> None:
    async with worker_of(fragile) as worker:
        handle = await fragile.start(SLOW_READ)
        await eventually(fragile.kernels)
        worker.send_signal(signal.SIGTERM)
        await asyncio.wait_for(worker.wait(), 15)
    async with worker_of(fragile):
        result = await asyncio.wait_for(fragile.result(handle), 60)
    assert result.execution_result.results["current"] > 0


RAMP = """
import time
for step in range(10):
    write_channel("SR:HCM5:SP", 0.01 * (step + 1))
    time.sleep(1)
results = {}
"""


async def ramping(fragile: Any, ring: Any, eventually: Any) -> tuple[Any, int]:
    """An approved ramp whose first write has arrived, and the puts before it."""
    before = ring.puts()[4]
    handle = await fragile.start(RAMP)
    pending = await fragile.question(handle)
    await handle.signal(f"approve-{pending.revision}", {"operator": "jd"})
    await eventually(lambda: ring.puts()[4] > before, within=60)
    return handle, before


@pytest.mark.slow
async def test_a_worker_told_to_end_lets_a_ramp_come_to_its_end(
    fragile: Any, worker_of: Any, ring: Any, eventually: Any
) -> None:
    async with worker_of(fragile) as worker:
        handle, before = await ramping(fragile, ring, eventually)
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(worker.wait(), 60) == 0
    assert ring.puts()[4] == before + 10
    async with worker_of(fragile):
        result = await asyncio.wait_for(fragile.result(handle), 60)
    assert result.writes.forwarded == 10
    assert ring.puts()[4] == before + 10


@pytest.mark.slow
async def test_a_worker_told_twice_ends_at_once_and_the_next_one_settles(
    fragile: Any, worker_of: Any, ring: Any, eventually: Any
) -> None:
    async with worker_of(fragile) as worker:
        handle, before = await ramping(fragile, ring, eventually)
        worker.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)  # two signals at once are one
        worker.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(worker.wait(), 15) == 1
        assert not fragile.kernels()
    async with worker_of(fragile):
        question = (await fragile.reach(handle, Stage.AWAITING_RESTORE)).pending_restore
        await handle.signal(f"leave-{question.revision}", {"operator": "jd"})
        error = await asyncio.wait_for(fragile.failure(handle), 60)
    assert error.technical_details["verdict"] == Verdict.PARTIAL
    written = ring.puts()[4] - before
    assert error.technical_details["forwarded"] == written < 10


@pytest.mark.alone
async def test_stop_ends_the_kernel_soon(house: Any, eventually: Any) -> None:
    handle = await house.start(ENDLESS)
    await eventually(house.kernels)
    await house.reach(handle, Stage.EXECUTING)
    sent = time.monotonic()
    await handle.signal("stop", {"operator": "jd", "comment": "beam dump test"})
    await eventually(lambda: not house.kernels(), every=0.02, within=30)
    assert time.monotonic() - sent < 3 * STOP_SECONDS
    error = await house.failure(handle)
    state = await house.state(handle)
    assert type(error).__name__ == "WorkflowError"
    assert error.stage == Stage.STOPPED
    assert "jd" in str(error)
    assert "beam dump test" in str(error)
    assert state.current_stage is Stage.STOPPED
    assert state.decisions[0].accepted
    assert (error.folder_path / "notebook.ipynb").is_file()


@pytest.mark.alone
async def test_temporals_cancel_ends_the_kernel_soon(house: Any, eventually: Any) -> None:
    handle = await house.start(ENDLESS)
    await eventually(house.kernels)
    await house.reach(handle, Stage.EXECUTING)
    sent = time.monotonic()
    await handle.cancel()
    await eventually(lambda: not house.kernels(), every=0.02, within=30)
    assert time.monotonic() - sent < 3 * STOP_SECONDS
    error = await house.failure(handle)
    assert error.stage == Stage.STOPPED
    assert (await handle.describe()).status.name == "CANCELED"
    assert (await house.state(handle)).current_stage is Stage.STOPPED


async def test_a_stop_counts_while_a_question_waits(house: Any, ring: Any) -> None:
    before = ring.puts()
    handle = await house.start(STEP)
    await house.question(handle)
    await handle.signal("stop", "any payload at all")
    assert (await house.failure(handle)).stage == Stage.STOPPED
    assert ring.puts() == before


async def test_a_stop_that_comes_with_the_start_lets_nothing_run(house: Any, fresh: str) -> None:
    handle = await house.client.start_workflow(
        "PythonExecution",
        {
            "user_query": "q",
            "task_objective": "t",
            "execution_folder_name": "never",
            "approved_code": ENDLESS,
        },
        id=fresh,
        task_queue="runpermit",
        start_signal="stop",
    )
    assert (await house.failure(handle)).stage == Stage.STOPPED
    assert not list(house.stack.executions.glob("*/never_*/attempts/*"))


async def test_a_terminated_execution_loses_its_kernel(house: Any, eventually: Any) -> None:
    handle = await house.start(ENDLESS)
    await eventually(house.kernels)
    await house.reach(handle, Stage.EXECUTING)
    await handle.terminate("the server's administrator")
    await eventually(lambda: not house.kernels(), within=5)
    assert (await house.failure(handle)).stage == "terminated"


@pytest.mark.slow
async def test_a_ramp_far_longer_than_the_heartbeat_timeout_comes_to_its_end(
    fragile: Any, worker_of: Any, ring: Any, eventually: Any
) -> None:
    async with worker_of(fragile):
        handle, before = await ramping(fragile, ring, eventually)
        await asyncio.wait_for(fragile.result(handle), 60)
    assert ring.puts()[4] == before + 10
