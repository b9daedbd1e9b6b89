"""A rehearsal, seen by its client, by the IOC, and in what the gate tells of it."""

from typing import Any

import pytest

pytestmark = pytest.mark.parts


async def rehearsed(kernel: Any) -> Any:
    return (await kernel.session.close()).rehearsed


async def test_a_write_is_answered_read_back_and_recorded_and_the_ioc_hears_nothing(
    gate: Any, machine: Any
) -> None:
    gate.set_limits({"T:AO": {"units": "A", "description": "a corrector", "max_value": 100}})
    before = await machine.value("T:AO"), await machine.value("T:AO:PUTS")
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        assert (await client.put_number(channel, 1.5)).status == 1
        assert (await client.put_number(channel, 2.5, callback=False)).error is None
        assert await client.value(channel) == 2.5
        other = await kernel.circuit()
        assert await other.value(await other.open("T:AO:ALIAS.VAL")) == 2.5
        told = await rehearsed(kernel)
    assert (await machine.value("T:AO"), await machine.value("T:AO:PUTS")) == before
    assert [(w.channel, w.old, w.new) for w in told.writes] == [
        ("T:AO", before[0], 1.5), ("T:AO", 1.5, 2.5)
    ]  # fmt: skip
    assert told.writes[0].after == 0 <= told.writes[1].after
    (planned,) = told.channels
    assert (planned.description, planned.units, planned.live) == ("a corrector", "A", before[0])
    assert (planned.writes, planned.low, planned.high, planned.last) == (2, 1.5, 2.5, 2.5)
    assert (planned.exact, planned.restorable, planned.moved_by) == (False, True, "")
    assert planned.max_value == 100
    assert told.reads == ["T:AO"]
    assert (told.unknown, told.left_out, told.upstream) == ([], 0, "")
    await gate.journalled("rehearsal", writes=2, refused=0, channels=1)
    assert not gate.journal("write")
