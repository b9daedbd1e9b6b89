"""Whatever dies or freezes: the IOC receives no write twice, and none that was not planned."""

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError

from demo.stack import free_port, process, running_worker
from gate.journal.reading import records
from runpermit.models import Stage
from runpermit.payloads import data_converter
from tests.system.machine import Machine, Own
from tests.system.ramps import LEASE, PLANNED, Ramp, begun, fragile_house

pytestmark = pytest.mark.slow

Begin = Callable[[], Awaitable[Ramp]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fragile(stack: Any, open_house: Any) -> AsyncIterator[Own]:
    async with fragile_house(stack, open_house, "once") as own:
        yield own


@pytest.fixture
def begin(fragile: Own, machine: Machine) -> Begin:
    return lambda: begun(fragile, machine)


async def kernel_runs(ramp: Ramp) -> None:
    """Wait until the program runs, and has written nothing."""
    await ramp.own.house.reach(ramp.handle, Stage.APPLYING)
    async with asyncio.timeout(20):
        while not ramp.own.house.kernels():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await ramp.count() == 0


# Before, between and after its writes; whoever it is that dies, all three in `make soak`.
MOMENTS = [0, 4, PLANNED]
BETWEEN = [pytest.param(n, marks=() if n == MOMENTS[1] else pytest.mark.soak) for n in MOMENTS]


@pytest.mark.parametrize("writes", MOMENTS)
async def test_a_worker_that_is_killed(
    fragile: Own, worker_of: Any, begin: Begin, writes: int
) -> None:
    async with worker_of(fragile.house) as worker:
        ramp = await begin()
        await (ramp.reaches(writes) if writes else kernel_runs(ramp))
        worker.kill()
        await worker.wait()
        # The gate has noticed at once; whoever goes on in a kernel goes on for nothing.
        stood = await ramp.stands(after=0.3)
        assert stood <= writes + 2
    async with worker_of(fragile.house):
        stage = await ramp.answered()
        if stood == 0:
            # It is proven that nothing was written: it may be applied once more.
            assert stage is Stage.SUCCEEDED
            assert await ramp.agrees() == PLANNED
            return
        assert stage is Stage.AWAITING_RESTORE
        assert await ramp.agrees() == stood
        await ramp.left()


@pytest.mark.parametrize("writes", BETWEEN)
async def test_a_kernel_that_is_killed(
    fragile: Own, worker_of: Any, begin: Begin, writes: int
) -> None:
    async with worker_of(fragile.house):
        ramp = await begin()
        await (ramp.reaches(writes) if writes else kernel_runs(ramp))
        for kernel in fragile.house.kernels():
            os.kill(kernel, signal.SIGKILL)
        stage = await ramp.answered()
        stood = await ramp.agrees()
        assert stood <= writes + 2 or stage is Stage.SUCCEEDED
        if stage is Stage.AWAITING_RESTORE:
            await ramp.left()
        else:
            assert stood in {0, PLANNED}
            assert writes == 0


@pytest.mark.parametrize("writes", BETWEEN)
async def test_a_gate_that_is_killed(
    fragile: Own, worker_of: Any, begin: Begin, writes: int
) -> None:
    async with worker_of(fragile.house):
        ramp = await begin()
        await (ramp.reaches(writes) if writes else kernel_runs(ramp))
        os.kill(fragile.gate.pid, signal.SIGKILL)
        stage = await ramp.answered()
        stood = await ramp.agrees(uncertain=1)
        if writes:
            assert stage is Stage.AWAITING_RESTORE
            assert writes <= stood <= writes + 1
            await ramp.left()
        else:
            assert (stage, stood) in {(Stage.SUCCEEDED, PLANNED), (Stage.FAILED, 0)}


def completed(own: Own, execution: str) -> bool:
    """Whether the gate has heard that the program came to its end."""
    return any(
        record["event"] == "session_closed"
        and record["execution"] == execution
        and "permit" in record
        and record["completed"]
        for record in records(own.journal)
    )


async def test_a_worker_that_is_killed_before_it_can_tell_of_its_end(
    fragile: Own, worker_of: Any, begin: Begin
) -> None:
    async with worker_of(fragile.house) as worker:
        ramp = await begin()
        await ramp.reaches(PLANNED)
        async with asyncio.timeout(20):
            while not completed(fragile, ramp.handle.id):  # noqa: ASYNC110  (of a file)
                await asyncio.sleep(0.002)
        worker.kill()
        await worker.wait()
    async with worker_of(fragile.house):
        stage = await ramp.answered()
        assert await ramp.agrees() == PLANNED
        if stage is Stage.SUCCEEDED:  # what it left in the folder was enough
            result = await fragile.house.result(ramp.handle)
            assert result.writes.forwarded == PLANNED
        else:
            assert stage is Stage.AWAITING_RESTORE
            state = await fragile.house.state(ramp.handle)
            await ramp.handle.signal(f"leave-{state.pending_restore.revision}")
            error = await fragile.house.failure(ramp.handle)
            assert error.technical_details["verdict"] == "completed"


async def test_a_worker_that_freezes_in_a_ramp_and_thaws_after_its_heartbeat_timeout(
    fragile: Own, worker_of: Any, begin: Begin
) -> None:
    async with worker_of(fragile.house) as worker:
        ramp = await begin()
        await ramp.reaches(3)
        worker.send_signal(signal.SIGSTOP)
        try:
            # Its kernel still runs; the gate lets it write until the lease ends.
            stood = await ramp.stands(after=LEASE + 0.7)
            assert stood < PLANNED
            await asyncio.sleep(3.5)  # past the heartbeat timeout
        finally:
            worker.send_signal(signal.SIGCONT)
        assert await ramp.answered() is Stage.AWAITING_RESTORE
        assert await ramp.agrees() == stood
        await ramp.left()


def process_of(*words: str) -> int:
    """The process in whose command line all these words stand."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().split(b"\0")
                if all(word.encode() in command for word in words):
                    found.append(int(entry.name))
    (one,) = found
    return one


async def test_a_temporal_server_that_freezes_in_a_ramp(
    fragile: Own, worker_of: Any, begin: Begin
) -> None:
    port = fragile.house.stack.address.rpartition(":")[2]
    server = process_of("start-dev", port)
    async with worker_of(fragile.house):
        ramp = await begin()
        await ramp.reaches(3)
        os.kill(server, signal.SIGSTOP)
        try:
            # Nobody acknowledges heartbeats, so nobody renews the lease.
            stood = await ramp.stands(after=LEASE + 2.7)
            assert stood < PLANNED
        finally:
            os.kill(server, signal.SIGCONT)
        assert await ramp.answered() is Stage.AWAITING_RESTORE
        assert await ramp.agrees() == stood
        await ramp.left()


@asynccontextmanager
async def database_server(directory: Path, port: int) -> AsyncIterator[Any]:
    """A Temporal server that remembers in a file, and so can be started again."""
    command = (_temporal(), "server", "start-dev", "--ip", "127.0.0.1")
    options = ("--port", str(port), "--headless", "--log-level", "error")
    file = ("--db-filename", str(directory / "temporal.db"))
    async with process(
        "temporal-db",
        *(*command, *options, *file),
        directory=directory,
        environment=os.environ,
        ready=None,
    ) as (child, _):
        yield child


def _temporal() -> str:
    found = shutil.which("temporal", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert found is not None
    return found


async def connected(address: str) -> Client:
    """A client of a server that may take its time to come up."""
    async with asyncio.timeout(30):
        while True:
            try:
                client = await Client.connect(address, data_converter=data_converter)
                # It listens before its namespaces are there.
                await client.count_workflows()
            except (RuntimeError, RPCError):
                await asyncio.sleep(0.1)
            else:
                return client


async def test_a_temporal_server_that_is_killed_in_a_ramp_and_started_again(
    fragile: Own, machine: Machine, tmp_path: Path
) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    there = {"TEMPORAL_ADDRESS": address, "TEMPORAL_NAMESPACE": "default"}
    stack = dataclasses.replace(
        fragile.house.stack, environment={**fragile.house.stack.environment, **there}
    )
    async with AsyncExitStack() as running:
        server = await running.enter_async_context(database_server(tmp_path, port))
        client = await connected(address)
        house = dataclasses.replace(fragile.house, name="restarted", client=client, stack=stack)
        own = Own(house, fragile.gate)
        await running.enter_async_context(running_worker(stack))
        ramp = await begun(own, machine)
        await ramp.reaches(3)
        server.kill()
        await server.wait()
        stood = await ramp.stands(after=LEASE + 2.7)
        assert stood < PLANNED
        await running.enter_async_context(database_server(tmp_path, port))
        await connected(address)
        assert await ramp.answered() is Stage.AWAITING_RESTORE
        assert await ramp.agrees() == stood
        await ramp.left()


async def test_a_termination_in_a_ramp(fragile: Own, worker_of: Any, begin: Begin) -> None:
    async with worker_of(fragile.house):
        ramp = await begin()
        await ramp.reaches(3)
        await ramp.handle.terminate("the server's administrator")
        at_once = await ramp.count()
        stood = await ramp.stands(after=1.0)
        assert stood <= at_once + 5  # a second's worth
        assert await ramp.agrees() == stood
        # The gate knows it as left changed, and another execution can have the channel.
        again = await begin()
        assert await again.answered() is Stage.SUCCEEDED
        assert await again.agrees() == PLANNED


async def test_two_workers_of_which_the_writing_one_dies(
    fragile: Own, worker_of: Any, begin: Begin
) -> None:
    async with worker_of(fragile.house) as first, worker_of(fragile.house) as second:
        ramp = await begin()
        await ramp.reaches(3)
        kernels = {pid: await _worker_above(pid) for pid in _kernels_of(first.pid, second.pid)}
        writing = next(iter(kernels.values()))
        victim = first if first.pid == writing else second
        victim.kill()
        await victim.wait()
        stood = await ramp.stands(after=0.3)
        assert await ramp.answered() is Stage.AWAITING_RESTORE
        assert await ramp.agrees() == stood
        await ramp.left()


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in listed.split()]
    return []


def _kernels_of(*workers: int) -> list[int]:
    """The children of the workers that have a program under them."""
    return [child for worker in workers for child in _children(worker) if _children(child)]


async def _worker_above(pid: int) -> int:
    status = await asyncio.to_thread(Path(f"/proc/{pid}/status").read_text)
    (line,) = (line for line in status.splitlines() if line.startswith("PPid:"))
    return int(line.split()[1])
