"""Stop channels: written by the gate itself, whatever else forbids writes, and seen at the IOC."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.stack import free_port
from gate.aftermath.stopping import Stopper
from gate.channel_access.directory import Directory
from gate.journal.journal import Journal, JournalError
from gate.journal.reading import records
from runpermit.limits import LimitsFile

IDENTITY = {"session": "apply-1", "execution": "e", "attempt": 1}


@asynccontextmanager
async def stopper(
    folder: Path, limits: dict[str, Any], *ports: int, broken: bool = False
) -> AsyncIterator[Stopper]:
    file = folder / "limits.json"
    file.write_text(json.dumps(limits))
    journal = Journal.open(folder / "journal")
    directory = Directory([f"127.0.0.1:{port}" for port in ports], [])
    if broken:

        async def fail(*_: Any, **__: Any) -> int:
            raise JournalError("no space left")

        journal.write = fail  # type: ignore[method-assign]
    try:
        yield Stopper(directory, journal, LimitsFile(file))
    finally:
        directory.close()
        await journal.close()


def journalled(folder: Path) -> list[dict[str, Any]]:
    return [record for record in records(folder / "journal") if "stop" in record["event"]]


async def test_what_channels_share_is_stopped_once(machine: Any, tmp_path: Path) -> None:
    await machine.set("T:LO", 0)
    stop = {"channel": "T:LO", "value": 1}
    limits = {"T:A": {"stop": stop}, "T:B": {"stop": stop}, "T:C": {}, "T:LO": {"writable": False}}
    before = await machine.value("T:LO:PUTS")
    async with stopper(tmp_path, limits, machine.port) as stopping:
        assert await stopping.stop(["T:A", "T:B", "T:C", "T:D"], IDENTITY) == ["T:LO"]
    assert await machine.value("T:LO") == 1
    assert await machine.value("T:LO:PUTS") == before + 1
    intended, written = journalled(tmp_path)
    assert intended | IDENTITY == intended
    assert (intended["event"], intended["channel"], intended["value"]) == ("stop_write", "T:LO", 1)
    assert intended["stops"] == ["T:A", "T:B"]
    assert (written["event"], written["of"]) == ("stop_written", intended["seq"])


async def test_a_state_is_written_by_its_name(machine: Any, tmp_path: Path) -> None:
    await machine.set("T:BO", 1)
    limits = {"T:A": {"stop": {"channel": "T:BO", "value": "Off"}}}
    async with stopper(tmp_path, limits, machine.port) as stopping:
        assert await stopping.stop(["T:A"], IDENTITY) == ["T:BO"]
    assert await machine.value("T:BO") == 0


@pytest.mark.parametrize(
    ("stop", "why"),
    [
        ({"channel": "T:LO", "value": 1.5}, "whole numbers"),
        ({"channel": "T:BO", "value": "Halt"}, "no state is called"),
        ({"channel": "T:NONE", "value": 1}, "no IOC has T:NONE"),
    ],
)
async def test_what_can_not_be_written_is_told_and_hinders_no_other(
    machine: Any, tmp_path: Path, stop: dict[str, Any], why: str
) -> None:
    await machine.set("T:AO2", 0)
    limits = {"T:A": {"stop": stop}, "T:B": {"stop": {"channel": "T:AO2", "value": 5}}}
    async with stopper(tmp_path, limits, machine.port) as stopping:
        assert await stopping.stop(["T:A", "T:B"], IDENTITY) == ["T:AO2"]
    assert await machine.value("T:AO2") == 5
    (told,) = (record for record in journalled(tmp_path) if record["event"] == "stop_not_written")
    assert told["stops"] == ["T:A"]
    assert why in told["why"]


async def test_a_dead_ioc_is_told(tmp_path: Path) -> None:
    limits = {"T:A": {"stop": {"channel": "T:LO", "value": 1}}}
    async with stopper(tmp_path, limits, free_port()) as stopping:
        async with asyncio.timeout(30):
            assert await stopping.stop(["T:A"], IDENTITY) == []
    assert [record["event"] for record in journalled(tmp_path)] == ["stop_not_written"]


async def test_a_full_disk_does_not_hinder_a_stop(machine: Any, tmp_path: Path) -> None:
    await machine.set("T:LO", 0)
    limits = {"T:A": {"stop": {"channel": "T:LO", "value": 1}}}
    async with stopper(tmp_path, limits, machine.port, broken=True) as stopping:
        assert await stopping.stop(["T:A"], IDENTITY) == ["T:LO"]
    assert await machine.value("T:LO") == 1
