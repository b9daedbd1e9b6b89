"""What is known of channels that were not written."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gate.channel_access.directory import Directory
from gate.rehearsal.description import Describer, alarm_of
from runpermit.limits import LimitsDatabase, LimitsFile, LimitsValidator

pytestmark = pytest.mark.parts
LIMITS = {
    "T:AO": {"min_value": -5, "max_value": 5, "max_step": 1, "description": "a corrector"},
    "T:MB": {"affects": ["T:AI"], "done": {"channel": "T:BI", "value": 1}},
}


class Limits(LimitsFile):
    @property
    def validator(self) -> LimitsValidator:
        return LimitsValidator(LimitsDatabase.from_dict(LIMITS))


@pytest.fixture
async def describer(machine: Any) -> AsyncIterator[Describer]:
    directory = Directory([f"127.0.0.1:{machine.port}"], [])
    yield Describer(directory, Limits(Path("none")), 2**20)
    directory.close()


async def test_the_facts_of_declared_channels_under_their_own_names(
    describer: Describer, machine: Any
) -> None:
    await machine.set("T:AO", 2.5)
    await machine.set("T:MB", 1)
    corrector, state, text = await describer.describe(["T:AO:ALIAS.VAL", "T:MB", "T:LSO.VAL$"])
    assert (corrector.channel, corrector.live, corrector.units) == ("T:AO", 2.5, "A")
    assert (corrector.description, corrector.min_value, corrector.max_step) == (
        "a corrector",
        -5,
        1,
    )
    assert (corrector.writes, corrector.restorable, corrector.exact) == (0, True, False)
    assert (state.live, state.state, state.follows) == (1, "1", ["T:BI", "T:AI"])
    assert (text.channel, text.exact, text.restorable) == ("T:LSO", True, False)
    assert await describer.describe([]) == []


@pytest.mark.parametrize("name", ["T:NO:SUCH", "T:NOREAD", "T:AO.{}", "T:AO.NOFIELD", ""])
async def test_a_channel_that_can_not_be_read_is_named(describer: Describer, name: str) -> None:
    with pytest.raises(LookupError) as raised:
        await describer.describe(["T:AO", name])
    assert str(raised.value).startswith(f"{name} can't be read: ")


def test_an_alarm_that_nobody_knows_is_told_as_it_is() -> None:
    assert alarm_of(b"\0\3\0\2") == "MAJOR (HIHI)"
    assert alarm_of(b"\0\3\0\0") == ""
    assert alarm_of(b"\0\x63\0\3") == "INVALID"
    assert alarm_of(b"\0\0\0\x09") == "severity 9 (NO_ALARM)"
