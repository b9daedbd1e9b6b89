"""What a record makes of a value beyond its own drive limits: rehearsed as the IOC does it."""

from typing import Any

import pytest

from gate.rehearsal.drive_limits import UNREADABLE, DriveLimits

pytestmark = pytest.mark.parts


@pytest.mark.parametrize(
    ("name", "value", "stored", "told"),
    [
        ("T:CLAMP", 50, 10, "clamps at DRVH = 10: more is stored as 10"),
        ("T:CLAMP", -50, -10, "clamps at DRVL = -10: less is stored as -10"),
        ("T:CLAMP", 9, 9, ""),
        ("T:LOCLAMP", 50, 10, "clamps at DRVH = 10: more is stored as 10"),
        ("T:I64CLAMP", -50, -10, "clamps at DRVL = -10: less is stored as -10"),
        ("T:AO", 1e6, 1e6, ""),
        ("T:ODDCLAMP", 50, 50, ""),
        ("T:CLAMP.HOPR", 50, 50, ""),
    ],
)
async def test_a_rehearsed_write_reads_what_the_ioc_would_store(
    gate: Any, machine: Any, name: str, value: float, stored: float, told: str
) -> None:
    gate.set_limits({"T:CLAMP.HOPR": {}, "T:CLAMP": {"readback": {"channel": "T:AI", "scale": 2}}})
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel = await client.open(name)
        assert (await client.put_number(channel, value)).status == 1
        assert await client.value(channel) == stored
        if name == "T:CLAMP":
            assert await client.value(await client.open("T:AI")) == 2 * stored
        rehearsed = (await kernel.session.close()).rehearsed
    (planned,) = rehearsed.channels
    assert (planned.last, planned.clamped) == (value, told)
    await machine.set(name, value)
    assert await machine.value(name) == stored


async def test_a_step_is_judged_from_where_the_record_clamped(gate: Any, machine: Any) -> None:
    gate.set_limits({"T:CLAMP": {"max_step": 4}})
    await machine.set("T:CLAMP", 8)
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:CLAMP")
        assert (await client.put_number(channel, 12)).status == 1
        refused = await client.put_number(channel, 15)
        assert refused.violation == "MAX_STEP_EXCEEDED"
        assert (await client.put_number(channel, 7)).status == 1
        rehearsed = (await kernel.session.close()).rehearsed
    assert [(write.old, write.new) for write in rehearsed.writes] == [(8, 12), (10, 7)]


async def test_a_motor_stays_beyond_its_soft_limits_and_unreadable_limits_are_told(
    machine: Any, start_ioc: Any, start_gate: Any
) -> None:
    with (
        start_ioc(module="tests.gate.rehearsal.motor_ioc") as ioc,
        start_gate(ioc, machine) as gate,
    ):
        async with gate.session("rehearse") as kernel:
            client = await kernel.circuit()
            motor, plain = await client.open("C:M"), await client.open("C:P")
            for value, reads in ((15, 15), (25, 15), (-25, 15)):
                assert (await client.put_number(motor, value)).status == 1
                assert await client.value(motor) == reads
                assert await client.value(await client.open("C:M.RBV")) == reads
            assert (await client.put_number(plain, 1e9)).status == 1
            assert await client.value(plain) == 1e9
            rehearsed = (await kernel.session.close()).rehearsed
    assert [channel.clamped for channel in rehearsed.channels] == [
        "stays where it is for more than HLM = 20",
        UNREADABLE,
    ]


def test_what_is_no_number_is_stored_as_it_is() -> None:
    limits = DriveLimits(-1, 1, "DRVL", "DRVH")
    for value in ("text", (5.0, 6.0)):
        assert limits.stored(0, value) == value
        assert limits.told(value) == ""
    assert limits.stored(0, float("inf")) == 1
    assert type(limits.stored(0, 7)) is int
    assert limits.stored(0, float("nan")) != limits.stored(0, float("nan"))
    assert DriveLimits(float("nan"), float("nan")).stored(0, 5) == 5
