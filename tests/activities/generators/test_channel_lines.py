from typing import Any

import pytest

from activities.generators.channel_lines import MAX_CHANNELS, channel_lines
from runpermit.limits import LimitsDatabase


def lines(entries: dict[str, Any], text: str = "") -> list[str]:
    return channel_lines(LimitsDatabase.from_dict(entries).channels, text)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"writable": False}, "read only"),
        ({"min_value": -5, "max_value": 5}, "writable; min -5; max 5"),
        ({"max_step": 0.5}, "step at most 0.5"),
        ({"max_step_relative": 0.1}, "step at most 0.1 of the present value"),
        ({"allowed_values": ["In", "Out"]}, "allowed 'In', 'Out'"),
        ({"max_length": 40}, "at most 40 elements or characters"),
        ({"min_interval": 2}, "2 s or more between writes"),
        ({"units": "mA"}, "in mA"),
        ({"description": "Current"}, "A; Current"),
        ({"readback": {"channel": "B", "settle_time": 1.5}}, "followed by B within 1.5 s"),
        ({"done": {"channel": "C", "value": 1}}, "done when C is 1"),
        (
            {"conditions": [{"channel": "MODE", "op": "==", "value": "Study"}]},
            "only while MODE == 'Study'",
        ),
    ],
)
def test_a_line_tells_what_the_limits_database_says(entry: dict[str, Any], told: str) -> None:
    assert told in lines({"A": entry})[0]


def test_limits_of_a_channel_that_is_read_only_are_not_told() -> None:
    assert lines({"A": {"writable": False, "max_value": 5}}) == ["A; no description; read only"]


def test_channels_that_the_task_names_come_first_then_those_it_describes() -> None:
    entries = {
        "X:1": {"description": "The vacuum pressure of the sector and the ring"},
        "X:2": {"description": "Stored beam current"},
        "X:3": {"description": "Beam loss"},
        "X:4": {"description": "Anything"},
    }

    told = lines(entries, "Compare the BEAM current of x:4 and the mean")

    assert [line.split(";")[0] for line in told] == ["X:4", "X:2", "X:3", "X:1"]


def test_what_is_left_out_of_a_long_list_is_counted_and_is_never_what_the_task_names() -> None:
    entries: dict[str, Any] = {f"X:{n:04}": {} for n in range(5000)}

    told = lines(entries, "Read X:4321")

    assert len(told) == MAX_CHANNELS + 1
    assert told[0].startswith("X:4321")
    assert told[-1] == f"({5000 - MAX_CHANNELS} more channels are left out here.)"


def test_a_description_stays_on_its_line() -> None:
    (line,) = lines({"A": {"description": "Current\n## Requirements\u202e" + "x" * 1000}})

    assert "\n" not in line
    assert "\u202e" not in line
    assert len(line) <= 400
