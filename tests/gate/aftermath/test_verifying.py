"""Setpoints are read back, devices waited for; the device here is a channel that the test moves."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from demo.stack import free_port
from gate.policy import devices
from runpermit.errors import ServiceUnavailableError
from runpermit.models import VerifiedChannel
from tests.gate.aftermath_bench import Bench, bench_for, until
from tests.gate.punctual import Span, in_time


@pytest.fixture
async def bench(machine: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    for channel in ("T:AO", "T:AO2", "T:CLAMP", "T:LO", "T:ALARM"):
        await machine.set(channel, 1)
    async with bench_for(tmp_path, machine.port) as bench:
        yield bench


def readback(channel: str = "T:AO2", settle_time: float = 5, **more: Any) -> dict[str, Any]:
    return {"readback": {"channel": channel, "settle_time": settle_time, **more}}


async def only(bench: Bench) -> VerifiedChannel:
    (channel,) = await bench.verifier.verify("p", "e")
    return channel


async def test_a_setpoint_reads_what_it_was_set_to_last(bench: Bench) -> None:
    await bench.apply(("T:AO", 2.0), ("T:LO", 3), ("T:AO", 4.0))
    ao, lo = await bench.verifier.verify("p", "e")
    assert (ao.channel, ao.written, ao.reads, ao.accepted, ao.outcome, ao.alarm) == (
        "T:AO", 4, 4, True, "unchecked", "",
    )  # fmt: skip
    assert (lo.channel, lo.reads, lo.accepted) == ("T:LO", 3, True)
    await until(lambda: len(bench.journalled("verified")) == 2)
    told = bench.journalled("verified")[0]
    assert (told["channel"], told["permit"], told["execution"]) == ("T:AO", "p", "e")


async def test_a_setpoint_that_was_clamped_or_set_by_another_hand_is_told(
    bench: Bench, machine: Any
) -> None:
    await bench.apply(("T:CLAMP", 50.0), ("T:AO", 2.0))
    await machine.set("T:AO", 7)
    clamped, other = await bench.verifier.verify("p", "e")
    assert (clamped.written, clamped.reads, clamped.accepted) == (50, 10, False)
    assert (other.written, other.reads, other.accepted) == (2, 7, False)


async def test_its_verification_says_how_closely_and_whether_at_all(
    bench: Bench, machine: Any
) -> None:
    await bench.apply(("T:AO", 2.0), ("T:CLAMP", 50.0))
    await machine.set("T:AO", 2.4)
    bench.set_limits(
        {
            "T:AO": {"verification": {"tolerance_absolute": 0.5}},
            "T:CLAMP": {"verification": {"level": "none"}},
        }
    )
    assert [one.accepted for one in await bench.verifier.verify("p", "e")] == [True, True]


async def test_an_alarm_is_told_in_words(bench: Bench) -> None:
    await bench.apply(("T:ALARM", 9.0))
    channel = await only(bench)
    assert (channel.accepted, channel.alarm) == (True, "MAJOR (HIHI)")


async def test_a_device_that_follows_is_waited_for(bench: Bench, machine: Any) -> None:
    bench.set_limits({"T:AO": readback(scale=2, offset=1, tolerance=0.1, settle_time=120)})
    await bench.apply(("T:AO", 2.0))
    verifying = asyncio.create_task(only(bench))
    await asyncio.sleep(0.2)
    await machine.set("T:AO2", 3)
    await asyncio.sleep(0.1)
    assert not verifying.done()
    await machine.set("T:AO2", 5.05)
    async with asyncio.timeout(30):
        channel = await verifying
    assert (channel.device, channel.expected, channel.device_reads, channel.outcome) == (
        "T:AO2", 5, 5.05, "followed",
    )  # fmt: skip


async def test_a_device_that_does_not_follow_in_its_time_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "SETTLE_SECONDS", 30)
    bench.set_limits({"T:AO": readback(settle_time=0.3)})
    await bench.apply(("T:AO", 2.0))
    start = time.monotonic()
    channel = await only(bench)
    assert 0.3 <= time.monotonic() - start < devices.SETTLE_SECONDS
    assert (channel.expected, channel.device_reads, channel.outcome) == (2, 1, "not_followed")


async def test_the_tolerance_is_that_of_the_verification_as_the_device_has_it(
    bench: Bench, machine: Any
) -> None:
    await bench.apply(("T:AO", 2.0))
    await machine.set("T:AO2", 21)
    for tolerance, outcome in ((0.09, "not_followed"), (0.11, "followed")):
        verification = {"verification": {"tolerance_absolute": tolerance}}
        bench.set_limits({"T:AO": readback(scale=10, settle_time=0) | verification})
        assert (await only(bench)).outcome == outcome


@pytest.mark.alone
async def test_devices_are_waited_for_together(bench: Bench) -> None:
    bench.set_limits({"T:AO": readback(settle_time=0.5), "T:LO": readback(settle_time=0.5)})
    await bench.apply(("T:AO", 2.0), ("T:LO", 2))

    async def verifying() -> Span:
        start = time.monotonic()
        assert len(await bench.verifier.verify("p", "e")) == 2
        return start, time.monotonic()

    await in_time(verifying, 0.9)


@pytest.mark.parametrize("device", ["T:NONE", "T:LI", "T:SO"])
async def test_a_device_that_can_not_be_read_is_told(bench: Bench, device: str) -> None:
    # Nobody has it; it was never set; it is a text.
    bench.set_limits({"T:AO": readback(device, settle_time=0.1)})
    await bench.apply(("T:AO", 2.0))
    channel = await only(bench)
    assert (channel.accepted, channel.outcome, channel.device_reads) == (True, "unreadable", None)


async def test_what_is_no_number_is_no_answer(bench: Bench, machine: Any) -> None:
    bench.set_limits({"T:AO": readback("T:AO2", settle_time=0.1)})
    await bench.apply(("T:AO", 2.0))
    for channel in ("T:AO", "T:AO2"):
        await machine.set(channel, float("nan"))
    told = await only(bench)
    assert (told.accepted, told.reads) == (False, {"_type": "float", "value": "nan"})
    assert (told.outcome, told.device_reads) == ("unreadable", None)


async def test_arrays_are_compared_whole_and_follow_nothing(bench: Bench, machine: Any) -> None:
    bench.set_limits({"T:A:DOUBLE": readback()})
    await bench.apply(("T:A:DOUBLE", (1.0, 2.0)))
    channel = await only(bench)
    assert (channel.reads, channel.accepted, channel.outcome) == ([1, 2], True, "unchecked")
    async with machine.direct() as client:
        array = await client.open("T:A:DOUBLE")
        await client.put(array, array.dtype, 1, bytes(8))
    assert not (await only(bench)).accepted


@pytest.mark.slow
async def test_a_lost_ioc_is_told_within_its_time(start_ioc: Any, tmp_path: Path) -> None:
    port = free_port()
    async with bench_for(tmp_path, port) as bench:
        bench.set_limits({"V:AO": readback("V:AO2", settle_time=1)})
        with start_ioc("--prefix", "V:", port=port) as ioc:
            await bench.apply(("V:AO", 2.0))
            ioc.freeze()
            channel = await only(bench)
            ioc.thaw()
    assert (channel.accepted, channel.reads, channel.outcome) == (False, None, "unreadable")


async def test_only_what_was_written_last_is_verified(bench: Bench) -> None:
    await bench.apply(("T:AO", 2.0), ("T:LO", 2))
    await bench.apply(("T:AO", 3.0), permit="q")
    assert await bench.verifier.verify("p", "e") == []
    assert [one.channel for one in await bench.verifier.verify("q", "e")] == ["T:AO"]
    assert await bench.verifier.verify("q", "other") == []
    await bench.restore()
    assert await bench.verifier.verify("q", "e") == []


async def test_a_journal_that_can_not_be_read_verifies_nothing(bench: Bench) -> None:
    await bench.apply(("T:AO", 2.0))
    with next((bench.folder / "journal").glob("*.jsonl")).open("ab") as file:
        file.write(json.dumps({"execution": "e", "event": "write"}).encode() + b"\n")
    with pytest.raises(ServiceUnavailableError, match="does not tell"):
        await bench.verifier.verify("p", "e")
