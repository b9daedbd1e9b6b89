"""Names, arguments, defaults and values of the reference's classes, as a table."""

import inspect
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import runpermit
from runpermit import (
    ChannelLimitsViolationError,
    CodeGenerationError,
    CodeRuntimeError,
    ContainerConfigurationError,
    ContainerConnectivityError,
    ContainerEndpointConfig,
    ErrorCategory,
    ExecutionControlConfig,
    ExecutionMode,
    ExecutionModeConfig,
    ExecutionTimeoutError,
    NotebookAttempt,
    NotebookType,
    PlanningMode,
    PythonExecutionContext,
    PythonExecutionRequest,
    PythonExecutionState,
    PythonExecutionSuccess,
    PythonExecutorConfig,
    PythonExecutorException,
    PythonServiceResult,
)

SUCCESS: dict[str, Any] = {
    "results": {"mean": 42.0},
    "stdout": "done",
    "execution_time": 2.5,
    "folder_path": Path("/srv/execution"),
    "notebook_path": Path("/srv/execution/notebook.ipynb"),
    "notebook_link": "http://jupyter/notebook.ipynb",
}


@dataclass(frozen=True)
class Known:
    """A class of the reference: what its constructor requires, its defaults, its members."""

    kind: type
    required: dict[str, Any]
    defaults: dict[str, Any] = field(default_factory=dict)
    members: tuple[str, ...] = ()


MODELS = [
    Known(
        PythonExecutionRequest,
        {
            "user_query": "Analyze the sensor data",
            "task_objective": "Calculate trends",
            "execution_folder_name": "sensor_analysis",
        },
        {
            "expected_results": {},
            "capability_prompts": [],
            "retries": 3,
            "planning_mode": PlanningMode.GENERATOR_DRIVEN,
            "structured_plan": None,
            "capability_context_data": None,
            "approved_code": None,
            "existing_execution_folder": None,
            "session_context": None,
            "execution_folder_path": None,
        },
    ),
    Known(
        PythonServiceResult,
        {
            "execution_result": PythonExecutionSuccess(**SUCCESS),
            "generated_code": "results = {}",
        },
        {"generation_attempt": 1, "analysis_warnings": []},
    ),
    Known(PythonExecutionSuccess, SUCCESS, {"figure_paths": []}, ("to_dict",)),
    Known(
        PythonExecutionContext,
        {},
        {
            "folder_path": None,
            "folder_url": None,
            "attempts_folder": None,
            "context_file_path": None,
            "notebook_attempts": [],
            "is_initialized": False,
        },
        ("add_notebook_attempt", "get_next_attempt_number"),
    ),
    Known(
        NotebookAttempt,
        {
            "notebook_type": NotebookType.FINAL_SUCCESS,
            "attempt_number": 1,
            "stage": "execution",
            "notebook_path": Path("/srv/execution/notebook.ipynb"),
            "notebook_link": "http://jupyter/notebook.ipynb",
        },
        {"error_context": None, "created_at": None},
        ("to_dict",),
    ),
    Known(
        PythonExecutionState,
        {},
        {
            "request": None,
            "capability_context_data": None,
            "generation_attempt": 0,
            "error_chain": [],
            "current_stage": "preparing",
            "requires_approval": None,
            "approval_interrupt_data": None,
            "approval_result": None,
            "approved": None,
            "generated_code": None,
            "analysis_result": None,
            "analysis_failed": None,
            "execution_failed": None,
            "execution_result": None,
            "execution_folder": None,
            "code_generator_metadata": None,
            "is_successful": False,
            "is_failed": False,
            "failure_reason": None,
        },
    ),
]

SETTINGS = [
    Known(
        ExecutionModeConfig,
        {
            "mode_name": "read_only",
            "kernel_name": "python3",
            "allows_writes": False,
            "requires_approval": False,
            "description": "reads",
            "environment": {"A": "b"},
        },
        {"epics_gateway": None},
    ),
    Known(
        ContainerEndpointConfig,
        {"host": "localhost", "port": 8088, "kernel_name": "python3"},
        {"use_https": False},
        ("base_url",),
    ),
    Known(
        ExecutionControlConfig,
        {},
        {
            "epics_writes_enabled": False,
            "control_system_writes_enabled": None,
            "control_system_type": "epics",
        },
        ("get_execution_mode", "validate"),
    ),
    Known(
        PythonExecutorConfig,
        {},
        {"configurable": None},
        ("limits_validator",),
    ),
]

OF_EVERY_ERROR = (
    "is_infrastructure_error",
    "is_code_error",
    "is_workflow_error",
    "should_retry_execution",
    "should_retry_code_generation",
    "message",
    "category",
    "technical_details",
    "folder_path",
)
DETAILS = {"technical_details": None}
DETAILS_AND_FOLDER = {"technical_details": None, "folder_path": None}
ERRORS = [
    (
        Known(
            PythonExecutorException,
            {"message": "it failed", "category": ErrorCategory.WORKFLOW},
            DETAILS_AND_FOLDER,
        ),
        ErrorCategory.WORKFLOW,
    ),
    (
        Known(
            CodeRuntimeError,
            {"message": "it failed", "traceback_info": "Traceback", "execution_attempt": 2},
            DETAILS_AND_FOLDER,
            ("traceback_info", "execution_attempt"),
        ),
        ErrorCategory.CODE_RELATED,
    ),
    (
        Known(
            CodeGenerationError,
            {"message": "no code", "generation_attempt": 2, "error_chain": ["no code"]},
            DETAILS,
            ("generation_attempt", "error_chain"),
        ),
        ErrorCategory.CODE_RELATED,
    ),
    (
        Known(
            ContainerConnectivityError,
            {"message": "Connection refused", "host": "localhost", "port": 8888},
            DETAILS,
            ("host", "port", "get_user_message"),
        ),
        ErrorCategory.INFRASTRUCTURE,
    ),
    (
        Known(ContainerConfigurationError, {"message": "no setting"}, DETAILS),
        ErrorCategory.CONFIGURATION,
    ),
    (
        Known(
            ExecutionTimeoutError,
            {"timeout_seconds": 600},
            DETAILS_AND_FOLDER,
            ("timeout_seconds",),
        ),
        ErrorCategory.WORKFLOW,
    ),
    (
        Known(
            ChannelLimitsViolationError,
            {
                "channel_address": "SR:HCM1:SP",
                "value": 5.0,
                "violation_type": "MAX_EXCEEDED",
                "violation_reason": "5.0 is above 1.0",
            },
            {"min_value": None, "max_value": None, "max_step": None, "current_value": None},
            (
                "channel_address",
                "attempted_value",
                "violation_type",
                "violation_reason",
                "min_value",
                "max_value",
                "max_step",
                "current_value",
            ),
        ),
        ErrorCategory.CODE_RELATED,
    ),
]

VALUES: dict[type[Enum], dict[str, str]] = {
    NotebookType: {
        "CODE_GENERATION_ATTEMPT": "code_generation_attempt",
        "PRE_EXECUTION": "pre_execution",
        "EXECUTION_ATTEMPT": "execution_attempt",
        "FINAL_SUCCESS": "final_success",
        "FINAL_FAILURE": "final_failure",
    },
    ErrorCategory: {
        "INFRASTRUCTURE": "infrastructure",
        "CODE_RELATED": "code_related",
        "WORKFLOW": "workflow",
        "CONFIGURATION": "configuration",
    },
    PlanningMode: {
        "GENERATOR_DRIVEN": "generator_driven",
        "CAPABILITY_DRIVEN": "capability_driven",
    },
}

FUNCTIONS = {
    "get_execution_control_config_from_configurable": ["configurable"],
    "make_json_serializable": ["obj"],
    "serialize_results_to_file": ["results", "file_path"],
}


def named(known: Known) -> str:
    return known.kind.__name__


def signature_of(kind: type) -> dict[str, Any]:
    return {
        name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()
    }


@pytest.mark.parametrize("known", MODELS, ids=named)
def test_a_message_takes_the_reference_s_required_arguments_and_has_its_defaults(
    known: Known,
) -> None:
    made = known.kind(**known.required)

    assert isinstance(made, BaseModel)
    expected = known.required | known.defaults
    assert {name: getattr(made, name) for name in expected} == expected
    for member in known.members:
        assert callable(getattr(made, member))


@pytest.mark.parametrize("known", [known for known in MODELS if known.required], ids=named)
def test_a_message_requires_what_the_reference_requires(known: Known) -> None:
    fields = known.kind.model_fields  # type: ignore[attr-defined]

    assert {name for name, info in fields.items() if info.is_required()} == set(known.required)


@pytest.mark.parametrize("known", MODELS, ids=named)
def test_no_two_messages_share_a_default(known: Known) -> None:
    first, second = known.kind(**known.required), known.kind(**known.required)

    for name, value in known.defaults.items():
        if isinstance(value, list | dict):
            assert getattr(first, name) is not getattr(second, name)


@pytest.mark.parametrize("known", [*SETTINGS, *(known for known, _ in ERRORS)], ids=named)
def test_arguments_come_in_the_reference_s_order_with_its_defaults(known: Known) -> None:
    signature = signature_of(known.kind)
    defaults = {name: signature[name] for name in known.defaults}

    assert list(signature) == [*known.required, *known.defaults]
    assert defaults == known.defaults


@pytest.mark.parametrize("known", SETTINGS, ids=named)
def test_settings_are_made_by_position_and_have_the_reference_s_members(known: Known) -> None:
    made = known.kind(*known.required.values())

    assert {name: getattr(made, name) for name in known.required} == known.required
    for member in known.members:
        assert hasattr(made, member)


@pytest.mark.parametrize(("known", "category"), ERRORS, ids=[named(known) for known, _ in ERRORS])
def test_an_error_is_made_by_position_and_has_the_reference_s_members(
    known: Known, category: ErrorCategory
) -> None:
    error = known.kind(*known.required.values())

    assert isinstance(error, PythonExecutorException)
    assert error.category is category
    assert error.folder_path is None
    for member in (*OF_EVERY_ERROR, *known.members):
        assert hasattr(error, member)
    for name in set(known.required) & set(known.members):
        assert getattr(error, name) == known.required[name]


@pytest.mark.parametrize("kind", VALUES)
def test_an_enum_has_the_reference_s_values(kind: type[Enum]) -> None:
    assert {member.name: member.value for member in kind} == VALUES[kind]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_reference_s_arguments(name: str) -> None:
    assert list(inspect.signature(getattr(runpermit, name)).parameters) == FUNCTIONS[name]


def test_a_result_needs_no_more_than_the_reference_s_two_arguments() -> None:
    result = PythonServiceResult(
        execution_result=PythonExecutionSuccess(**SUCCESS), generated_code="results = {}"
    )

    assert result.generation_attempt == 1
    assert result.isolation is None


def test_a_success_is_told_under_the_reference_s_names() -> None:
    told = PythonExecutionSuccess(**SUCCESS).to_dict()

    assert set(told) == {
        "results",
        "stdout",
        "execution_time_seconds",
        "folder_path",
        "notebook_path",
        "notebook_link",
        "figure_paths",
    }


def test_a_notebook_is_told_with_its_type_and_place_as_text() -> None:
    [known] = [known for known in MODELS if known.kind is NotebookAttempt]
    told = NotebookAttempt(**known.required).to_dict()

    assert told == known.required | known.defaults | {
        "notebook_type": "final_success",
        "notebook_path": "/srv/execution/notebook.ipynb",
    }


def test_a_context_is_initialized_by_its_folder_and_counts_its_notebooks() -> None:
    [known] = [known for known in MODELS if known.kind is NotebookAttempt]
    context = PythonExecutionContext(folder_path=Path("/srv/execution"))
    before = context.get_next_attempt_number()
    context.add_notebook_attempt(NotebookAttempt(**known.required))

    assert context.is_initialized
    assert (before, context.get_next_attempt_number()) == (1, 2)


def test_writes_need_both_the_code_and_the_setting() -> None:
    allowed = ExecutionControlConfig(control_system_writes_enabled=True)
    older = ExecutionControlConfig(epics_writes_enabled=True)
    refused = ExecutionControlConfig()

    assert allowed.get_execution_mode(has_epics_writes=True, has_epics_reads=True) is (
        ExecutionMode.WRITE_ACCESS
    )
    assert older.get_execution_mode(has_epics_writes=True, has_epics_reads=True) is (
        ExecutionMode.WRITE_ACCESS
    )
    for control, writes in ((allowed, False), (refused, True), (refused, False)):
        mode = control.get_execution_mode(has_epics_writes=writes, has_epics_reads=True)
        assert mode is ExecutionMode.READ_ONLY
