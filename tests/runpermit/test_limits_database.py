import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runpermit.errors import ContainerConfigurationError
from runpermit.limits import (
    ConditionOperator,
    LimitsDatabase,
    LimitsValidator,
    VerificationLevel,
)

DEMO = Path(__file__).parents[2] / "demo" / "limits.json"

FULL = {
    "_comment": "of the facility",
    "defaults": {
        "min_interval": 0.5,
        "verification": {"level": "readback", "tolerance_percent": 1},
        "readback": {"settle_time": 2},
    },
    "HCM1": {
        "_note": "horizontal corrector",
        "min_value": -5,
        "max_value": 5.0,
        "max_step": 0.5,
        "max_step_relative": 0.5,
        "writable": True,
        "verification": {"tolerance_absolute": 0.01},
        "description": "Corrector 1",
        "units": "A",
        "plan_tolerance": 0.02,
        "readback": {"channel": "HCM1:RB", "scale": 2, "offset": 1, "tolerance": 0.1},
        "done": {"channel": "HCM1:DONE", "value": 1},
        "affects": ["BPM1", "TYPO"],
        "stop": {"channel": "HCM1.STOP", "value": 1},
        "restore": False,
        "conditions": [{"channel": "MODE", "op": "==", "value": "STUDY", "_why": "safe"}],
    },
    "BPM1": {"writable": False, "verification": {"level": "none"}},
    "MODE": {"allowed_values": ["STUDY", 2], "max_length": 10},
}


def fault(data: Any) -> str:
    with pytest.raises(ContainerConfigurationError) as caught:
        LimitsDatabase.from_dict(data)
    return caught.value.message


def load_fault(path: Path) -> str:
    with pytest.raises(ContainerConfigurationError) as caught:
        LimitsDatabase.load(path)
    return caught.value.message


def test_every_field_of_an_entry_is_read() -> None:
    database = LimitsDatabase.from_dict(FULL)
    assert list(database.channels) == ["HCM1", "BPM1", "MODE"]
    entry = database.channels["HCM1"]
    assert (entry.min_value, entry.max_value, entry.max_step) == (-5, 5, 0.5)
    assert entry.readback is not None
    assert (entry.readback.channel, entry.readback.scale) == ("HCM1:RB", 2)
    assert entry.conditions[0].op is ConditionOperator.EQUAL
    assert entry.affects == ("BPM1", "TYPO")
    assert entry.restore is False
    assert database.channels["MODE"].allowed_values == ("STUDY", 2)


def test_defaults_fill_listed_entries_in_nested_objects_too() -> None:
    channels = LimitsDatabase.from_dict(FULL).channels
    verification = channels["HCM1"].verification
    assert verification.level is VerificationLevel.READBACK
    assert (verification.tolerance_absolute, verification.tolerance_percent) == (0.01, 1)
    assert channels["HCM1"].readback is not None
    assert channels["HCM1"].readback.settle_time == 2
    assert channels["HCM1"].min_interval == 0.5
    assert channels["BPM1"].verification.level is VerificationLevel.NONE
    assert channels["MODE"].readback is None


def test_an_inherited_read_only_holds() -> None:
    channels = LimitsDatabase.from_dict(
        {"defaults": {"writable": False}, "A": {}, "B": {"writable": True}}
    ).channels
    assert (channels["A"].writable, channels["B"].writable) == (False, True)


def test_defaults_are_no_entry_and_do_not_reach_unlisted_channels() -> None:
    database = LimitsDatabase.from_dict({"defaults": {"max_value": 1}, "A": {}})
    LimitsValidator(database, allow_unlisted=True).validate("B", 2)
    assert database.find("defaults") is None


def test_an_entry_stands_for_its_val_field_alone() -> None:
    database = LimitsDatabase.from_dict({"A.VAL": {"max_value": 1}, "A.DRVH": {"max_value": 2}})
    assert database.find("A") is database.find("A.VAL") is database.channels["A"]
    assert database.find("A.DRVH") is database.channels["A.DRVH"]
    assert database.find("A.DRVL") is None
    assert "are the same channel" in fault({"A": {}, "A.VAL": {}})


@pytest.mark.parametrize(
    ("entry", "field", "says"),
    [
        ({"max_vlaue": 5}, "max_vlaue", "no such field"),
        ({"max_value": "5"}, "max_value", "valid number"),
        ({"max_value": True}, "max_value", "valid number"),
        ({"min_value": False}, "min_value", "valid number"),
        ({"max_value": float("nan")}, "max_value", "finite"),
        ({"max_step": float("inf")}, "max_step", "finite"),
        ({"max_step": 0}, "max_step", "greater than 0"),
        ({"max_step": -1}, "max_step", "greater than 0"),
        ({"min_interval": -0.1}, "min_interval", "greater than or equal to 0"),
        ({"min_interval": 601}, "min_interval", "less than or equal to 600"),
        (
            {"readback": {"channel": "B", "settle_time": 86400}},
            "readback.settle_time",
            "less than or equal to 600",
        ),
        ({"writable": "false"}, "writable", "boolean"),
        ({"writable": 0}, "writable", "boolean"),
        ({"max_length": 1.5}, "max_length", "integer"),
        ({"verification": {"level": "always"}}, "verification.level", "'readback'"),
        ({"verification": {"tolerance": 1}}, "verification.tolerance", "no such field"),
        ({"readback": {"scale": 1}}, "readback.channel", "required"),
        ({"readback": {"channel": "B", "scale": 0}}, "readback", "follow nothing"),
        ({"readback": {"channel": "B C"}}, "readback.channel", "pattern"),
        ({"done": {"channel": "B", "value": None}}, "done.value", "text or a finite number"),
        ({"stop": {"channel": "B", "value": True}}, "stop.value", "text or a finite number"),
        ({"allowed_values": [1, [2]]}, "allowed_values.1", "text or a finite number"),
        ({"affects": "B"}, "affects", "tuple"),
        (
            {"conditions": [{"channel": "B", "op": "=", "value": 1}]},
            "conditions.0.op",
            "'=='",
        ),
        (
            {"conditions": [{"channel": "B", "op": "<", "value": "x"}]},
            "conditions.0",
            "can't be compared",
        ),
        ({"restore": "no"}, "restore", "boolean"),
    ],
)
def test_case_12_a_wrong_field_stops_the_load_and_is_named_with_its_entry(
    entry: dict[str, Any], field: str, says: str
) -> None:
    message = fault({"GOOD": {"max_value": 1}, "BAD": entry})
    assert f'entry "BAD", field {field}: ' in message
    assert says in message
    assert "runpermit limits check" in message


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"min_value": 2, "max_value": 1}, "min_value 2 is above max_value 1"),
        ({"allowed_values": []}, "allowed_values is empty"),
        ({"allowed_values": ["ON"], "max_value": 1}, "the text 'ON'"),
        ({"allowed_values": [2], "max_value": 1}, "holds 2, outside"),
        ([0, 1], "should be an object"),
        (None, "should be an object"),
    ],
)
def test_case_12_an_entry_that_makes_no_sense_stops_the_load(entry: Any, says: str) -> None:
    message = fault({"BAD": entry})
    assert 'entry "BAD": ' in message
    assert says in message


@pytest.mark.parametrize("name", ["", " A", "A B", "A\n", "É"])
def test_a_name_that_no_channel_has_stops_the_load(name: str) -> None:
    assert "channel's name" in fault({name: {}})


@pytest.mark.parametrize(
    ("defaults", "field"),
    [
        ({"writeable": False}, "writeable"),
        ({"max_step": True}, "max_step"),
        ({"readback": {"settle_time": "1"}}, "readback.settle_time"),
        ({"readback": {"channel": "B"}}, "readback.channel"),
    ],
)
def test_a_wrong_default_is_named_even_where_no_channel_is_listed(
    defaults: dict[str, Any], field: str
) -> None:
    assert f'entry "defaults", field {field}: ' in fault({"defaults": defaults})


def test_a_default_that_contradicts_an_entry_names_the_entry() -> None:
    assert 'entry "A": min_value 5 is above' in fault(
        {"defaults": {"min_value": 5}, "A": {"max_value": 1}}
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{\n  "A": {"max_value": 1},}', "line 2, column"),
        ('{\n  "A": {\n    "allowed_values": [1,]}}', "line 3, column"),
        ("", "line 1, column 1"),
        ('{"A": {}} x', "line 1, column 11"),
        ('{"A": {"max_value": 1, "max_value": 2}}', 'entry "A", field max_value: given twice'),
        (
            '{"A": {"readback": {"channel": "B", "channel": "C"}}}',
            'entry "A", field readback.channel: given twice',
        ),
        ('{"A": {}, "A": {}}', 'entry "A" is given twice'),
        ('{"A": {"max_value": NaN}}', 'entry "A", field max_value'),
        ('{"A": {"max_value": 1e400}}', 'entry "A", field max_value'),
        ('{"A": {"max_value": ' + "9" * 5000 + "}}", "not usable JSON"),
        ("[" * 100_000, "not usable JSON"),
        ("[]", "should be one object"),
        ("null", "should be one object"),
    ],
)
def test_case_13_a_broken_file_is_named_with_the_place(
    tmp_path: Path, text: str, where: str
) -> None:
    path = tmp_path / "limits.json"
    path.write_text(text)
    message = load_fault(path)
    assert message.startswith(f"{path}: ")
    assert where in message
    assert "every write is refused" in message


@pytest.mark.parametrize("text", ['{\n  "A": {"max_value": 1},\n}', '{"A": {"affects": ["B",\n]}}'])
def test_case_13_the_trailing_comma_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "limits.json"
    path.write_text(text)
    message = load_fault(path)
    assert "line " in message
    # Newer Pythons name the comma themselves.
    assert "comma" in message


def test_case_13_text_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    path.write_bytes(b'{\n"A": {"units": "\xb5m"}}')
    assert "line 2: not UTF-8" in load_fault(path)


def test_case_13_a_missing_file_is_named_with_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    message = load_fault(path)
    assert str(path) in message
    assert "No such file" in message
    assert "[limits] file" in message


def test_comments_may_repeat(tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    path.write_text('{"_": 1, "_": 2, "A": {"_x": 1, "_x": NaN}}')
    assert list(LimitsDatabase.load(path).channels) == ["A"]


def test_the_sha256_tells_content_and_not_layout(tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    path.write_text(json.dumps(dict(reversed(FULL.items())), indent=7))
    loaded = LimitsDatabase.load(path)
    assert loaded.path == path
    assert loaded.sha256 == LimitsDatabase.from_dict({**FULL, "_comment": "x"}).sha256
    assert loaded.sha256 != LimitsDatabase.from_dict({**FULL, "BPM2": {}}).sha256
    defaults = {**FULL["defaults"], "min_interval": 0.6}
    assert loaded.sha256 != LimitsDatabase.from_dict({**FULL, "defaults": defaults}).sha256


def test_an_entry_can_not_be_changed() -> None:
    entry = LimitsDatabase.from_dict(FULL).channels["HCM1"]
    with pytest.raises(ValidationError, match="frozen"):
        entry.max_value = 1e9


def test_the_limits_load_nothing_heavy() -> None:
    code = (
        "import sys, runpermit.limits\n"
        "heavy = {'numpy', 'epics', 'openai', 'temporalio', 'typer', 'structlog', 'yaml'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_demo_loads_and_bounds_its_correctors() -> None:
    database = LimitsDatabase.load(DEMO)
    entry = database.find("SR:HCM1:SP")
    assert entry is not None
    assert None not in (entry.min_value, entry.max_value, entry.max_step, entry.units)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (rb'{"A": {"description": "\ud800"}}', 'entry "A", field description'),
        (rb'{"A": {"units": "V", "conditions": ["\udfff"]}}', 'entry "A", field conditions.0'),
        (rb'{"A": {"\ud800": 1}}', r'entry "A", field \ud800'),
        (rb'{"A": {"\ud800": 1, "\ud800": 1}}', r'entry "A", field \ud800'),
        (rb'{"\ud800": {}}', r"entry '\ud800'"),
        (rb'{"\ud800": {}, "\ud800": {}}', r'entry "\ud800"'),
        (rb'{"defaults": {"units": "\ud800"}}', 'entry "defaults", field units'),
    ],
)
def test_half_a_character_is_refused_where_it_stands(content: bytes, where: str) -> None:
    with pytest.raises(ContainerConfigurationError) as caught:
        LimitsDatabase.from_bytes(content, Path("limits.json"))
    assert f"limits.json: {where}" in caught.value.message
    caught.value.message.encode()


@pytest.mark.parametrize(
    "content",
    [
        b'{"A": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"A": {"max_value": 1, "allowed_values": [1' + b"0" * 400 + b"]}}",
    ],
)
def test_what_is_too_deep_or_too_large_a_number_is_refused_with_the_file(content: bytes) -> None:
    with pytest.raises(ContainerConfigurationError, match=r"limits\.json"):
        LimitsDatabase.from_bytes(content, Path("limits.json"))


def test_many_channels_load_in_time_that_grows_with_their_number() -> None:
    content = json.dumps({f"A{n}": {"max_value": 1} for n in range(30_000)}).encode()
    start = time.process_time()
    assert len(LimitsDatabase.from_bytes(content, Path("limits.json")).channels) == 30_000
    assert time.process_time() - start < 8


def test_a_repeated_entry_among_many_is_found() -> None:
    content = b"{" + b"".join(b'"A%d": {}, ' % n for n in range(1000)) + b'"A500": {}}'
    with pytest.raises(ContainerConfigurationError, match='entry "A500" is given twice'):
        LimitsDatabase.from_bytes(content, Path("limits.json"))
