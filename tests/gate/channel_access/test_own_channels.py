"""Channels that the gate opens for itself: read and written whole, at the IOC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from demo.stack import free_port
from gate.channel_access.directory import Directory
from gate.channel_access.ioc_circuit import IocLostError
from gate.channel_access.own_channels import OwnChannels, Setpoint
from gate.channel_access.values import Value, receive
from tests.gate.aftermath_bench import lingering


@asynccontextmanager
async def opening(*ports: int) -> AsyncIterator[OwnChannels]:
    directory = Directory([f"127.0.0.1:{port}" for port in ports], [])
    channels = OwnChannels(directory, 1024 * 1024)
    try:
        yield channels
    finally:
        channels.close()
        directory.close()
        await lingering()


def send(setpoint: Setpoint, value: Value) -> "asyncio.Future[bool]":
    """Forward it as a writer would."""
    put = setpoint.put(value)
    write = put.attempted
    received = receive(setpoint.record.target, write.dtype, write.count, write.payload)
    setpoint.circuit.send(put.message(received))
    return put.answered


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("T:AO", 2.5), ("T:LO", -7), ("T:MB", 2), ("T:SO", "a text"), ("T:W:CHAR", (-1, 127)),
        ("T:W:UCHAR", (1, 127)), ("T:W:SHORT", (-300, 300)), ("T:W:FLOAT", (0.5, -0.25)),
        ("T:A:DOUBLE", (1.0, 2.0, 3.0)), ("T:W:STRING", ("a", "b")), ("T:LSO.VAL$", "a long text"),
    ],
)  # fmt: skip
async def test_what_was_put_reads_back(machine: Any, name: str, value: Value) -> None:
    async with opening(machine.port) as channels:
        setpoint = await channels.open(name)
        async with asyncio.timeout(30):
            assert await send(setpoint, value)
        assert (await setpoint.read()).value == value


async def test_channels_of_one_ioc_share_a_circuit(machine: Any) -> None:
    async with opening(machine.port) as channels:
        one, alias = await asyncio.gather(channels.open("T:AO2"), channels.open("T:AO:ALIAS"))
        assert one.circuit is alias.circuit
        assert alias.record.channel == "T:AO"


async def test_a_put_is_answered_when_its_record_has_done_with_it(machine: Any) -> None:
    await machine.set("T:SLOW.ODLY", 4)
    async with opening(machine.port) as channels:
        answered = send(await channels.open("T:SLOW.A"), 3.0)
        await machine.value("T:AO")
        assert not answered.done()
        async with asyncio.timeout(30):
            assert await answered


async def test_a_lost_ioc_answers_no_put_and_is_found_again(start_ioc: Any) -> None:
    port = free_port()
    async with opening(port) as channels:
        with start_ioc("--prefix", "O:", port=port) as ioc:
            await ioc.set("O:SLOW.ODLY", 60)
            setpoint = await channels.open("O:SLOW.A")
            answered = send(setpoint, 3.0)
            await (await channels.open("O:AO")).read()
        async with asyncio.timeout(30):
            assert not await answered
        with pytest.raises(IocLostError):
            await setpoint.read()
        with pytest.raises((IocLostError, LookupError)):
            await channels.open("O:AO")
        with start_ioc("--prefix", "O:", port=port):
            channels._directory._known.clear()
            assert (await (await channels.open("O:AO")).read()).value == 0


async def test_what_nobody_has_is_not_opened(machine: Any) -> None:
    async with opening(machine.port) as channels:
        with pytest.raises(LookupError, match="no IOC has T:NONE"):
            await channels.open("T:NONE")
        with pytest.raises(LookupError, match="modifier"):
            await channels.open("T:AO.{}")
