"""Builds the question that an operator is asked."""

from datetime import datetime, timedelta

from temporalio import workflow

from runpermit.models import (
    AnalysisResult,
    ExecutionMode,
    Isolation,
    NotebookAttempt,
    PendingApproval,
    Plan,
    PythonExecutionRequest,
    Revision,
)
from runpermit.page import page_link
from workflows.steps import Analysed, Deployment, Draft

UNGATED = "UNGATED: no limits are enforced while the code runs."


def build_question(
    *,
    request: PythonExecutionRequest,
    deployment: Deployment,
    code: str,
    draft: Draft,
    seen: Analysed,
    mode: ExecutionMode,
    number: int,
    notebook: NotebookAttempt,
    asked_at: datetime,
) -> PendingApproval:
    """The question for revision `number` of this execution."""
    info = workflow.info()
    expiry = deployment.question_expiry
    return PendingApproval(
        binds=Revision(
            workflow_id=info.workflow_id,
            first_run_id=info.first_execution_run_id,
            number=number,
            code=code,
            plan=seen.plan,
            limits_sha256=draft.limits.binds,
            inputs=draft.inputs,
            kernel_environment=draft.kernel_environment,
        ),
        warnings=warnings(deployment, draft, seen.plan, mode),
        execution_mode=mode,
        user_query=request.user_query,
        task_objective=request.task_objective,
        expected_results=request.expected_results,
        requester=request.requester,
        analysis_issues=seen.analysis.issues,
        folder_path=str(deployment.folder.path),
        notebook_path=str(notebook.notebook_path),
        notebook_link=notebook.notebook_link,
        asked_at=asked_at,
        expires_at=asked_at + timedelta(seconds=expiry) if expiry else None,
        page_link=page_link(deployment.web_ui, deployment.namespace, info.workflow_id, info.run_id),
        cli_options=_cli_options(deployment),
    )


def warnings(deployment: Deployment, draft: Draft, plan: Plan, mode: ExecutionMode) -> list[str]:
    """What an operator must know before saying yes; only what is true here."""
    found = []
    if mode is ExecutionMode.WRITE_ACCESS:
        found.append(UNGATED)
        found.append("Nothing was rehearsed: writes as seen in the code.")
    unknown = sum(1 for write in plan.writes if write.channel is None)
    if unknown:
        found.append(f"CHANNEL UNKNOWN in {unknown} of {len(plan.writes)} writes: it may be any.")
    computed = sum(1 for write in plan.writes if write.channel and not write.value_known)
    if computed:
        found.append(f"{computed} of {len(plan.writes)} values are computed as it runs.")
    if mode is ExecutionMode.WRITE_ACCESS and not draft.limits.enabled:
        found.append("LIMITS OFF: limits.enabled = false in runpermit.toml.")
    if deployment.foreign_details:
        found.append("Summary and Details beside this page are the requester's.")
    if deployment.isolation is Isolation.NONE:
        found.append("Isolation none: no sandbox, the worker's own user.")
    found.append("approver not verified: any signal can approve.")
    return found


def result_warnings(analysis: AnalysisResult, mode: ExecutionMode) -> list[str]:
    """What the result says about how it came to be."""
    return [*analysis.issues, *([UNGATED] if mode is ExecutionMode.WRITE_ACCESS else [])]


def _cli_options(deployment: Deployment) -> str:
    options = []
    if deployment.address:
        options.append(f"--address {deployment.address}")
    if deployment.namespace != "default":
        options.append(f"--namespace {deployment.namespace}")
    return " ".join(options)
