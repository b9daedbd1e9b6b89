from typing import Any

import pytest

from runpermit.limits import LimitsDatabase
from runpermit.limits_report import ChannelReport, explain

SOUND: dict[str, Any] = {
    "min_value": -5,
    "max_value": 5,
    "max_step": 0.5,
    "units": "A",
    "verification": {"level": "readback", "tolerance_absolute": 0.01},
    "readback": {"channel": "X:RB", "scale": 2, "settle_time": 1},
}


def report(entry: dict[str, Any]) -> ChannelReport:
    return explain(LimitsDatabase.from_dict({"X": entry}))[0]


def test_a_sound_entry_is_told_without_warning() -> None:
    assert report(SOUND).lines() == [
        "X",
        "  write     -5 to 5 A",
        "  step      at most 0.5 A (slew at most 5 A/s)",
        "  interval  0.1 s at least between two writes",
        "  verified  by reading back, within 0.01 A",
        "  readback  X:RB = setpoint × 2 + 0, after 1 s",
    ]


def test_a_read_only_entry_says_only_that() -> None:
    only = report({"writable": False, "description": "Beam current"})
    assert only.facts == (("description", "Beam current"), ("write", "never"))
    assert only.warnings == ()


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"min_value": None}, "no min_value"),
        ({"max_value": None}, "no max_value"),
        ({"max_step": None}, "no max_step"),
        ({"readback": None}, "no readback"),
        ({"readback": {"channel": "X"}}, "the setpoint itself"),
        ({"verification": {"level": "none"}}, "verification level none"),
        ({"min_interval": 0}, "min_interval 0"),
        ({"max_step_relative": 0.1}, "while the channel reads 0"),
        ({"affects": ["TYPO"]}, "affects TYPO, which is not listed"),
        ({"affects": ["X"]}, "affects itself"),
        ({"stop": {"channel": "X.STOP", "value": 1}}, "stop writes X.STOP"),
    ],
)
def test_what_is_missing_is_warned_of(change: dict[str, Any], warning: str) -> None:
    (found,) = report({**SOUND, **change}).warnings
    assert warning in found


def test_an_entry_without_any_rule_is_warned_of() -> None:
    assert report({}).warnings == ("no bounds and no allowed_values: any number or text passes",)


def test_all_else_that_an_entry_says_is_told() -> None:
    facts = dict(
        report(
            {
                "allowed_values": ["ON", 0],
                "max_length": 3,
                "done": {"channel": "D", "value": 1},
                "affects": ["Y"],
                "stop": {"channel": "S", "value": 1},
                "conditions": [{"channel": "MODE", "op": "!=", "value": "USER"}],
                "plan_tolerance": 0.1,
                "restore": False,
            }
        ).facts
    )
    assert facts["allowed"] == "ON, 0"
    assert facts["done"] == "when D = 1"
    assert facts["affects"] == "Y"
    assert facts["stopped by"] == "S = 1"
    assert facts["only while"] == "MODE != USER"
    assert facts["plan"] == "within 0.1 of the plan"
    assert facts["restore"] == "never put back"


def test_hidden_characters_of_a_description_are_shown() -> None:
    assert dict(report({"description": "a\u202eb"}).facts)["description"] == "a\\u202eb"
