"""Whatever dies, freezes, is reset or forged: the IOC receives no write twice or unplanned."""

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import RetryPolicy
from temporalio.service import RPCError

from demo.stack import free_port, process, running_worker
from runpermit.models import PythonServiceResult, Stage
from runpermit.payloads import data_converter
from tests.system.machine import Machine, Own, forwarded, own_gate

pytestmark = pytest.mark.slow

RAMP = (Path(__file__).parent / "programs" / "slow_ramp.py").read_text()
SETPOINT = "SR:HCM5:SP"
PLANNED = 15
LEASE = 1.0
SETTINGS = {"timeouts": {"heartbeat": 3, "retry": 60}, "gate": {"lease": LEASE}}
ANSWERED = frozenset({Stage.AWAITING_RESTORE, Stage.SUCCEEDED, Stage.FAILED, Stage.STOPPED})


@pytest.fixture
def machine(stack: Any) -> Machine:
    return Machine(stack.ring_port)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fragile(stack: Any, open_house: Any) -> AsyncIterator[Own]:
    """A house that notices soon, with a gate of its own; its workers the tests start and end."""
    async with own_gate(stack, open_house, "once", SETTINGS) as own:
        yield own


@dataclass
class Ramp:
    """One approved ramp, and what the IOC has received of it."""

    own: Own
    machine: Machine
    handle: Any
    before: dict[str, int]
    start: float

    async def count(self) -> int:
        """The puts that the IOC has received since the approval, of any channel."""
        return sum((await self.machine.since(self.before)).values())

    async def reaches(self, count: int) -> None:
        """Wait until so many have arrived."""
        async with asyncio.timeout(40):
            while await self.count() < count:  # noqa: ASYNC110  (of the IOC)
                await asyncio.sleep(0.02)

    async def stands(self, after: float = 0.0) -> int:
        """The count, which does not grow any more `after` so many seconds."""
        await asyncio.sleep(after)
        count = await self.count()
        await asyncio.sleep(1.0)
        assert await self.count() == count
        return count

    async def answered(self, within: float = 60) -> Stage:
        """The stage at which it has told what became of it."""
        async with asyncio.timeout(within):
            while True:
                with contextlib.suppress(RPCError):
                    state = await self.own.house.state(self.handle)
                    if state.current_stage in ANSWERED:
                        return Stage(state.current_stage)
                await asyncio.sleep(0.1)

    async def agrees(self, *, uncertain: int = 0) -> int:
        """The IOC's count, which the journal tells as well, and which the plan allows.

        `uncertain`: so many the journal may tell more, that were on their way when the gate died.
        """
        count = await self.count()
        assert count <= PLANNED
        told = forwarded(self.own.journal, self.handle.id).get(SETPOINT, 0)
        assert count <= told <= count + uncertain
        return count

    async def left(self) -> None:
        """Answer MACHINE LEFT CHANGED with leave: nothing is written, and its error tells of it."""
        state = await self.own.house.state(self.handle)
        assert state.pending_restore is not None
        [change] = state.pending_restore.changes
        assert change.channel == SETPOINT
        assert change.before == pytest.approx(self.start)
        assert change.reads == await self.machine.number(SETPOINT)
        count = await self.count()
        await self.handle.signal(f"leave-{state.pending_restore.revision}")
        error = await self.own.house.failure(self.handle)
        assert error.technical_details["verdict"] == "partial"
        assert error.technical_details["left_changed"]
        assert await self.count() == count


Begin = Callable[[], Awaitable[Ramp]]


async def begun(own: Own, machine: Machine) -> Ramp:
    """A ramp that is rehearsed and approved."""
    position = await machine.number(SETPOINT)
    if position > 2:  # of its range
        await machine.set(SETPOINT, 0.0)
        position = 0.0
    handle = await own.house.start(RAMP)
    pending = await own.house.question(handle)
    assert pending.plan.count == PLANNED
    before = await machine.counts()
    await handle.signal(f"approve-{pending.revision}", {"operator": "jd"})
    return Ramp(own, machine, handle, before, position)


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


@pytest.mark.parametrize("writes", [0, 4, PLANNED])
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


@pytest.mark.parametrize("writes", [0, 4, PLANNED])
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


@pytest.mark.parametrize("writes", [0, 4, PLANNED])
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


async def applying(ramp: Ramp) -> Any:
    """The apply that runs, as Temporal knows it."""
    description = await ramp.handle.describe()
    (activity,) = description.raw_description.pending_activities
    return activity


@pytest.mark.parametrize("verb", ["complete", "fail", "reset"])
async def test_an_apply_that_somebody_ends_by_hand(
    fragile: Own, worker_of: Any, begin: Begin, temporal: Any, verb: str
) -> None:
    async with worker_of(fragile.house):
        ramp = await begin()
        await ramp.reaches(3)
        activity = await applying(ramp)
        said = {
            "complete": ("--result", "null"),
            "fail": ("--reason", "by hand"),
            "reset": (),
        }[verb]
        done = temporal(
            *("activity", verb, "--activity-id", activity.activity_id),
            *("--workflow-id", ramp.handle.id, "--namespace", fragile.house.client.namespace),
            *said,
        )
        assert done.returncode == 0, done.stderr
        stage = await ramp.answered()
        stood = await ramp.stands()
        assert await ramp.agrees() == stood
        if stood == PLANNED:  # a reset of an activity is noticed with its next heartbeat
            assert stage is not Stage.FAILED
        if stage is Stage.AWAITING_RESTORE:
            await ramp.left()
        else:
            # What it tells is what the journal tells, and the journal tells of all.
            assert verb == "reset"
            result: PythonServiceResult = await fragile.house.result(ramp.handle)
            assert result.writes is not None
            assert result.writes.forwarded == stood == PLANNED


async def test_a_retry_policy_of_the_caller_is_refused(
    fragile: Own, worker_of: Any, machine: Machine, fresh: str
) -> None:
    before = await machine.counts()
    async with worker_of(fragile.house):
        handle = await fragile.house.client.start_workflow(
            "PythonExecution",
            {
                "user_query": "q",
                "task_objective": "t",
                "execution_folder_name": "retried",
                "approved_code": RAMP,
            },
            id=fresh,
            task_queue="runpermit",
            retry_policy=RetryPolicy(maximum_attempts=3),
        )
        error = await fragile.house.failure(handle)
    assert "retry" in str(error)
    assert await machine.since(before) == {}


async def reset_points(house: Any, handle: Any) -> tuple[str, list[int]]:
    """This very run, and every point to which Temporal can reset it."""
    run_id = (await handle.describe()).run_id
    run = house.client.get_workflow_handle(handle.id, run_id=run_id)
    kind = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    return run_id, [e.event_id async for e in run.fetch_history_events() if e.event_type == kind]


async def reset(house: Any, workflow_id: str, run_id: str, point: int) -> Any:
    """The run that begins at `point` of another one's history."""
    answer = await house.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=house.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            reason="a test of resets",
            request_id=str(uuid.uuid4()),
            workflow_task_finish_event_id=point,
        )
    )
    return house.client.get_workflow_handle(
        workflow_id, run_id=answer.run_id, result_type=PythonServiceResult
    )


async def to_its_end(house: Any, run: Any) -> None:
    """Nobody approves anything any more; what is to be put back is put back."""
    async with asyncio.timeout(60):
        while (await run.describe()).status is WorkflowExecutionStatus.RUNNING:
            with contextlib.suppress(RPCError):
                state = await house.state(run)
                if state.approval_interrupt_data is not None:
                    await run.signal("reject")
                if state.pending_restore is not None:
                    await run.signal(f"restore-{state.pending_restore.revision}")
            await asyncio.sleep(0.2)


async def test_a_stopped_and_restored_ramp_is_neither_repeated_nor_restored_again_wherever_reset(
    fragile: Own, worker_of: Any, begin: Begin
) -> None:
    house = fragile.house
    async with worker_of(house):
        ramp = await begin()
        await ramp.reaches(3)
        await ramp.handle.signal("stop", {"operator": "jd"})
        assert await ramp.answered() is Stage.AWAITING_RESTORE
        state = await house.state(ramp.handle)
        await ramp.handle.signal(f"restore-{state.pending_restore.revision}")
        await house.failure(ramp.handle)
        assert await ramp.machine.number(SETPOINT) == pytest.approx(ramp.start)
        stood = await ramp.count()
        run_id, points = await reset_points(house, ramp.handle)
        for point in points:
            run = await reset(house, ramp.handle.id, run_id, point)
            await to_its_end(house, run)
            assert await ramp.count() == stood, f"reset to event {point} wrote again"


async def test_a_reset_while_it_asks_what_to_restore_writes_nothing_but_what_restores(
    fragile: Own, worker_of: Any, begin: Begin
) -> None:
    house = fragile.house
    async with worker_of(house):
        ramp = await begin()
        await ramp.reaches(3)
        for kernel in house.kernels():
            os.kill(kernel, signal.SIGKILL)
        assert await ramp.answered() is Stage.AWAITING_RESTORE
        stood = await ramp.count()
        run_id, points = await reset_points(house, ramp.handle)
        run = await reset(house, ramp.handle.id, run_id, points[-1])
        async with asyncio.timeout(30):
            while (state := await house.state(run)).pending_restore is None:
                assert not state.current_stage.is_final, state.failure_reason
                await asyncio.sleep(0.1)
        assert await ramp.count() == stood
        await run.signal(f"restore-{state.pending_restore.revision}")
        await house.failure(run)
        assert await ramp.machine.number(SETPOINT) == pytest.approx(ramp.start)
        assert await ramp.count() == stood + 1


async def test_a_reset_while_it_rehearses_needs_an_approval_of_its_own(
    fragile: Own, worker_of: Any, machine: Machine
) -> None:
    house = fragile.house
    async with worker_of(house):
        before = await machine.counts()
        handle = await house.start(RAMP)
        await house.reach(handle, Stage.REHEARSING)
        run_id, points = await reset_points(house, handle)
        run = await reset(house, handle.id, run_id, points[-1])
        pending = await house.question(run)
        await run.signal("approve")  # one that names no revision
        state = await house.state(run)
        assert state.approval_interrupt_data is not None
        assert state.approval_interrupt_data.sha256 == pending.sha256
        await to_its_end(house, run)
        assert await machine.since(before) == {}


async def test_a_reset_while_it_applies_ends_the_ramp_and_begins_none(
    fragile: Own, worker_of: Any, begin: Begin
) -> None:
    house = fragile.house
    async with worker_of(house):
        ramp = await begin()
        await ramp.reaches(3)
        run_id, points = await reset_points(house, ramp.handle)
        run = await reset(house, ramp.handle.id, run_id, points[-1])
        await to_its_end(house, run)
        stood = await ramp.stands()
        assert stood < PLANNED
        assert await ramp.machine.number(SETPOINT) == pytest.approx(ramp.start)
        assert forwarded(fragile.journal, ramp.handle.id) == {SETPOINT: stood}


async def test_a_finished_ramp_is_not_repeated_wherever_it_is_reset(
    fragile: Own, worker_of: Any, begin: Begin
) -> None:
    house = fragile.house
    async with worker_of(house):
        ramp = await begin()
        result = await house.result(ramp.handle)
        assert result.writes.forwarded == await ramp.agrees() == PLANNED
        run_id, points = await reset_points(house, ramp.handle)
        for point in points:
            run = await reset(house, ramp.handle.id, run_id, point)
            await to_its_end(house, run)
            assert await ramp.count() == PLANNED, f"reset to event {point} wrote again"
