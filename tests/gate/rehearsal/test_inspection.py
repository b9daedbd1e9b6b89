"""What is found behind channels, and why where nothing is."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gate.channel_access.directory import Directory
from gate.rehearsal.inspection import Inspector
from runpermit.errors import ContainerConfigurationError
from runpermit.gate_control import GateRefusedError, ask
from runpermit.models import FoundChannel

pytestmark = pytest.mark.parts


@pytest.fixture
async def inspector(machine: Any) -> AsyncIterator[Inspector]:
    directory = Directory([f"127.0.0.1:{machine.port}"], [])
    yield Inspector(directory, 2**20)
    directory.close()


async def one(inspector: Inspector, name: str) -> FoundChannel:
    (found,) = await inspector.inspect([name])
    return found


async def test_an_alias_is_found_as_the_record_that_it_names(
    inspector: Inspector, machine: Any
) -> None:
    await machine.set("T:AO", 2.5)
    assert await one(inspector, "T:AO:ALIAS") == FoundChannel(
        name="T:AO:ALIAS", channel="T:AO", record_type="ao", units="A", reads=2.5
    )


async def test_drive_limits_states_and_texts_are_told(inspector: Inspector) -> None:
    clamp = await one(inspector, "T:CLAMP")
    assert (clamp.drive_low, clamp.drive_high) == (-10, 10)
    assert clamp.beyond_high == "clamps at DRVH = 10: more is stored as 10"
    assert clamp.beyond_low == "clamps at DRVL = -10: less is stored as -10"
    mode = await one(inspector, "T:MODE")
    assert (mode.record_type, mode.states) == ("mbbo", ["Shutdown", "Injection", "User"])
    assert (await one(inspector, "T:SO")).holds_text
    assert (await one(inspector, "T:LSO.VAL$")).holds_text
    array = await one(inspector, "T:A:DOUBLE")
    assert (array.elements, array.reads) == (5, None)


async def test_a_value_that_json_can_not_hold_is_not_told(inspector: Inspector) -> None:
    nan = await one(inspector, "T:NAN")
    assert (nan.record_type, nan.reads, nan.problem) == ("ao", None, "")


@pytest.mark.parametrize("name", ["T:NO:SUCH", "T:NOREAD", "T:AO.{}", "T:AO.NOFIELD"])
async def test_what_can_not_be_told_hides_nothing_of_the_others(
    inspector: Inspector, name: str
) -> None:
    nothing, other = await inspector.inspect([name, "T:AO"])
    assert nothing == FoundChannel(name=name, problem=nothing.problem)
    assert nothing.problem
    assert (other.channel, other.problem) == ("T:AO", "")


@pytest.mark.parametrize("channels", [None, "T:AO", [1], ["T:AO\n"], ["x"] * 1001])
async def test_what_are_no_names_is_refused(gate: Any, channels: Any) -> None:
    with pytest.raises(GateRefusedError) as refused:
        ask(gate.control, {"do": "inspect", "channels": channels})
    assert refused.value.category == ContainerConfigurationError("").category
