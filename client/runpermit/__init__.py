"""Runpermit: plan, approve, apply for a control system."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runpermit.config import PythonExecutorConfig
from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeAnalysisError,
    CodeGenerationError,
    CodeRuntimeError,
    CodeSyntaxError,
    ContainerConfigurationError,
    ContainerConnectivityError,
    DecisionRefusedError,
    ErrorCategory,
    ExecutionTimeoutError,
    InvalidRequestError,
    MaxAttemptsExceededError,
    PythonExecutorException,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.limits import ChannelLimitsConfig, LimitsDatabase, LimitsValidator, ViolationType
from runpermit.models import (
    AnalysisPhase,
    AnalysisResult,
    ApprovalMode,
    Assurance,
    ChannelUse,
    ContainerEndpointConfig,
    Decision,
    DecisionReceipt,
    DecisionRecord,
    DecisionWay,
    ExecutionControlConfig,
    ExecutionError,
    ExecutionMode,
    ExecutionModeConfig,
    Isolation,
    NotebookAttempt,
    NotebookType,
    PendingApproval,
    Plan,
    PlanKind,
    PlannedWrite,
    PlanningMode,
    PythonExecutionContext,
    PythonExecutionRequest,
    PythonExecutionState,
    PythonExecutionSuccess,
    PythonServiceResult,
    Revision,
    Severity,
    Stage,
    StageChange,
    StructuredPlan,
    Verb,
    WriteOutcome,
    WriteRecord,
    WriteReport,
    get_execution_control_config_from_configurable,
)
from runpermit.serialization import make_json_serializable, serialize_results_to_file

if TYPE_CHECKING:
    from runpermit.client import RunpermitClient
    from runpermit.execution import Execution
    from runpermit.progress import ProgressEvent, ProgressKind
    from runpermit.waiting import WaitingExecution

__all__ = [
    "AnalysisPhase",
    "AnalysisResult",
    "ApprovalMode",
    "Assurance",
    "ChannelLimitsConfig",
    "ChannelLimitsViolationError",
    "ChannelUse",
    "CodeAnalysisError",
    "CodeGenerationError",
    "CodeRuntimeError",
    "CodeSyntaxError",
    "ContainerConfigurationError",
    "ContainerConnectivityError",
    "ContainerEndpointConfig",
    "Decision",
    "DecisionReceipt",
    "DecisionRecord",
    "DecisionRefusedError",
    "DecisionWay",
    "ErrorCategory",
    "Execution",
    "ExecutionControlConfig",
    "ExecutionError",
    "ExecutionMode",
    "ExecutionModeConfig",
    "ExecutionTimeoutError",
    "InvalidRequestError",
    "Isolation",
    "LimitsDatabase",
    "LimitsValidator",
    "MaxAttemptsExceededError",
    "NotebookAttempt",
    "NotebookType",
    "PendingApproval",
    "Plan",
    "PlanKind",
    "PlannedWrite",
    "PlanningMode",
    "ProgressEvent",
    "ProgressKind",
    "PythonExecutionContext",
    "PythonExecutionRequest",
    "PythonExecutionState",
    "PythonExecutionSuccess",
    "PythonExecutorConfig",
    "PythonExecutorException",
    "PythonServiceResult",
    "Revision",
    "RunpermitClient",
    "ServiceUnavailableError",
    "Severity",
    "Stage",
    "StageChange",
    "StructuredPlan",
    "Verb",
    "ViolationType",
    "WaitingExecution",
    "WorkflowError",
    "WriteOutcome",
    "WriteRecord",
    "WriteReport",
    "get_execution_control_config_from_configurable",
    "make_json_serializable",
    "serialize_results_to_file",
]

# What needs Temporal, whose import takes most of a second: loaded when it is first asked for.
_WITH_TEMPORAL = {
    "RunpermitClient": "runpermit.client",
    "Execution": "runpermit.execution",
    "ProgressEvent": "runpermit.progress",
    "ProgressKind": "runpermit.progress",
    "WaitingExecution": "runpermit.waiting",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """The names of the client, imported on demand."""
    module = _WITH_TEMPORAL.get(name)
    if module is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(module), name)
