"""The messages of Runpermit: request, result, state, approval, notebooks."""

from runpermit.models.analysis import AnalysisResult, ChannelUse, Severity
from runpermit.models.approval import (
    Assurance,
    Decision,
    DecisionReceipt,
    DecisionRecord,
    DecisionWay,
    PendingApproval,
    Revision,
    Verb,
)
from runpermit.models.gate import GateStatus
from runpermit.models.modes import (
    ApprovalMode,
    ContainerEndpointConfig,
    ExecutionControlConfig,
    ExecutionMode,
    ExecutionModeConfig,
    Isolation,
    get_execution_control_config_from_configurable,
)
from runpermit.models.notebooks import NotebookAttempt, NotebookType, PythonExecutionContext
from runpermit.models.permit import Permit, Verdict, permit_id
from runpermit.models.plan import (
    Declaration,
    MachineState,
    Plan,
    PlanKind,
    PlannedChannel,
    PlannedWrite,
)
from runpermit.models.request import (
    AnalysisPhase,
    PlanningMode,
    PythonExecutionRequest,
    StructuredPlan,
    accept_request,
)
from runpermit.models.restore import (
    FollowOutcome,
    LeftChange,
    RestoredChannel,
    RestoreOutcome,
    RestorePolicy,
    RestoreReport,
    VerifiedChannel,
)
from runpermit.models.result import PythonExecutionSuccess, PythonServiceResult
from runpermit.models.state import (
    ExecutionError,
    Memo,
    PythonExecutionState,
    RunProgress,
    Stage,
    StageChange,
)
from runpermit.models.writes import WriteOutcome, WriteRecord, WriteReport, write_warnings

__all__ = [
    "AnalysisPhase",
    "AnalysisResult",
    "ApprovalMode",
    "Assurance",
    "ChannelUse",
    "ContainerEndpointConfig",
    "Decision",
    "DecisionReceipt",
    "DecisionRecord",
    "DecisionWay",
    "Declaration",
    "ExecutionControlConfig",
    "ExecutionError",
    "ExecutionMode",
    "ExecutionModeConfig",
    "FollowOutcome",
    "GateStatus",
    "Isolation",
    "LeftChange",
    "MachineState",
    "Memo",
    "NotebookAttempt",
    "NotebookType",
    "PendingApproval",
    "Permit",
    "Plan",
    "PlanKind",
    "PlannedChannel",
    "PlannedWrite",
    "PlanningMode",
    "PythonExecutionContext",
    "PythonExecutionRequest",
    "PythonExecutionState",
    "PythonExecutionSuccess",
    "PythonServiceResult",
    "RestoreOutcome",
    "RestorePolicy",
    "RestoreReport",
    "RestoredChannel",
    "Revision",
    "RunProgress",
    "Severity",
    "Stage",
    "StageChange",
    "StructuredPlan",
    "Verb",
    "Verdict",
    "VerifiedChannel",
    "WriteOutcome",
    "WriteRecord",
    "WriteReport",
    "accept_request",
    "get_execution_control_config_from_configurable",
    "permit_id",
    "write_warnings",
]
