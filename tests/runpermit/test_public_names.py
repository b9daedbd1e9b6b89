"""What `import runpermit` offers, and what it leaves alone."""

import re
import subprocess
import sys

import pytest

import runpermit

# The classes, enums and functions of the reference's API page, in its order.
REFERENCE = [
    "PythonExecutionRequest",
    "PythonServiceResult",
    "PythonExecutionSuccess",
    "PythonExecutionState",
    "PythonExecutionContext",
    "PythonExecutorConfig",
    "ExecutionModeConfig",
    "ContainerEndpointConfig",
    "ExecutionControlConfig",
    "NotebookAttempt",
    "NotebookType",
    "PythonExecutorException",
    "CodeRuntimeError",
    "CodeGenerationError",
    "ContainerConnectivityError",
    "ExecutionTimeoutError",
    "ChannelLimitsViolationError",
    "ErrorCategory",
    "get_execution_control_config_from_configurable",
    "make_json_serializable",
    "serialize_results_to_file",
]
# Named by the page's text and by the reference's behaviour.
MENTIONED = [
    "StructuredPlan",
    "AnalysisPhase",
    "PlanningMode",
    "ExecutionError",
    "ExecutionMode",
    "ApprovalMode",
    "LimitsValidator",
    "ViolationType",
    "ChannelLimitsConfig",
    "ContainerConfigurationError",
    "CodeSyntaxError",
    "MaxAttemptsExceededError",
    "WorkflowError",
]
HEAVY = {"openai", "jupyter_client", "jupyter_core", "epics", "numpy", "typer", "rich", "IPython"}


@pytest.mark.parametrize("name", REFERENCE + MENTIONED)
def test_every_name_of_the_reference_is_public(name: str) -> None:
    assert name in runpermit.__all__
    assert getattr(runpermit, name).__name__ == name


@pytest.mark.parametrize("name", runpermit.__all__)
def test_what_is_announced_can_be_imported(name: str) -> None:
    assert getattr(runpermit, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=re.escape("'runpermit' has no attribute 'nothing'")):
        _ = runpermit.nothing


@pytest.mark.parametrize("statement", ["import runpermit", "from runpermit import *"])
def test_importing_runpermit_loads_nothing_heavy(statement: str) -> None:
    program = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(ran.stdout.split())
