"""Builds the question that an operator is asked, and heeds the answer."""

from datetime import datetime, timedelta

from temporalio import workflow

from runpermit.errors import WorkflowError
from runpermit.models import (
    AnalysisResult,
    Assurance,
    DecisionRecord,
    ExecutionMode,
    Isolation,
    NotebookAttempt,
    PendingApproval,
    Plan,
    PlanKind,
    PythonExecutionRequest,
    Revision,
    Stage,
    Verb,
)
from runpermit.page import page_link
from workflows.steps import Deployment, Draft, InForce


def build_question(
    *,
    request: PythonExecutionRequest,
    deployment: Deployment,
    code: str,
    draft: Draft,
    seen: AnalysisResult,
    plan: Plan,
    changed: list[str],
    revised: DecisionRecord | None,
    number: int,
    notebook: NotebookAttempt,
    asked_at: datetime,
) -> PendingApproval:
    """The question for revision `number` of this execution."""
    info = workflow.info()
    expiry = deployment.question_expiry
    reads = plan.kind is PlanKind.READS_ONLY
    mode = ExecutionMode.READ_ONLY if reads else ExecutionMode.WRITE_ACCESS
    return PendingApproval(
        binds=Revision(
            workflow_id=info.workflow_id,
            first_run_id=info.first_execution_run_id,
            number=number,
            code=code,
            plan=plan,
            limits_sha256=draft.gate.limits_sha256,
            inputs=draft.inputs,
            kernel_environment=draft.kernel_environment,
        ),
        changed=changed,
        revised=revised,
        rule=deployment.rule,
        warnings=[*reset_warnings(draft.run_id), *warnings(deployment, draft, mode)],
        execution_mode=mode,
        user_query=request.user_query,
        task_objective=request.task_objective,
        expected_results=request.expected_results,
        requester=request.requester,
        analysis_issues=seen.issues,
        folder_path=str(deployment.folder.path),
        notebook_path=str(notebook.notebook_path),
        notebook_link=notebook.notebook_link,
        asked_at=asked_at,
        expires_at=asked_at + timedelta(seconds=expiry) if expiry else None,
        page_link=page_link(deployment.web_ui, deployment.namespace, info.workflow_id, info.run_id),
        cli_options=cli_options(deployment),
    )


def heed(
    answer: DecisionRecord | None, pending: PendingApproval, expiry: float | None
) -> DecisionRecord:
    """The answer, where it is approve or revise; none and a no raise WorkflowError."""
    if answer is None:
        raise WorkflowError(
            f"Nobody decided on revision {pending.revision} within {expiry:g} s "
            "(approval.question_expiry). Start it again when somebody can.",
            Stage.EXPIRED,
        )
    if answer.verb is Verb.REJECT:
        reason = answer.comment or "no reason was given"
        raise WorkflowError(f"Rejected by {answer.who}: {reason}", Stage.REJECTED)
    return answer


def warnings(deployment: Deployment, draft: Draft, mode: ExecutionMode) -> list[str]:
    """What an operator must know of the house before saying yes; the page tells of the plan."""
    found = gate_warnings(draft, mode)
    if draft.gate.inhibited is not None:
        # The page stays as it is for as long as the question waits.
        found[0] += " So it was when this was asked; runpermit inhibit status tells of now."
    if deployment.foreign_details:
        found.append("Summary and Details beside this page are the requester's.")
    if deployment.isolation is Isolation.NONE:
        found.append("Isolation none: no sandbox, the worker's own user. It only reads.")
    if deployment.rule.assurance is Assurance.CLAIMED:
        found.append("approver not verified: any signal can approve.")
    return found


def reset_warnings(asked_by: str = "") -> list[str]:
    """What a run that goes on from a reset says of itself.

    `asked_by`: the run that drew the question up, where that is one of approval.
    """
    info = workflow.info()
    if info.run_id == info.first_execution_run_id:
        return []
    told = (
        "RESET RUN: an earlier run of this execution may have written already. What was applied "
        "once, the gate refuses to apply again."
    )
    if asked_by not in {"", info.first_execution_run_id}:
        told += " A plain approve, which names no revision, does not count."
    return [told]


def gate_warnings(now: InForce, mode: ExecutionMode) -> list[str]:
    """What the gate's state means for a run in `mode`, for approvals and results."""
    found, gate = [], now.gate
    if gate.inhibited is not None:
        found.append(f"INHIBITED: every write is refused. {gate.inhibited.rstrip('.')}.")
    if mode is not ExecutionMode.WRITE_ACCESS:
        return found
    if not gate.limits_enabled:
        found.append("LIMITS OFF at the gate: limits.enabled = false in its settings.")
    elif gate.limits_sha256 != now.limits.binds:
        found.append("LIMITS DIFFER: the gate enforces another limits database than shown.")
    if not gate.journal_protected:
        found.append("journal not protected from the worker, which could change it.")
    return found


def cli_options(deployment: Deployment) -> str:
    """What printed commands need so that they reach this Temporal."""
    options = []
    if deployment.address:
        options.append(f"--address {deployment.address}")
    if deployment.namespace != "default":
        options.append(f"--namespace {deployment.namespace}")
    return " ".join(options)
