"""Answer what waits for an approval."""

from typing import Annotated

import typer

from runpermit.cli.deciding import (
    Comment,
    Operator,
    Reason,
    check_digits,
    check_shown,
    confirmed,
    name_of,
    nothing_waits,
    report,
)
from runpermit.cli.exits import ExitCode
from runpermit.cli.gate_asking import host_here
from runpermit.cli.gate_report import inhibited_here, inhibited_line
from runpermit.cli.question import question_text
from runpermit.cli.session import ExecutionId, Session, add_command
from runpermit.cli.signed import Identity, Key, Sign, Signing
from runpermit.errors import DecisionRefusedError
from runpermit.execution import Execution
from runpermit.models import PendingApproval, PlanKind, Verb
from runpermit.waiting import memo_of


async def approve(
    session: Session,
    execution_id: ExecutionId,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", help="The revision that you saw, 6 or more digits: asks nothing."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Approve what is shown without asking.")
    ] = False,
    operator: Operator = None,
    comment: Comment = None,
    sign: Sign = False,
    key: Key = None,
    identity: Identity = None,
) -> int:
    """Approve what waits: its code may run and write.

    The sha256 that is sent, and signed where that is asked for, is computed here, from the very
    plan and code that are shown; another revision is never approved by it. While this host's
    writes are inhibited, a plan of it that writes is not approved: exit code 1, and it waits on.
    """
    check_digits(sha256)
    client = await session.client()
    execution = client.handle(execution_id)
    pending = await execution.pending_approval()
    if pending is None:
        raise nothing_waits(session, execution_id, await execution.pending_restore())
    check_shown(session, execution_id, pending, sha256)
    _check_complete(session, pending)
    if (inhibited := inhibited_here(session)) is not None:
        session.output.note(inhibited_line(inhibited), style="bold red")
        await _check_can_write(session, execution, pending)
    signing = Signing(sign, key, identity)
    if not signing.names(sha256, pending.rule):
        session.output.question(question_text(pending, session.options), answer=False)
        if not yes and not confirmed(f"Approve revision {pending.revision}?"):
            session.output.note("Nothing was sent.")
            return ExitCode.FAILED
    signature = signing.signature(session, Verb.APPROVE, pending)
    name = signing.operator(operator, pending.rule)
    receipt = await execution.approve(name, pending.sha256, comment, signature)
    return report(session, execution_id, receipt)


async def reject(
    session: Session, execution_id: ExecutionId, reason: Reason, operator: Operator = None
) -> int:
    """Refuse what waits; the execution ends, and nothing is written."""
    client = await session.client()
    receipt = await client.handle(execution_id).reject(name_of(operator), reason)
    return report(session, execution_id, receipt)


async def revise(
    session: Session,
    execution_id: ExecutionId,
    comment: Annotated[str, typer.Option("--comment", help="What must change, for the model.")],
    operator: Operator = None,
) -> int:
    """Send the code back to the model with a comment.

    What the model makes of it asks again, as a new revision.
    """
    client = await session.client()
    receipt = await client.handle(execution_id).revise(name_of(operator), comment)
    return report(session, execution_id, receipt)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    add_command(
        app,
        "approve",
        approve,
        ["approve scan-42", "approve scan-42 --sha256 7f3a9c", "approve scan-42 --sign"],
    )
    add_command(app, "reject", reject, ["reject scan-42 --reason 'not during injection'"])
    add_command(app, "revise", revise, ["revise scan-42 --comment 'steps of 0.1 A at most'"])


async def _check_can_write(
    session: Session, execution: Execution, pending: PendingApproval
) -> None:
    """Refuse, where this inhibited host would write it: the yes would only end the execution."""
    memo = memo_of(await (await execution.describe()).memo())
    is_here = memo is not None and memo.host == host_here(session)
    if is_here and pending.plan.kind is not PlanKind.READS_ONLY:
        raise DecisionRefusedError(
            f"Revision {pending.revision} writes, and no write passes now: approved, it would only "
            "fail. Nothing was sent, and the question goes on waiting. Approve it once the inhibit "
            "is lifted.",
            "writes are inhibited",
        )


def _check_complete(session: Session, pending: PendingApproval) -> None:
    if not pending.plan.may_be_approved:
        show = session.command("show", pending.binds.workflow_id)
        raise DecisionRefusedError(
            f"The plan of revision {pending.revision} is incomplete and can't be approved: nothing "
            f"was sent. Send it back with revise, or reject it. {show} tells why.",
            "the plan is incomplete",
        )
