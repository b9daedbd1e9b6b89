"""`runpermit doctor`: each finding with its remedy, and no secret."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SETTINGS = """
[control_system]
type = "mock"
[kernels]
isolation = "none"
[generation]
model = "gpt"
[limits]
file = "limits.json"
"""
KEY = "sk-very-secret"
Doctor = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def doctor(server: Any, tmp_path: Path) -> Doctor:
    """Runs the doctor on these settings: exit code, checks by name, all that was printed."""

    def run(settings: str = SETTINGS, address: str = server.address, key: str = KEY) -> Any:
        (tmp_path / "runpermit.toml").write_text(settings)
        (tmp_path / "limits.json").write_text('{"SR:HCM1": {"min_value": -1, "max_value": 1}}')
        ran = subprocess.run(
            [sys.executable, "-m", "runpermit.cli", "doctor", "--json", "--address", address],
            capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
            env={**os.environ, "OPENAI_API_KEY": key},
        )  # fmt: skip
        checks = {check["name"]: check for check in json.loads(ran.stdout)["checks"]}
        return ran.returncode, checks, ran.stdout + ran.stderr

    return run


def test_a_sound_installation_is_code_0_and_the_key_is_never_printed(doctor: Doctor) -> None:
    code, checks, printed = doctor()
    assert code == 0
    for name in ("temporal", "worker", "settings", "limits", "model", "executions"):
        assert checks[name]["verdict"] == "ok", checks[name]
    assert checks["isolation"]["verdict"] == "warn"
    assert KEY not in printed


def test_an_unregistered_search_attribute_comes_with_the_command_that_registers_it(
    doctor: Doctor, server: Any
) -> None:
    _, checks, _ = doctor()
    assert checks["stage search"]["verdict"] == "warn"
    assert (
        f"--name RunpermitStage --type Keyword --address {server.address}"
        in (checks["stage search"]["remedy"])
    )


def test_no_server_is_code_4_and_this_host_is_checked_all_the_same(doctor: Doctor) -> None:
    code, checks, _ = doctor(address="127.0.0.1:1")
    assert code == 4
    assert checks["temporal"]["verdict"] == "fail"
    assert checks["limits"]["verdict"] == "ok"


@pytest.mark.parametrize(
    ("change", "name", "found"),
    [
        (('"mock"', '"tango"'), "settings", "control_system.type"),
        (('isolation = "none"', 'isolation = "container"'), "settings", "no remote endpoint"),
        (('model = "gpt"', ""), "model", "generation.model"),
        (("[limits]", '[executions]\nroot = "limits.json"\n[limits]'), "executions", "no"),
    ],
)
def test_what_keeps_executions_from_running_is_code_2(
    doctor: Doctor, change: tuple[str, str], name: str, found: str
) -> None:
    code, checks, _ = doctor(SETTINGS.replace(*change))
    assert code == 2
    assert checks[name]["verdict"] == "fail"
    assert found in checks[name]["found"]


def test_a_missing_key_is_named_and_is_code_2(doctor: Doctor) -> None:
    code, checks, _ = doctor(key="")
    assert code == 2
    assert "OPENAI_API_KEY" in checks["model"]["found"]


def test_without_a_key_an_endpoint_of_ones_own_is_named_and_no_failure(doctor: Doctor) -> None:
    """The worker may have one, and a local server asks for none."""
    url = "http://127.0.0.1:9/v1"
    settings = SETTINGS.replace('model = "gpt"', f'model = "gpt"\nbase_url = "{url}"')
    code, checks, _ = doctor(settings, key="")
    assert code == 0
    assert checks["model"]["verdict"] == "warn"
    assert (
        f"gpt at generation.base_url {url}; OPENAI_API_KEY is not set" in checks["model"]["found"]
    )


@pytest.mark.parametrize(("writes", "verdict"), [("false", "warn"), ("true", "fail")])
def test_limits_that_do_not_load_fail_where_writes_are_enabled(
    doctor: Doctor, writes: str, verdict: str
) -> None:
    settings = SETTINGS.replace("limits.json", "missing.json")
    settings = settings.replace('"mock"', f'"mock"\nwrites_enabled = {writes}')
    _, checks, _ = doctor(settings + '[approval]\nassurance = "claimed"\n')
    assert checks["limits"]["verdict"] == verdict
    assert "missing.json" in checks["limits"]["found"]
