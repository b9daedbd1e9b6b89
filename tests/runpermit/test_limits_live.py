"""A limits database beside what its IOCs tell: what does not fit."""

from typing import Any

import pytest

from runpermit.limits import LimitsDatabase
from runpermit.limits_live import channels_of, compare
from runpermit.limits_report import ChannelReport, explain
from runpermit.models import FoundChannel

SOUND: dict[str, Any] = {"min_value": -5, "max_value": 5, "units": "A", "max_step": 1}
HERE = FoundChannel(
    name="X",
    channel="X",
    record_type="ao",
    units="A",
    reads=0.2,
    drive_low=-10,
    drive_high=10,
    beyond_low="clamps at DRVL = -10: less is stored as -10",
    beyond_high="clamps at DRVH = 10: more is stored as 10",
)


def report(
    entry: dict[str, Any], here: FoundChannel = HERE, *others: FoundChannel
) -> ChannelReport:
    database = LimitsDatabase.from_dict({"X": entry})
    found = {channel.name: channel for channel in (here, *others)}
    return compare(explain(database), database, found)[0]


def warnings(entry: dict[str, Any], here: FoundChannel = HERE, *others: FoundChannel) -> list[str]:
    """What the machine adds to the warnings that the file alone has."""
    alone = explain(LimitsDatabase.from_dict({"X": entry}))[0].warnings
    return list(report(entry, here, *others).warnings[len(alone) :])


def test_what_fits_is_told_without_a_warning() -> None:
    assert warnings(SOUND) == []
    assert report(SOUND).facts[-1] == (
        "at its IOC",
        "ao, drive limits -10 to 10, reads 0.2 A",
    )


@pytest.mark.parametrize(("reads", "told"), [(1.0, "reads On"), (7.0, "reads 7")])
def test_a_state_is_told_by_its_name(reads: float, told: str) -> None:
    here = HERE.model_copy(update={"states": ["Off", "On"], "reads": reads})
    assert report({"allowed_values": [0]}, here).facts[-1][1].endswith(told)


@pytest.mark.parametrize(
    ("entry", "here", "warning"),
    [
        ({}, {"problem": "no IOC has X"}, "does not answer: no IOC has X"),
        (
            {},
            {"channel": "Y"},
            "is another name of Y: writes are judged by that one, and this entry never counts",
        ),
        ({}, {"units": "mA"}, "units A here, mA at its IOC"),
        (
            {},
            {"holds_text": True},
            "numbers are bounded, and its record holds texts: no write passes",
        ),
        ({}, {"reads": 7.0}, "reads 7, above max_value 5"),
        ({}, {"reads": -7.0}, "reads -7, below min_value -5"),
        (
            {"max_value": 20},
            {},
            "max_value 20 is beyond its drive limits: clamps at DRVH = 10: more is stored as 10",
        ),
        (
            {"min_value": -20},
            {},
            "min_value -20 is beyond its drive limits: clamps at DRVL = -10: less is stored as -10",
        ),
        ({}, {"drive_problem": "drive limits can't be read"}, "drive limits can't be read"),
    ],
)
def test_what_does_not_fit_is_a_warning(
    entry: dict[str, Any], here: dict[str, Any], warning: str
) -> None:
    assert warnings(SOUND | entry, HERE.model_copy(update=here)) == [warning]


@pytest.mark.parametrize(
    ("allowed", "here", "expected"),
    [
        (["User"], {"states": ["Off", "User"]}, []),
        ([1], {"states": ["Off", "User"]}, []),
        (["Usr"], {"states": ["Off"]}, ["allowed_values holds 'Usr', which is none of its states"]),
        ([2], {"states": ["Off", "On"]}, ["allowed_values holds 2, and it has 2 states"]),
        (["a"], {}, ["allowed_values holds the text 'a', and its record holds numbers"]),
        (["a"], {"holds_text": True}, []),
    ],
)
def test_allowed_values_that_its_record_does_not_have(
    allowed: list[Any], here: dict[str, Any], expected: list[str]
) -> None:
    assert warnings({"allowed_values": allowed}, HERE.model_copy(update=here)) == expected


def readback(reads: float | None = 0.41, **fields: Any) -> FoundChannel:
    return FoundChannel(name="RB", channel="RB", record_type="ai", reads=reads, **fields)


FOLLOWED = SOUND | {"readback": {"channel": "RB", "scale": 2, "tolerance": 0.05}}


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (readback(), []),
        (readback(None), []),
        (readback(0.5), ["readback RB reads 0.5, and 0.4 belongs to the setpoint: beyond 0.05"]),
        (readback(None, holds_text=True), ["readback RB holds texts: it follows nothing"]),
        (
            FoundChannel(name="RB", problem="no IOC has RB"),
            ["readback RB does not answer: no IOC has RB"],
        ),
    ],
)
def test_a_readback_that_does_not_follow(there: FoundChannel, expected: list[str]) -> None:
    assert warnings(FOLLOWED, HERE, there) == expected


def test_each_channel_that_an_entry_names_is_looked_for() -> None:
    entry = FOLLOWED | {
        "done": {"channel": "D", "value": 1},
        "affects": ["F", "RB"],
        "stop": {"channel": "S", "value": 1},
        "conditions": [{"channel": "C", "op": "==", "value": 1}],
    }
    database = LimitsDatabase.from_dict({"X": entry})
    assert channels_of(database) == ["X", "RB", "D", "F", "S", "C"]
    gone = [FoundChannel(name=name, problem="gone") for name in ("D", "F", "S", "C")]
    assert warnings(entry, HERE, readback(), *gone) == [
        f"{what} does not answer: gone" for what in ("done D", "affects F", "stop S", "condition C")
    ]


def test_of_what_nobody_may_write_only_name_and_units_are_compared() -> None:
    entry = {"writable": False, "units": "A"}
    here = HERE.model_copy(update={"units": "mA", "holds_text": True})
    assert warnings(entry, here) == ["units A here, mA at its IOC"]


def test_what_an_ioc_says_acts_on_no_terminal() -> None:
    hostile = HERE.model_copy(update={"units": "\x1b[2J", "channel": "\x1b[2J", "problem": ""})
    told = report(SOUND | {"units": "A"}, hostile)
    assert "\x1b" not in "\n".join(told.lines())
