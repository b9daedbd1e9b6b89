"""`runpermit limits check FILE --live` and `doctor --live` at a real gate before a real IOC."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gate.conftest import Gate, gate_for, serving_ioc

pytestmark = [pytest.mark.slow, pytest.mark.parts]

LIMITS = {
    "T:CLAMP": {"min_value": -5, "max_value": 20},
    "T:AO:ALIAS": {"units": "mA"},
    "T:NO:SUCH": {},
}


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    with serving_ioc() as ioc, gate_for(ioc, limits=LIMITS) as gate:
        yield gate


def channels(folder: Path) -> dict[str, Any]:
    """What the doctor says of them."""
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "runpermit.cli", "doctor", "--live", "--json"),
            *("--address", "127.0.0.1:1"),
        ],
        capture_output=True, text=True, cwd=folder, timeout=90, check=False,
    )  # fmt: skip
    (found,) = [one for one in json.loads(ran.stdout)["checks"] if one["name"] == "channels"]
    return dict(found)


def check(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runpermit.cli", "limits", "check", "limits.json", *options],
        capture_output=True, text=True, cwd=folder, timeout=60, check=False,
    )  # fmt: skip


def test_what_does_not_fit_to_the_machine_is_told_and_nothing_is_written(gate: Gate) -> None:
    ran = check(gate.folder, "--live", "--json")
    assert ran.returncode == 0, ran.stderr
    channels: dict[str, Any] = {one["channel"]: one for one in json.loads(ran.stdout)["channels"]}
    assert ["at its IOC", "ao, drive limits -10 to 10, reads 0"] in channels["T:CLAMP"]["facts"]
    told = {name: " ".join(one["warnings"]) for name, one in channels.items()}
    assert "max_value 20 is beyond its drive limits: clamps at DRVH = 10" in told["T:CLAMP"]
    assert "is another name of T:AO: " in told["T:AO:ALIAS"]
    assert "units mA here, A at its IOC" in told["T:AO:ALIAS"]
    assert "does not answer: no IOC has T:NO:SUCH" in told["T:NO:SUCH"]
    assert gate.journal("write") == []


def test_in_words_it_stands_with_the_entry(gate: Gate) -> None:
    ran = check(gate.folder, "--live")
    assert "  ! does not answer: no IOC has T:NO:SUCH\n" in ran.stdout
    assert "  at its IOC  ao, drive limits -10 to 10, reads 0\n" in ran.stdout
    assert "at its IOC" not in check(gate.folder).stdout


def test_without_a_gate_it_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "limits.json").write_text(json.dumps(LIMITS))
    ran = check(tmp_path, "--live", "--socket", str(tmp_path / "none.sock"), "--json")
    assert ran.returncode == json.loads(ran.stdout)["error"]["exit_code"] == 4
    assert check(tmp_path).returncode == 0


def test_the_doctor_names_channels_that_do_not_answer(gate: Gate) -> None:
    found = channels(gate.folder)
    assert found["verdict"] == "fail"
    assert found["found"] == "1 of 3 do not answer: T:NO:SUCH"
    assert "limits check" in found["remedy"]


def test_the_doctor_is_content_where_all_answer(gate: Gate) -> None:
    limits = gate.folder / "limits.json"
    before = limits.read_text()
    limits.write_text('{"T:CLAMP": {}, "T:AO": {"readback": {"channel": "T:AI"}}}')
    try:
        found = channels(gate.folder)
    finally:
        limits.write_text(before)
    assert (found["verdict"], found["found"]) == (
        "ok",
        "3 of the 3 in the limits database answer",
    )


def test_the_doctor_says_that_no_gate_is_there_to_ask(gate: Gate, tmp_path: Path) -> None:
    settings = (gate.folder / "runpermit.toml").read_text()
    (tmp_path / "runpermit.toml").write_text(settings)
    (tmp_path / "limits.json").write_text(json.dumps(LIMITS))
    found = channels(tmp_path)
    assert found["verdict"] == "fail"
    assert "No gate answers at" in found["found"]
