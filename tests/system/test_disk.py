"""A full and a read-only disk, made real in a mount namespace of the worker's own."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from demo.stack import process
from runpermit.models import Stage, Verdict

pytestmark = pytest.mark.slow

FILL = "cat /dev/zero > {root}/filler 2>/dev/null; true"
STEP = 'write_channel("SR:HCM6:SP", 0.1)\nresults = {"sp": 0.1}'


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cramped(open_house: Any) -> AsyncIterator[tuple[Any, Callable[[str], None]]]:
    """A house on a disk of 2 MB, and a way to run commands where that disk is mounted."""
    if os.geteuid() != 0:
        pytest.skip("root is missing: mounting a small disk needs it; run as root")
    house = await open_house("cramped", {"approval": {"mode": "all_code"}})
    root = house.stack.executions
    root.mkdir()
    mount = f"mount -t tmpfs -o size=2m tmpfs {root} && exec {sys.executable} worker.py"
    async with process(
        *("worker", "unshare", "-m", "sh", "-c", mount),
        directory=house.stack.directory,
        environment=house.stack.environment,
    ) as (worker, _):

        def on_the_disk(command: str) -> None:
            inside = ["nsenter", "-t", str(worker.pid), "-m", "sh", "-c", command]
            subprocess.run(inside, check=True, timeout=30)

        yield house, on_the_disk


@pytest.fixture
def fill(cramped: Any) -> Callable[[], None]:
    house, on_the_disk = cramped
    return lambda: on_the_disk(FILL.format(root=house.stack.executions))


@pytest.fixture
def make_room(cramped: Any) -> Callable[[], None]:
    house, on_the_disk = cramped
    return lambda: on_the_disk(f"rm -f {house.stack.executions}/filler")


async def test_a_full_disk_is_waited_for(
    cramped: Any, fill: Any, make_room: Any, eventually: Any
) -> None:
    house, _ = cramped
    fill()
    handle = await house.start("results = {}")

    async def failing() -> Any:
        activities = (await handle.describe()).raw_description.pending_activities
        return activities and activities[0].attempt > 1 and activities[0]

    activity = await eventually(failing)
    assert activity.activity_type.name == "prepare"
    failure = activity.last_failure
    assert failure.application_failure_info.type == "ServiceUnavailableError"
    assert not failure.application_failure_info.non_retryable
    assert "The disk is full" in failure.message
    assert str(house.stack.executions) in failure.message
    make_room()
    pending = await house.question(handle)
    await handle.signal(f"approve-{pending.revision}")
    assert (await house.result(handle)).execution_result.results == {}


async def test_a_disk_that_fills_up_while_a_reading_program_runs_is_waited_for(
    cramped: Any, fill: Any, make_room: Any, eventually: Any, read_current: str
) -> None:
    house, _ = cramped
    handle = await house.start(read_current)
    pending = await house.question(handle)
    fill()
    await handle.signal(f"approve-{pending.revision}")

    async def failing() -> Any:
        activities = (await handle.describe()).raw_description.pending_activities
        return activities and activities[0].attempt > 1 and activities[0]

    activity = await eventually(failing)
    assert activity.activity_type.name == "execute"
    assert "The disk is full" in activity.last_failure.message
    make_room()
    assert (await house.result(handle)).execution_result.results["current"] > 0


async def test_a_disk_that_fills_up_never_makes_a_write_happen_twice(
    cramped: Any, fill: Any, make_room: Any, eventually: Any, ring: Any
) -> None:
    house, _ = cramped
    before = ring.puts()[5]
    handle = await house.start(STEP, restore="never")
    pending = await house.question(handle)
    fill()
    await handle.signal(f"approve-{pending.revision}")
    await eventually(lambda: ring.puts()[5] == before + 1)

    async def concluding() -> Any:
        activities = (await handle.describe()).raw_description.pending_activities
        return activities and activities[0].activity_type.name == "conclude"

    await eventually(concluding)
    make_room()
    error = await house.failure(handle)
    assert error.stage == Stage.APPLYING
    assert "It wrote all that it was to write. What else came of it was lost." in str(error)
    assert "The disk is full" in str(error)
    assert error.technical_details["verdict"] == Verdict.COMPLETED
    assert error.technical_details["forwarded"] == 1
    assert ring.puts()[5] == before + 1


async def test_a_read_only_disk_is_a_setting_to_mend(cramped: Any) -> None:
    house, on_the_disk = cramped
    root = house.stack.executions
    on_the_disk(f"mount -o remount,ro {root}")
    try:
        error = await house.run_to_failure("results = {}")
    finally:
        on_the_disk(f"mount -o remount,rw {root}")
    assert type(error).__name__ == "ContainerConfigurationError"
    assert "executions.root" in str(error)
    assert str(root) in str(error)
    handle = await house.start("results = {}")
    pending = await house.question(handle)
    await handle.signal(f"approve-{pending.revision}")
    assert (await house.result(handle)).execution_result.results == {}
