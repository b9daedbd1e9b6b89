"""Guards, stop, verify and restore through the gate's own process, seen at the IOC.

The deadlines are the design's, times three: 100 ms for a guard that is violated and for a stop,
1.5 s for a guard's IOC that freezes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gate.channel_access.frames import Command, pack
from gate.channel_access.values import Dbr, encode
from runpermit.errors import PlanOutdatedError, ServiceUnavailableError, WorkflowError
from runpermit.limits import Condition
from tests.gate.giving_permits import planned
from tests.gate.punctual import Span, in_time
from tests.gate.raw_client import EndedError

pytestmark = pytest.mark.parts
CHANGE_SECONDS = 3 * 0.1
FREEZE_SECONDS = 3 * 1.5
MOVING_SECONDS = 60
STEP_SECONDS = 2
GUARD = """
[[gate.guards]]
channel = "G:PERMIT"
op = "=="
value = "yes"
"""


class Writing:
    """A program that writes without a pause until its circuit ends."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def write(self, kernel: Any, name: str) -> None:
        client = await kernel.circuit()
        channel = await client.open(name)
        try:
            for number in range(1_000_000):
                if (await client.put_number(channel, number)).violation is None:
                    self.begun.set()
        except EndedError:
            self.ended.set()


@asynccontextmanager
async def writing(kernel: Any, name: str) -> AsyncIterator[Writing]:
    found = Writing()
    task = asyncio.create_task(found.write(kernel, name))
    try:
        async with asyncio.timeout(30):
            await found.begun.wait()
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("disturb", "seconds"),
    [("set", CHANGE_SECONDS), ("freeze", FREEZE_SECONDS), ("kill", FREEZE_SECONDS)],
)
@pytest.mark.slow
@pytest.mark.alone
async def test_a_violated_guard_ends_the_session_in_time(
    machine: Any, start_ioc: Any, start_gate: Any, disturb: str, seconds: float
) -> None:
    async def ending() -> Span:
        with start_ioc("--prefix", "G:") as ioc, start_gate(machine, ioc, serve=False) as gate:
            settings = gate.folder / "runpermit.toml"
            settings.write_text(settings.read_text() + GUARD)
            with gate.serving():
                async with gate.session() as kernel, writing(kernel, "T:AO") as program:
                    if disturb == "set":
                        await ioc.set("G:PERMIT", 0)
                    else:
                        getattr(ioc, disturb)()
                    at = time.monotonic()
                    async with asyncio.timeout(30):
                        await program.ended.wait()
                    ended = time.monotonic()
                    puts = await machine.value("T:AO:PUTS")
                    report = await kernel.session.close()
                    assert await machine.value("T:AO:PUTS") == puts
            assert report.ended.startswith("The guard G:PERMIT == 'yes' ")
            return at, ended

    await in_time(ending, seconds)


@pytest.mark.alone
async def test_a_session_that_only_waits_ends_by_its_guards_too(gate: Any, machine: Any) -> None:
    guard = Condition.model_validate({"channel": "T:AO2", "op": "<", "value": 5})

    async def ending() -> Span:
        await machine.set("T:AO2", 1)
        async with gate.session(guards=[guard]) as kernel:
            client = await kernel.circuit()
            await client.open("T:AO")
            await machine.set("T:AO2", 7)
            at = time.monotonic()
            assert await client.ended()
            ended = time.monotonic()
            report = await kernel.session.close()
        assert report.ended == "The guard T:AO2 < 5 does not hold: it reads 7."
        return at, ended

    await in_time(ending, CHANGE_SECONDS)
    # And none is opened while it does not hold.
    with pytest.raises(PlanOutdatedError, match="T:AO2 < 5"):
        async with gate.session(guards=[guard]):
            pass


async def reads(machine: Any, name: str, wanted: Callable[[Any], bool]) -> None:
    """Wait until a channel reads at the IOC what is `wanted`."""
    async with asyncio.timeout(30):
        while not wanted(await machine.value(name)):  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def moving(gate: Any, machine: Any, **fields: Any) -> AsyncIterator[Any]:
    """A session whose put to a slow record is not answered for long."""
    gate.set_limits({"T:SLOW.A": {"stop": {"channel": "T:LO", "value": 9}}, "T:AO2": {}})
    for channel, value in (("T:LO", 0), ("T:AO2", 1), ("T:SLOW.ODLY", MOVING_SECONDS)):
        await machine.set(channel, value)
    try:
        async with gate.session(**{"execution": f"moving {time.time()}"} | fields) as kernel:
            client = await kernel.circuit()
            channel = await client.open("T:SLOW.A")
            payload = encode(Dbr.DOUBLE, (time.time(),))
            client.send(pack(Command.WRITE_NOTIFY, Dbr.DOUBLE, 1, channel.sid, 5, payload))
            # The answer to a read behind it: it has left the gate.
            await client.value(channel)
            yield kernel
    finally:
        await machine.set("T:SLOW.ODLY", 1)


async def stopped(machine: Any) -> None:
    """Wait until the stop channel was written."""
    await reads(machine, "T:LO", lambda value: value == 9)


async def stops_in_time(
    gate: Any,
    machine: Any,
    disturb: Callable[[Any], Awaitable[object]],
    within: float = CHANGE_SECONDS,
    **fields: Any,
) -> None:
    """Assert that what moves is stopped `within` seconds of what `disturb` does to its session."""

    async def stopping() -> Span:
        async with moving(gate, machine, **fields) as kernel:
            start = time.monotonic()
            await disturb(kernel)
            await stopped(machine)
            return start, time.monotonic()

    await in_time(stopping, within)


@pytest.mark.alone
@pytest.mark.parametrize("whose", ["its own", "all"])
async def test_a_stop_ends_all_writing_in_time_and_for_good(
    gate: Any, machine: Any, whose: str
) -> None:
    everything = whose == "all"

    async def ending() -> Span:
        execution = f"stopped {time.time()}"
        async with (
            gate.session(execution=execution) as kernel,
            gate.session(execution=f"other {time.time()}") as other,
            writing(kernel, "T:AO") as program,
            writing(other, "T:AO2") as bystander,
        ):
            at = time.monotonic()
            stopped = await gate.client.stop(None if everything else execution, "jd", "smoke")
            assert kernel.session.identity in stopped
            assert (other.session.identity in stopped) is everything
            async with asyncio.timeout(30):
                await program.ended.wait()
                ended = time.monotonic()
                if everything:
                    await bystander.ended.wait()
            puts = await machine.value("T:AO:PUTS")
            report = await kernel.session.close()
            assert report.ended == "stopped by jd: smoke"
            assert bystander.ended.is_set() is everything
        assert await machine.value("T:AO:PUTS") == puts
        with pytest.raises(WorkflowError, match="was stopped"):
            async with gate.session(execution=execution):
                pass
        return at, ended

    await in_time(ending, CHANGE_SECONDS)


@pytest.mark.alone
async def test_a_stop_writes_the_stop_channels_of_what_is_under_way(
    gate: Any, machine: Any
) -> None:
    async def stop(kernel: Any) -> None:
        session = kernel.session.identity
        opened = await gate.journalled("session_opened", session=session)
        assert await gate.client.stop(opened["execution"], "jd", "smoke") == [session]
        record = await gate.journalled("stop_write", session=session)
        assert (record["channel"], record["value"], record["stops"]) == ("T:LO", 9, ["T:SLOW.A"])

    await stops_in_time(gate, machine, stop)


async def test_broken_limits_do_not_hinder_a_stop(gate: Any, machine: Any) -> None:
    async with moving(gate, machine, execution="unhindered"):
        gate.set_limits("{")
        await gate.client.stop("unhindered", "jd", "")
        await stopped(machine)


@pytest.mark.slow
@pytest.mark.alone
async def test_a_worker_that_is_lost_or_frozen_leaves_nothing_moving(
    gate: Any, machine: Any, start_gate: Any
) -> None:
    async def lost() -> Span:
        async with moving(gate, machine):
            start = time.monotonic()  # its connection ends, as that of a killed one does
        await stopped(machine)
        return start, time.monotonic()

    async def freeze(_: Any) -> None:
        pass  # it does not renew its lease

    await in_time(lost, 1)
    with start_gate(machine, gate={"lease": 1}) as short:
        await stops_in_time(short, machine, freeze, 2.5, self_renewing=False)


@pytest.mark.alone
async def test_a_guard_leaves_nothing_moving(gate: Any, machine: Any) -> None:
    guard = Condition.model_validate({"channel": "T:AO2", "op": "<", "value": 5})

    async def violate(_: Any) -> None:
        await machine.set("T:AO2", 7)

    await stops_in_time(gate, machine, violate, guards=[guard])


async def test_a_program_that_came_to_its_end_is_not_stopped(gate: Any, machine: Any) -> None:
    async with moving(gate, machine) as kernel:
        await kernel.session.close(completed=True)
        assert await machine.value("T:LO") == 0


async def test_what_was_answered_is_not_stopped(gate: Any, machine: Any) -> None:
    gate.set_limits({"T:AO": {"stop": {"channel": "T:LO", "value": 9}}})
    await machine.set("T:LO", 0)
    async with gate.session(execution="answered") as kernel:
        client = await kernel.circuit()
        assert (await client.put_number(await client.open("T:AO"), time.time())).status == 1
        await gate.client.stop("answered", "jd", "")
        await kernel.session.close()
    assert await machine.value("T:LO") == 0


async def applied(gate: Any, execution: str, **values: float) -> str:
    """Apply a plan for these channels, and come to its end; the permit's id."""
    writes = [(name.replace("_", ":"), value) for name, value in values.items()]
    permit = await gate.permit(planned(writes, dict.fromkeys(dict(writes), 1.0)), execution)
    async with gate.session(execution=execution, permit=permit) as kernel:
        client = await kernel.circuit()
        for name, value in writes:
            assert (await client.put_number(await client.open(name), value)).violation is None
        report = await kernel.session.close(completed=True)
    assert report.forwarded == len(writes)
    return str(permit.id)


async def test_what_was_applied_is_verified_and_put_back(enforcing: Any, machine: Any) -> None:
    enforcing.set_limits(
        {"T:AO": {"readback": {"channel": "T:AO", "tolerance": 0.1}}, "T:CLAMP": {}}
    )
    for channel in ("T:AO", "T:CLAMP"):
        await machine.set(channel, 1)
    permit = await applied(enforcing, "put back", T_AO=2.0, T_CLAMP=50.0)
    ao, clamp = await enforcing.client.verify(permit, "put back")
    assert (ao.channel, ao.accepted, ao.outcome) == ("T:AO", True, "followed")
    assert (clamp.channel, clamp.reads, clamp.accepted) == ("T:CLAMP", 10, False)
    report = await enforcing.client.restore("put back", "jd")
    assert report.complete
    assert [one.channel for one in report.channels] == ["T:CLAMP", "T:AO"]
    assert await machine.value("T:AO") == 1
    assert await machine.value("T:CLAMP") == 1


@pytest.mark.slow
async def test_a_restore_ends_with_its_connection_and_goes_on_when_asked_again(
    enforcing: Any, machine: Any
) -> None:
    await machine.set("T:AO", 1)
    enforcing.set_limits({"T:AO": {}})
    await applied(enforcing, "in steps", T_AO=2.0)
    enforcing.set_limits({"T:AO": {"max_step": 0.1, "min_interval": STEP_SECONDS}})
    puts = await machine.value("T:AO:PUTS")
    restoring = asyncio.create_task(enforcing.client.restore("in steps", "jd"))
    await reads(machine, "T:AO", lambda value: value < 2)
    restoring.cancel()
    await asyncio.gather(restoring, return_exceptions=True)
    await enforcing.journalled("restore_ended", execution="in steps", complete=False)
    reached = await machine.value("T:AO")
    assert reached > 1.5
    enforcing.set_limits({"T:AO": {"max_step": 0.1}})
    assert (await enforcing.client.restore("in steps", "jd")).complete
    assert await machine.value("T:AO") == 1
    assert await machine.value("T:AO:PUTS") == puts + 10


@pytest.mark.slow
async def test_a_gate_that_is_killed_on_the_way_goes_on_after_its_restart(
    machine: Any, start_gate: Any
) -> None:
    await machine.set("T:AO", 1)
    with start_gate(machine, serve=False, enforced=True) as gate:
        with gate.serving():
            await applied(gate, "killed", T_AO=2.0)
            gate.set_limits({"T:AO": {"max_step": 0.1, "min_interval": STEP_SECONDS}})
            puts = await machine.value("T:AO:PUTS")
            restoring = asyncio.create_task(gate.client.restore("killed", "jd"))
            await reads(machine, "T:AO", lambda value: value < 2)
            gate.running.kill()
            with pytest.raises(ServiceUnavailableError):
                await restoring
        gate.set_limits({"T:AO": {"max_step": 0.1}})
        with gate.serving():
            assert (await gate.client.restore("killed", "jd")).complete
            assert await machine.value("T:AO") == 1
            assert await machine.value("T:AO:PUTS") == puts + 10


@pytest.mark.slow
async def test_a_stop_stops_a_restore(enforcing: Any, machine: Any) -> None:
    await machine.set("T:AO", 1)
    enforcing.set_limits({"T:AO": {}})
    await applied(enforcing, "stopped", T_AO=2.0)
    enforcing.set_limits({"T:AO": {"max_step": 0.1, "min_interval": STEP_SECONDS}})
    restoring = asyncio.create_task(enforcing.client.restore("stopped", "jd"))
    await reads(machine, "T:AO", lambda value: value < 2)
    (name,) = await enforcing.client.stop("stopped", "jd", "smoke")
    assert name.startswith("restore-")
    (channel,) = (await restoring).channels
    assert (channel.outcome, channel.reason) == (
        "failed", "the restore was stopped before: stopped by jd: smoke",
    )  # fmt: skip
    assert await machine.value("T:AO") > 1.5
    enforcing.set_limits({"T:AO": {}})
    # Its permits are void, and what it left can still be put back.
    assert (await enforcing.client.restore("stopped", "jd")).complete
