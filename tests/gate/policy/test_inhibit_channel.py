"""Writes inhibited, by command and by a channel: every write of every session, within the time.

The deadlines are the design's, times three: 100 ms for a command and a change, 1.5 s for an IOC
that freezes.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from demo.stack import free_port
from runpermit.errors import WorkflowError
from runpermit.gate_control import ask
from runpermit.limits import ViolationType
from tests.gate.punctual import Span, in_time

pytestmark = pytest.mark.parts
COMMAND_SECONDS = 3 * 0.1
FREEZE_SECONDS = 3 * 1.5
ON = {"do": "inhibit", "on": True, "operator": "o", "reason": "a test"}
OFF = {"do": "inhibit", "on": False, "operator": "o", "reason": "over"}


class Writers:
    """Sessions that write without a pause, and note when what became of it."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, str | None]] = []

    async def write(self, kernel: Any, name: str) -> None:
        client = await kernel.circuit()
        channel = await client.open(name)
        number = 0
        while True:
            number += 1
            answer = await client.put_number(channel, number, callback=bool(number % 2))
            self.heard.append((time.monotonic(), answer.violation))

    async def until(self, violation: str | None) -> None:
        """Wait for the first outcome of this kind."""
        start, deadline = len(self.heard), time.monotonic() + 30
        while all(heard != violation for _, heard in self.heard[start:]):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)

    def last_passed(self) -> float:
        return max(at for at, violation in self.heard if violation is None)


@asynccontextmanager
async def writers(gate: Any, *names: str) -> AsyncIterator[Writers]:
    found = Writers()
    async with gate.session(execution="a") as one, gate.session(execution="b") as other:
        tasks = [
            asyncio.create_task(found.write(kernel, name))
            for kernel, name in zip((one, other), names, strict=True)
        ]
        await found.until(None)
        yield found
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def switched(gate: Any, request: dict[str, Any]) -> float:
    start = time.monotonic()
    await asyncio.to_thread(ask, gate.control, request)
    return start


@pytest.mark.alone
async def test_a_command_refuses_every_write_of_every_session_at_once(
    gate: Any, machine: Any
) -> None:
    async def puts() -> tuple[Any, Any]:
        return await machine.value("T:AO:PUTS"), await machine.value("T:LO:PUTS")

    async with writers(gate, "T:AO", "T:LO") as writing:

        async def command() -> Span:
            at = await switched(gate, ON)
            await writing.until(ViolationType.INHIBITED)
            await asyncio.sleep(0.3)  # what the other session has under way
            counted = await puts()
            await asyncio.sleep(0.3)
            assert await puts() == counted
            assert "runpermit inhibit off" in ((await gate.client.status()).inhibited or "")
            passed = writing.last_passed()
            await switched(gate, OFF)
            await writing.until(None)
            return at, passed

        for _ in range(3):
            await in_time(command, COMMAND_SECONDS)
    switches = gate.journal("inhibit")
    assert [(switch["on"], switch["by"]) for switch in switches[-2:]] == [(True, "o"), (False, "o")]


async def test_a_write_that_waits_for_its_pace_is_refused_when_its_turn_comes(
    gate: Any, machine: Any
) -> None:
    gate.set_limits({"T:AO2": {"min_interval": 3}})
    async with gate.session() as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO2")
        assert (await client.put_number(channel, 1)).status == 1
        waiting = asyncio.create_task(client.put_number(channel, 2))
        await asyncio.sleep(0.1)
        await switched(gate, ON)
        assert (await waiting).violation == ViolationType.INHIBITED
        assert await client.value(channel) == 1  # reads go on
        await switched(gate, OFF)
    assert await machine.value("T:AO2") == 1


async def test_it_survives_a_restart_of_the_gate(machine: Any, start_gate: Any) -> None:
    with start_gate(machine, serve=False) as gate:
        with gate.serving():
            await switched(gate, ON)
            gate.running.kill()
        with gate.serving():
            with pytest.raises(WorkflowError, match=r"inhibited by o since .*: a test"):
                async with gate.session():
                    pass
            await switched(gate, OFF)
        with gate.serving():
            async with gate.session() as kernel:
                client = await kernel.circuit()
                assert (await client.put_number(await client.open("T:AO"), 1)).status == 1


# The inhibit channel


def watching(name: str, value: object, *iocs: Any, **more: Any) -> dict[str, Any]:
    return {
        "gate": {"socket": "gate.sock", "journal": "journal", "inhibit_channel": name,
                 "inhibit_value": value},
        "control_system": {"type": "mock", "writes_enabled": True,
                           "name_servers": [f"127.0.0.1:{ioc.port}" for ioc in iocs], **more},
    }  # fmt: skip


async def permitted(gate: Any, within: float = 30) -> None:
    deadline = time.monotonic() + within
    while (await gate.client.status()).inhibited is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.alone
@pytest.mark.parametrize("value", ["yes", 1])
async def test_the_channel_must_read_its_value(
    machine: Any, start_ioc: Any, start_gate: Any, value: object
) -> None:
    with (
        start_ioc("--prefix", "I:") as ioc,
        start_gate(**watching("I:PERMIT", value, machine, ioc)) as gate,
    ):
        await permitted(gate)
        async with writers(gate, "T:AO", "T:LO") as writing:

            async def change() -> Span:
                await ioc.set("I:PERMIT", 0)
                at = time.monotonic()
                await writing.until(ViolationType.INHIBITED)
                await asyncio.sleep(0.2)
                passed = writing.last_passed()
                refusal = (await gate.client.status()).inhibited
                assert refusal is not None
                assert "I:PERMIT" in refusal
                assert "reads 0 (no)" in refusal
                await ioc.set("I:PERMIT", 1)
                await writing.until(None)
                return at, passed

            for _ in range(2):
                await in_time(change, COMMAND_SECONDS)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("disturb", ["freeze", "kill"])
async def test_a_frozen_or_lost_ioc_of_the_channel_refuses_all_writes_in_time(
    machine: Any, start_ioc: Any, start_gate: Any, disturb: str
) -> None:
    async def silence() -> Span:
        port = free_port()
        with (
            start_ioc("--prefix", "I:", port=port) as ioc,
            start_gate(**watching("I:PERMIT", "yes", machine, ioc)) as gate,
        ):
            await permitted(gate)
            async with writers(gate, "T:AO", "T:LO") as writing:
                getattr(ioc, disturb)()
                at = time.monotonic()
                await writing.until(ViolationType.INHIBITED)
                await asyncio.sleep(0.3)
                passed = writing.last_passed()
                with ExitStack() as back:
                    if disturb == "freeze":
                        ioc.thaw()
                    else:
                        back.enter_context(start_ioc("--prefix", "I:", port=port))
                    await writing.until(None)
        return at, passed

    await in_time(silence, FREEZE_SECONDS)


async def test_a_channel_that_is_missing_at_the_start_inhibits_until_it_comes(
    machine: Any, start_ioc: Any, start_gate: Any
) -> None:
    port = free_port()
    servers = [f"127.0.0.1:{machine.port}", f"127.0.0.1:{port}"]
    settings = watching("I:PERMIT", "yes", name_servers=servers)
    with start_gate(**settings) as gate:
        with pytest.raises(WorkflowError, match="the inhibit channel I:PERMIT"):
            async with gate.session():
                pass
        with start_ioc("--prefix", "I:", port=port):
            await permitted(gate)
            async with gate.session() as kernel:
                client = await kernel.circuit()
                assert (await client.put_number(await client.open("T:AO"), 1)).status == 1


async def test_the_command_wins_over_a_channel_that_permits(machine: Any, start_gate: Any) -> None:
    with start_gate(**watching("T:PERMIT", "yes", machine)) as gate:
        await permitted(gate)
        await switched(gate, ON)
        assert (await gate.client.status()).inhibited is not None
        await switched(gate, OFF)
        assert (await gate.client.status()).inhibited is None


def test_a_channel_without_its_value_is_a_mistake_in_the_settings(start_gate: Any) -> None:
    mistaken = start_gate(**watching("T:PERMIT", None))
    with pytest.raises(AssertionError, match=r"needs gate\.inhibit_value"), mistaken:
        pass
