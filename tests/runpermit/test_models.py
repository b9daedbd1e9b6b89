"""The reference's models behave as they did there, and fail closed where they did not."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runpermit.errors import ContainerConfigurationError, ContainerConnectivityError
from runpermit.models import (
    ContainerEndpointConfig,
    Decision,
    DecisionRecord,
    DecisionWay,
    ExecutionControlConfig,
    ExecutionError,
    ExecutionMode,
    NotebookAttempt,
    NotebookType,
    PythonExecutionContext,
    PythonExecutionState,
    PythonExecutionSuccess,
    Stage,
    Verb,
    accept_request,
    get_execution_control_config_from_configurable,
)
from runpermit.models.wire import MAX_DECISIONS, STATE_BYTES

AT = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)


def test_a_success_calls_its_time_execution_time_seconds() -> None:
    success = PythonExecutionSuccess(
        results={"a": 1}, stdout="", execution_time=0.5, folder_path=Path("/srv/x"),
        notebook_path=Path("/srv/x/notebook.ipynb"), notebook_link="http://n/x",
    )  # fmt: skip
    fields = success.to_dict()

    assert fields["execution_time_seconds"] == 0.5
    assert "execution_time" not in fields
    assert fields["notebook_path"] == "/srv/x/notebook.ipynb"
    assert fields["figure_paths"] == []


def test_a_result_holds_no_nan() -> None:
    with pytest.raises(ValidationError):
        PythonExecutionSuccess(
            results={}, stdout="", execution_time=float("nan"), folder_path=Path("x"),
            notebook_path=Path("x"), notebook_link="",
        )  # fmt: skip


def test_an_endpoint_s_url() -> None:
    assert ContainerEndpointConfig("host", 8088, "python3").base_url == "http://host:8088"
    secure = ContainerEndpointConfig("host", 443, "python3", use_https=True)
    assert secure.base_url == "https://host:443"


def test_people_are_told_where_the_environment_should_be() -> None:
    message = ContainerConnectivityError("refused", "host", 8088).get_user_message()

    assert "host:8088" in message


def notebook(number: int) -> NotebookAttempt:
    return NotebookAttempt(
        notebook_type=NotebookType.EXECUTION_ATTEMPT, attempt_number=number, stage="execution",
        notebook_path=Path(f"/srv/x/attempts/{number:02d}_execution.ipynb"), notebook_link="l",
    )  # fmt: skip


def test_a_context_numbers_its_notebooks_from_one() -> None:
    context = PythonExecutionContext()
    assert not context.is_initialized
    assert context.get_next_attempt_number() == 1

    context.add_notebook_attempt(notebook(1))
    assert context.get_next_attempt_number() == 2
    assert PythonExecutionContext().notebook_attempts == []
    assert PythonExecutionContext(folder_path=Path("/srv/x")).is_initialized


def test_a_notebook_as_json_values() -> None:
    fields = notebook(1).to_dict()

    assert fields["notebook_type"] == "execution_attempt"
    assert fields["notebook_path"] == "/srv/x/attempts/01_execution.ipynb"


@pytest.mark.parametrize(
    ("enabled", "writes", "mode"),
    [
        (True, True, ExecutionMode.WRITE_ACCESS),
        (True, False, ExecutionMode.READ_ONLY),
        (False, True, ExecutionMode.READ_ONLY),
        (False, False, ExecutionMode.READ_ONLY),
    ],
)
@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("name", ["control_system_writes_enabled", "epics_writes_enabled"])
def test_case_21_write_access_needs_writes_both_enabled_and_found(
    name: str, mode: ExecutionMode, *, enabled: bool, writes: bool, reads: bool
) -> None:
    control = ExecutionControlConfig(**{name: enabled})  # type: ignore[arg-type]

    assert control.get_execution_mode(writes, reads) is mode


@pytest.mark.parametrize(("older", "newer"), [(True, False), (False, True)])
def test_the_newer_flag_wins_over_the_older(*, older: bool, newer: bool) -> None:
    control = ExecutionControlConfig(
        epics_writes_enabled=older, control_system_writes_enabled=newer
    )

    assert control.control_system_writes_enabled is newer
    assert control.epics_writes_enabled is newer


@pytest.mark.parametrize("value", ["true", 1, "yes", [True], object()])
def test_only_a_real_true_enables_writes(value: Any) -> None:
    control = ExecutionControlConfig(control_system_writes_enabled=value)
    assert (
        control.get_execution_mode(has_epics_writes=True, has_epics_reads=True)
        is ExecutionMode.READ_ONLY
    )

    control = ExecutionControlConfig(epics_writes_enabled=value)
    assert (
        control.get_execution_mode(has_epics_writes=True, has_epics_reads=True)
        is ExecutionMode.READ_ONLY
    )


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (ExecutionControlConfig(), []),
        (ExecutionControlConfig(control_system_type="mock"), []),
        (ExecutionControlConfig(epics_writes_enabled=True, control_system_type="mock"), []),
        (ExecutionControlConfig(epics_writes_enabled=True), ["real control system"]),
        (ExecutionControlConfig(control_system_type="tango"), ["tango"]),
        (ExecutionControlConfig(epics_writes_enabled=True, control_system_type="tango"), ["tango"]),
    ],
)
def test_validate(control: ExecutionControlConfig, words: list[str]) -> None:
    found = control.validate()

    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


def test_a_control_config_is_read_from_a_configurable() -> None:
    section = {"control_system_writes_enabled": True, "control_system_type": "mock"}
    control = get_execution_control_config_from_configurable({"execution_control": section})

    assert control == ExecutionControlConfig(
        control_system_writes_enabled=True, control_system_type="mock"
    )
    empty = get_execution_control_config_from_configurable({"execution_control": {}})
    assert not empty.control_system_writes_enabled


@pytest.mark.parametrize(
    ("configurable", "setting"),
    [
        ({}, "execution_control"),
        (None, "execution_control"),
        ([], "execution_control"),
        ({"execution_control": None}, "execution_control"),
        ({"execution_control": True}, "execution_control"),
        ({"execution_control": {"writes_enabled": True}}, "execution_control.writes_enabled"),
        ({"execution_control": {"control_system_writes_enabled": "true"}},
         "control_system_writes_enabled"),
        ({"execution_control": {"control_system_writes_enabled": 1}},
         "control_system_writes_enabled"),
        ({"execution_control": {"control_system_type": None}}, "control_system_type"),
    ],
)  # fmt: skip
def test_a_configurable_with_a_mistake_enables_nothing(configurable: Any, setting: str) -> None:
    with pytest.raises(ContainerConfigurationError, match=setting):
        get_execution_control_config_from_configurable(configurable)


def test_a_failure_in_words_for_a_model() -> None:
    error = ExecutionError(
        error_type="execution", error_message="division by zero", failed_code="1 / 0",
        traceback="T" * 600 + "M" * 800 + "U" * 600, attempt_number=2, stage="executing",
        analysis_issues=["eval in line 1"],
    )  # fmt: skip
    text = error.to_prompt_text()

    assert text.startswith("**Attempt 2 - EXECUTING FAILED**")
    for part in ("division by zero", "1 / 0", "eval in line 1", "T" * 500, "U" * 500):
        assert part in text
    assert "T" * 501 not in text
    assert "M" not in text.replace("MESSAGE", "").replace("**Attempt", "").split("Traceback")[1]


def test_a_short_traceback_stays_whole() -> None:
    error = ExecutionError(error_type="execution", error_message="x", traceback="T" * 1000)

    assert "T" * 1000 in error.to_prompt_text()


@pytest.mark.parametrize(
    "value",
    [{}, {"decision": None}, {"sha256": "7f3a9c"}, {"sha256": "0" * 65}, {"operator": ""},
     {"comment": "x" * 4097}, {"approved": True}, {"decision": "yes"}],
)  # fmt: skip
def test_a_decision_that_says_nothing_or_something_else_is_none(value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Decision.model_validate(value)


def full_state(text: str) -> PythonExecutionState:
    record = DecisionRecord(
        verb=Verb.APPROVE, at=AT, via=DecisionWay.SIGNAL, accepted=False, reason="r" * 300,
        operator="o" * 128, comment="c" * 300,
    )  # fmt: skip
    error = ExecutionError(
        error_type="execution", error_message=text[: 8 * 1024], failed_code=text[: 16 * 1024],
        traceback=text[: 8 * 1024], analysis_issues=[text[:200]] * 20,
    )  # fmt: skip
    data = {"data": text[: 80 * 1024]}
    request = accept_request(
        {"user_query": "q", "task_objective": "t", "execution_folder_name": "f",
         "capability_context_data": data}
    )  # fmt: skip
    return PythonExecutionState(
        request=request, capability_context_data=data, error_chain=[error] * 40,
        generated_code=text[: 256 * 1024], decisions=[record] * MAX_DECISIONS,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["x" * 10**6, '"' * 10**6, "\x01" * 10**6], ids=["plain", "quotes", "control"]
)
def test_a_state_fits_into_a_megabyte(text: str) -> None:
    state = full_state(text)
    fitting = state.fitting()

    assert len(fitting.model_dump_json().encode()) <= STATE_BYTES
    assert len(fitting.error_chain) == 40
    assert fitting.decisions == state.decisions
    assert state.capability_context_data is not None


def test_a_state_that_fits_is_left_alone() -> None:
    state = PythonExecutionState()

    assert state.fitting() is state


@pytest.mark.parametrize("stage", Stage)
def test_final_stages(stage: Stage) -> None:
    final = {"succeeded", "failed", "rejected", "expired", "stopped"}

    assert stage.is_final == (stage.value in final)
