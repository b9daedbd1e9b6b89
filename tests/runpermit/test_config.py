import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runpermit import config
from runpermit.config import (
    PythonExecutorConfig,
    Settings,
    check_settings,
    find_settings_file,
    limits_file,
    load_settings,
)
from runpermit.errors import ChannelLimitsViolationError, ContainerConfigurationError
from runpermit.models import ApprovalMode, Isolation

README = Path(__file__).parents[2] / "README.md"
WriteFile = Callable[..., Path]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither variables nor files of this machine reach the settings."""
    for name in config.os.environ:
        if name.startswith("RUNPERMIT_"):
            monkeypatch.delenv(name)
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(config, "_SYSTEM_FOLDER", tmp_path / "etc")


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    def write(content: str | bytes = "", name: str = "files/runpermit.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def refused(path: Path | None = None) -> str:
    with pytest.raises(ContainerConfigurationError) as raised:
        load_settings(path)
    return raised.value.message


def test_the_file_named_wins_over_variable_working_directory_and_etc(
    write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = write_file(name="etc/runpermit.toml")
    assert find_settings_file() == system
    here = write_file(name="cwd/runpermit.toml")
    assert find_settings_file() == here
    variable = write_file(name="variable.toml")
    monkeypatch.setenv("RUNPERMIT_CONFIG", str(variable))
    assert find_settings_file() == variable
    named = write_file(name="named.toml")
    assert find_settings_file(named) == named


def test_without_any_file_the_defaults_hold() -> None:
    assert find_settings_file() is None
    settings = load_settings()
    assert settings.control_system.writes_enabled is False
    assert settings.kernels.isolation is Isolation.FULL
    assert settings.limits.enabled is True
    assert settings.limits.allow_unlisted is False
    assert settings.approval.mode is ApprovalMode.CONTROL_WRITES


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_named_file_that_is_missing_is_refused_even_where_another_is_found(
    by: str, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_file(name="cwd/runpermit.toml")
    missing = tmp_path / "missing.toml"
    if by == "variable":
        monkeypatch.setenv("RUNPERMIT_CONFIG", str(missing))
    message = refused(missing if by == "option" else None)
    assert str(missing) in message
    assert "does not exist" in message


def test_a_variable_overrides_one_key_and_leaves_the_rest_of_its_section(
    write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_file("[timeouts]\nrun = 60\nheartbeat = 5\n")
    monkeypatch.setenv("RUNPERMIT_TIMEOUTS__RUN", "30")
    monkeypatch.setenv("RUNPERMIT_CONTROL_SYSTEM__NAME_SERVERS", '["host:5064"]')
    settings = load_settings(file)
    assert (settings.timeouts.run, settings.timeouts.heartbeat) == (30, 5)
    assert settings.control_system.name_servers == ["host:5064"]


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("[limits]\nenabeld = false\n", "limits.enabeld"),
        ("[limit]\nfile = 'x'\n", "limit"),
        ("writes_enabled = true\n", "writes_enabled"),
        ("[generation]\nOPENAI_API_KEY = 'sk-canary'\n", "generation.OPENAI_API_KEY"),
        ("OPENAI_API_KEY = 'sk-canary'\n", "OPENAI_API_KEY"),
        ("[control_system]\nwrites_enabled = 'perhaps'\n", "control_system.writes_enabled"),
        ("[control_system]\ntype = 'tango'\n", "control_system.type"),
        ("[control_system]\nname_servers = 'host:1'\n", "control_system.name_servers"),
        ("[approval]\nmode = 'sometimes'\n", "approval.mode"),
        ("[approval]\nassurance = 'sworn'\n", "approval.assurance"),
        ("[approval]\nquestion_expiry = 0\n", "approval.question_expiry"),
        ("[timeouts]\nrun = -1\n", "timeouts.run"),
        ("[timeouts]\nrun = nan\n", "timeouts.run"),
        ("[timeouts]\nrun = inf\n", "timeouts.run"),
        ("[timeouts]\nretry = 1e15\n", "timeouts.retry"),
        ("[timeouts]\nheartbeat = 0.5\n", "timeouts.heartbeat"),
        ("[generation]\ntemperature = 3\n", "generation.temperature"),
        ("[worker]\nhost = 'a b'\n", "worker.host"),
        ("[kernels]\nisolation = 'some'\n", "kernels.isolation"),
        ("limits = 3\n", "limits"),
    ],
)
def test_an_unknown_or_wrong_key_is_refused_by_file_and_name(
    content: str, key: str, write_file: WriteFile
) -> None:
    file = write_file(content)
    message = refused(file)
    assert str(file) in message
    assert f" {key}: " in message
    assert "sk-canary" not in message


def test_all_mistakes_are_told_at_once(write_file: WriteFile) -> None:
    message = refused(write_file("[limits]\nenabeld = false\n[timeouts]\nrun = 0\n"))
    assert "limits.enabeld" in message
    assert "timeouts.run" in message


@pytest.mark.parametrize(
    "name",
    [
        "RUNPERMIT_LIMIT__FILE",
        "RUNPERMIT_WORKER_HOST",
        "RUNPERMIT_LIMITS",
        "RUNPERMIT_OPENAI__API_KEY",
        "RUNPERMIT_limits__ENABLED",
    ],
)
def test_a_variable_that_is_no_setting_is_refused_by_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "false")
    assert f"{name} is no setting" in refused()


def test_an_unknown_key_in_a_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPERMIT_LIMITS__ENABELD", "false")
    message = refused()
    assert "limits.enabeld" in message
    assert "environment" in message


def test_a_variable_that_is_no_json_list_is_refused_by_section(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNPERMIT_CONTROL_SYSTEM__NAME_SERVERS", "host:5064")
    assert "control_system" in refused()


def test_the_variable_of_notebooks_is_no_setting_and_no_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNPERMIT_RERUN_WRITES", "1")
    assert load_settings() == load_settings()


def test_relative_paths_are_relative_to_the_file(
    write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_file("[limits]\nfile = 'limits.json'\n[kernels]\nenvironment = '../env'\n")
    monkeypatch.setenv("RUNPERMIT_EXECUTIONS__ROOT", "data/executions")
    settings = load_settings(file)
    base = file.parent
    assert settings.executions.root == base / "data/executions"
    assert settings.limits.file == base / "limits.json"
    assert settings.kernels.environment == base / "../env"


def test_a_file_named_by_a_relative_path_gives_absolute_ones(
    write_file: WriteFile, tmp_path: Path
) -> None:
    write_file(name="cwd/runpermit.toml")
    assert load_settings(Path("runpermit.toml")).executions.root == tmp_path / "cwd/executions"


def test_absolute_paths_stay_and_without_a_file_the_working_directory_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNPERMIT_LIMITS__FILE", str(tmp_path / "limits.json"))
    settings = load_settings()
    assert settings.limits.file == tmp_path / "limits.json"
    assert settings.executions.root == tmp_path / "cwd/executions"
    assert settings.kernels.environment is None


def test_the_host_is_the_machine_s_unless_it_is_named(write_file: WriteFile) -> None:
    assert load_settings().worker.host == socket.gethostname()
    assert load_settings(write_file("[worker]\nhost = 'srv-1.example'\n")).worker.host == (
        "srv-1.example"
    )


def test_a_toml_mistake_is_told_with_file_and_line(write_file: WriteFile) -> None:
    file = write_file("[limits]\nenabled = true\nfile = \n")
    message = refused(file)
    assert str(file) in message
    assert "line 3" in message


def test_a_file_that_is_no_text_is_refused_by_name(write_file: WriteFile) -> None:
    file = write_file(b"[limits]\nfile = '\xff'\n")
    assert str(file) in refused(file)


def test_settings_cannot_be_changed_once_they_are_read() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.control_system.writes_enabled = True


WRITES = {
    "control_system": {"type": "mock", "writes_enabled": True},
    "approval": {"assurance": "claimed"},
    "kernels": {"isolation": "full"},
}


def test_a_demo_s_settings_need_no_mending() -> None:
    assert check_settings(Settings(**WRITES)) == []


def test_a_real_machine_s_settings_need_no_mending() -> None:
    control = {"type": "epics", "writes_enabled": True}
    assert check_settings(Settings(**WRITES | {"control_system": control})) == []


def test_reading_alone_may_go_without_a_sandbox() -> None:
    settings = Settings(kernels={"isolation": "none"}, approval={"mode": "disabled"})
    assert check_settings(settings) == []


@pytest.mark.parametrize(
    ("section", "values", "setting"),
    [
        ("kernels", {"isolation": "none"}, 'kernels.isolation = "none" never writes'),
        ("kernels", {"isolation": "container"}, 'kernels.isolation = "container"'),
        ("approval", {"mode": "disabled"}, 'approval.mode = "disabled"'),
        ("approval", {"assurance": None}, "approval.assurance"),
        ("approval", {"persons": 2}, "approval.persons needs approval.assurance"),
        ("approval", {"approvers": ["jd"]}, "approval.approvers needs"),
        (
            "approval",
            {"requester_may_approve": False},
            "approval.requester_may_approve = false needs",
        ),
    ],
)
def test_what_must_be_mended_is_told_by_setting(
    section: str, values: dict[str, Any], setting: str
) -> None:
    settings = Settings(**(WRITES | {section: WRITES[section] | values}))
    (line,) = check_settings(settings)
    assert setting in line


@pytest.mark.parametrize("assurance", ["authenticated", "signed"])
def test_rules_about_persons_mean_something_where_persons_are_known(assurance: str) -> None:
    rule = {"persons": 2, "approvers": ["jd", "mk"], "requester_may_approve": False}
    # The worker needs no allowed_signers: it is the gate that verifies.
    settings = Settings(**WRITES | {"approval": {"assurance": assurance, **rule}})
    assert check_settings(settings) == []


def test_all_that_must_be_mended_is_told_at_once() -> None:
    settings = Settings(
        control_system={"writes_enabled": True},
        approval={"mode": "disabled"},
        kernels={"isolation": "none"},
    )
    assert len(check_settings(settings)) == 3


def test_the_executor_s_settings_have_the_deployment_s_defaults() -> None:
    executor = PythonExecutorConfig()
    assert executor.execution_timeout_seconds == 600
    assert executor.settings == Settings()


def test_the_executor_takes_a_settings_mapping() -> None:
    executor = PythonExecutorConfig({"timeouts": {"run": 5}})
    assert executor.execution_timeout_seconds == 5


def test_the_executor_refuses_a_wrong_mapping_by_key_and_without_its_values() -> None:
    with pytest.raises(ContainerConfigurationError) as raised:
        PythonExecutorConfig({"generation": {"api_key": "sk-canary"}})
    assert "configurable: generation.api_key" in raised.value.message
    assert "sk-canary" not in raised.value.message


def test_where_limits_are_disabled_there_is_no_validator() -> None:
    assert PythonExecutorConfig({"limits": {"enabled": False}}).limits_validator is None


@pytest.mark.parametrize("limits", [{}, {"file": "missing.json"}])
def test_the_executor_s_validator_refuses_every_write_without_a_database(
    limits: dict[str, str],
) -> None:
    validator = PythonExecutorConfig({"limits": limits}).limits_validator
    assert validator is not None
    with pytest.raises(ChannelLimitsViolationError, match="SR:X"):
        validator.static_check("SR:X", 1.0)


def test_the_executor_s_validator_is_loaded_once(write_file: WriteFile) -> None:
    file = write_file('{"SR:X": {"min_value": 0, "max_value": 1}}', "limits.json")
    executor = PythonExecutorConfig({"limits": {"file": str(file)}})
    validator = executor.limits_validator
    assert validator is not None
    assert validator.find("SR:X") is not None
    assert executor.limits_validator is validator


def test_the_limits_file_follows_its_settings(tmp_path: Path) -> None:
    settings = Settings(limits={"file": tmp_path / "x.json", "allow_unlisted": True}).limits
    file = limits_file(settings)
    assert (file.path, file.enabled, file.allow_unlisted) == (tmp_path / "x.json", True, True)


def test_the_readme_lists_every_setting_with_its_default() -> None:
    _, _, rest = README.read_text().partition("| setting | default | meaning |\n")
    rows, _, _ = rest.partition("\n\n")
    table = re.findall(r"^\| `(\w+\.\w+)` \| (.*?) \|", rows, re.MULTILINE)
    listed = dict(table)
    assert len(listed) == len(table)
    defaults = {
        f"{section}.{name}": field.get_default()
        for section, holder in Settings.model_fields.items()
        for name, field in type(holder.get_default()).model_fields.items()
    }
    assert list(listed) == list(defaults)
    for name, default in defaults.items():
        told = listed[name]
        if default in (None, "", []):
            assert "`" not in told, name
        elif isinstance(default, float | int) and not isinstance(default, bool):
            number, _, unit = told.partition(" ")
            assert number == str(default), name
            assert unit in {"", "s", "MiB", "bytes"}, name
        elif isinstance(default, list):
            assert told == ", ".join(f"`{item}`" for item in default), name
        elif isinstance(default, bool):
            assert told == f"`{str(default).lower()}`", name
        else:
            assert told == f"`{default}`", name
