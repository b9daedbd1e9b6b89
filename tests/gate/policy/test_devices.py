"""What devices do after each write of a program; the device is a channel that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gate.channel_access.directory import Directory
from gate.channel_access.watched_channel import WatchedIocs
from gate.policy.devices import Devices
from runpermit.limits import LimitsDatabase, LimitsValidator
from runpermit.models import Plan
from tests.gate.aftermath_bench import until
from tests.runpermit.plans.recorded import recorded

pytestmark = pytest.mark.parts

Watch = Callable[..., Awaitable[Devices]]


@pytest.fixture
async def watch(machine: Any) -> AsyncIterator[Watch]:
    """Devices under watch; the one of T:AO reads 1, and has been seen."""
    directory = Directory([f"127.0.0.1:{machine.port}"], [])
    watched = []
    await machine.set("T:AO2", 1)

    async def watch(device: str = "T:AO2", **readback: Any) -> Devices:
        entry = {"readback": {"channel": device, "tolerance": 0.1, **readback}}
        limits = LimitsValidator(LimitsDatabase.from_dict({"T:AO": entry, "T:LO": {}}))
        devices = Devices(["T:AO", "T:LO", "T:NO:ENTRY"], limits, WatchedIocs(directory))
        watched.append(devices)
        return devices

    yield watch
    for devices in watched:
        await devices.close()
    directory.close()


def ended(devices: Devices) -> dict[str, int]:
    """What became of the writes before this one."""
    devices.wrote("T:AO", 1e9)
    return devices.ended["T:AO"]


async def test_each_write_is_judged_alone_and_the_last_one_not(watch: Watch, machine: Any) -> None:
    devices = await watch(settle_time=30)
    devices.wrote("T:AO", 2.0)
    assert devices.ended == {}
    devices.wrote("T:AO", 3.0)
    assert devices.ended == {"T:AO": {"superseded": 1}}
    await machine.set("T:AO2", 3.05)
    await until(lambda: is_followed(devices))
    devices.wrote("T:AO", 4.0)
    assert devices.ended == {"T:AO": {"superseded": 1, "followed": 1}}
    devices.wrote("T:LO", 4)
    assert devices.ended.keys() == {"T:AO"}


def is_followed(devices: Devices) -> bool:
    (device,) = devices._devices.values()
    return device._outcome == "followed"


async def test_one_that_followed_and_went_on_has_followed(watch: Watch, machine: Any) -> None:
    devices = await watch(settle_time=30, scale=2, offset=1)
    devices.wrote("T:AO", 2.0)
    await machine.set("T:AO2", 5)
    await until(lambda: is_followed(devices))
    await machine.set("T:AO2", 9)
    assert ended(devices) == {"followed": 1}


@pytest.mark.parametrize(
    ("device", "outcome"), [("T:AO2", "not_followed"), ("T:NO:SUCH", "unreadable")]
)
async def test_one_that_is_not_there_in_its_time_has_not_followed(
    watch: Watch, device: str, outcome: str
) -> None:
    devices = await watch(device, settle_time=0.5)
    (watched,) = devices._devices.values()
    await asyncio.wait_for(watched._channel.told.wait(), 30)
    devices.wrote("T:AO", 2.0)
    await until(lambda: watched._outcome is not None)
    assert ended(devices) == {outcome: 1}


async def test_it_is_told_when_it_is_verified(enforcing: Any, machine: Any) -> None:
    for channel in ("T:AO", "T:AO2"):
        await machine.set(channel, 0)
    readback = {"channel": "T:AO2", "settle_time": 2, "tolerance": 0.01}
    enforcing.set_limits({"T:AO": {"readback": readback}})
    ramp: Plan = recorded({"T:AO": 0.0}, [("T:AO", 1.0), ("T:AO", 2.0), ("T:AO", 3.0)])
    permit = await enforcing.permit(ramp)
    async with enforcing.session(permit=permit) as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        assert (await client.put_number(channel, 1.0)).status == 1
        await asyncio.sleep(4)
        assert (await client.put_number(channel, 2.0)).status == 1
        assert (await client.put_number(channel, 3.0)).status == 1
        await machine.set("T:AO2", 3)
        await kernel.session.close(completed=True)
    told = await enforcing.journalled("devices")
    (verified,) = await enforcing.client.verify(told["permit"], "e")
    assert verified.outcome == "followed"
    assert verified.earlier == {"not_followed": 1, "superseded": 1}
    assert verified.on_the_way == "earlier writes: 1 not followed, 1 superseded"
    assert any("T:AO2 on its way: earlier writes" in one for one in verified.warnings())
