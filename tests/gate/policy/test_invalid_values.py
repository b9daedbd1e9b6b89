"""An IOC that lost a device goes on telling its last value: such a value permits nothing."""

import asyncio
import json
from typing import Any

import pytest

from runpermit.errors import WorkflowError
from runpermit.limits import ViolationType
from tests.gate.punctual import TRIALS

Violation = ViolationType


async def test_an_inhibit_channel_that_was_never_set_inhibits(
    machine: Any, start_gate: Any
) -> None:
    assert await machine.value("T:BI") == 0  # which is its first state, "Out"
    settings = {"inhibit_channel": "T:BI", "inhibit_value": "Out"}
    with start_gate(machine, gate=settings) as gate:
        await asyncio.sleep(0.5)
        with pytest.raises(WorkflowError, match="can't be read"):
            async with gate.session():
                pass
        await machine.set("T:BI", 0)
        await _until_inhibited_no_more(gate)
        async with gate.session() as kernel:
            client = await kernel.circuit()
            assert (await client.put_number(await client.open("T:AO"), 1)).violation is None


async def _until_inhibited_no_more(gate: Any) -> None:
    async with asyncio.timeout(30):
        while (await gate.client.status()).inhibited is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_condition_on_a_value_that_was_never_set_does_not_hold(
    gate: Any, machine: Any
) -> None:
    gate.set_limits({"T:AO": {"conditions": [{"channel": "T:AI", "op": "<", "value": 50}]}})
    assert await machine.value("T:AI") == 0
    async with gate.session() as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        answer = await client.put_number(channel, 1)
        assert answer.violation == Violation.CONDITION_FAILED
        assert "INVALID" in answer.refusal["reason"]
        await machine.set("T:AI", 0)
        assert (await client.put_number(channel, 1)).violation is None


async def test_no_step_is_told_from_a_value_that_was_never_set(gate: Any, machine: Any) -> None:
    gate.set_limits({"T:F": {"max_step": 1}})
    async with gate.session() as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:F")
        answer = await client.put_number(channel, 0.5)
        assert answer.violation == Violation.STEP_CHECK_FAILED
        assert "INVALID" in answer.refusal["reason"]
        await machine.set("T:F", 0)
        assert (await client.put_number(channel, 0.5)).violation is None


async def test_states_that_were_renamed_since_the_channel_was_opened_are_not_guessed(
    gate: Any, machine: Any
) -> None:
    gate.set_limits({"T:MBFEW": {"allowed_values": ["a"]}})
    async with gate.session() as kernel, machine.direct() as direct:
        client = await kernel.circuit()
        channel = await client.open("T:MBFEW")
        text = b"a".ljust(8, b"\0")
        assert (await client.put(channel, 0, 1, text)).violation is None
        for field, name in (("ZRST", b"b"), ("TWST", b"a")):
            renamed = await direct.open(f"T:MBFEW.{field}")
            assert (await direct.put(renamed, 0, 1, name.ljust(8, b"\0"))).status == 1
        answer = await client.put(channel, 0, 1, text)
        assert answer.violation == Violation.INVALID_VALUE
        assert "have changed" in answer.refusal["reason"]
        assert await machine.value("T:MBFEW") == 0
        again = await (await kernel.circuit()).open("T:MBFEW")
        assert again is not None


async def test_limits_that_tighten_while_a_write_is_judged_count(
    machine: Any, start_ioc: Any, start_gate: Any
) -> None:
    with start_ioc("--prefix", "C:") as slow, start_gate(machine, slow) as own:
        await slow.set("C:MODE", 2)
        conditions = [{"channel": "C:MODE", "op": "==", "value": "User"}]
        found = []
        # On a slow machine the IOC is given up before it thaws: then it says nothing of limits.
        while len(found) < TRIALS and Violation.READ_ONLY_CHANNEL not in found:
            own.set_limits({"T:AO": {"conditions": conditions}})
            async with own.session() as kernel:
                client = await kernel.circuit()
                channel = await client.open("T:AO")
                assert (await client.put_number(channel, 1)).violation is None
                before = await machine.value("T:AO:PUTS")
                slow.freeze()
                writing = asyncio.create_task(client.put_number(channel, 2))
                await asyncio.sleep(0.2)
                own.set_limits({"T:AO": {"writable": False, "conditions": conditions}})
                slow.thaw()
                found.append((await writing).violation)
            assert await machine.value("T:AO:PUTS") == before
        assert found[-1] == Violation.READ_ONLY_CHANNEL


@pytest.mark.slow
async def test_an_equal_put_callback_that_waits_is_not_overtaken_by_steps(
    gate: Any, machine: Any
) -> None:
    gate.set_limits({"T:SLOW.A": {"max_step": 1}})
    await machine.set("T:SLOW.A", 0)
    await asyncio.sleep(1.2)  # until its record has done with that, it is INVALID
    async with gate.session() as first, gate.session(execution="f") as second:
        clients = [await first.circuit(), await first.circuit(), await second.circuit()]
        channels = [await client.open("T:SLOW.A") for client in clients]
        busy = asyncio.create_task(clients[0].put_number(channels[0], 1, within=9))
        await asyncio.sleep(0.3)
        waits = asyncio.create_task(clients[1].put_number(channels[1], 1, within=9))
        await asyncio.sleep(0.3)
        for number in (2, 3):
            await clients[2].put_number(channels[2], number, callback=False, within=9)
        await asyncio.gather(busy, waits)
        await asyncio.sleep(1.5)
        last = [record for record in gate.journal("write") if record["channel"] == "T:SLOW.A"][-1]
        assert await machine.value("T:SLOW.A") == last["new"] == 3
        assert json.dumps(last)
