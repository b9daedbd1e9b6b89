"""Answer what waits, and stop what runs."""

import getpass
import re
import signal
import sys
from typing import Annotated

import typer

from runpermit.cli.exits import ExitCode
from runpermit.cli.question import question_text
from runpermit.cli.session import ExecutionId, Session, add_command
from runpermit.errors import DecisionRefusedError, InvalidRequestError
from runpermit.models import DecisionReceipt, PendingApproval
from runpermit.text import one_line

_SHA256 = re.compile(r"[0-9a-f]{6,64}")

Operator = Annotated[
    str | None, typer.Option("--operator", help="Who decides; else your login name.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]


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
    comment: Annotated[str | None, typer.Option("--comment", help="Kept with it.")] = None,
) -> int:
    """Approve what waits: its code may run and write.

    The sha256 that is sent is computed here, from the very plan and code that are shown; another
    revision is never approved by it.
    """
    _check_digits(sha256)
    client = await session.client()
    execution = client.handle(execution_id)
    pending = await execution.pending_approval()
    if pending is None:
        raise DecisionRefusedError(
            f"Nothing waits for a decision in {execution_id}: nothing was sent. "
            f"{session.command('watch', execution_id)} tells where it stands.",
            "nothing waits for a decision",
        )
    _check_shown(session, execution_id, pending, sha256)
    if sha256 is None:
        session.output.note(question_text(pending, session.options))
        if not yes and not _confirmed(pending):
            session.output.note("Nothing was sent.")
            return ExitCode.FAILED
    receipt = await execution.approve(operator or getpass.getuser(), pending.sha256, comment)
    return _report(session, execution_id, receipt)


async def reject(
    session: Session, execution_id: ExecutionId, reason: Reason, operator: Operator = None
) -> int:
    """Refuse what waits; the execution ends, and nothing is written."""
    client = await session.client()
    receipt = await client.handle(execution_id).reject(operator or getpass.getuser(), reason)
    return _report(session, execution_id, receipt)


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
    receipt = await client.handle(execution_id).revise(operator or getpass.getuser(), comment)
    return _report(session, execution_id, receipt)


async def stop(
    session: Session, execution_id: ExecutionId, reason: Reason, operator: Operator = None
) -> int:
    """End an execution, whatever it does. Counts even while no worker answers."""
    client = await session.client()
    await client.handle(execution_id).stop(operator or getpass.getuser(), reason)
    if session.output.as_json:
        session.output.document({"id": execution_id, "sent": "stop"})
    else:
        session.output.answer("stop: sent")
        session.output.note(f"See it end: {session.command('watch', execution_id)}")
    return ExitCode.DONE


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    add_command(app, "approve", approve, ["approve scan-42", "approve scan-42 --sha256 7f3a9c"])
    add_command(app, "reject", reject, ["reject scan-42 --reason 'not during injection'"])
    add_command(app, "revise", revise, ["revise scan-42 --comment 'steps of 0.1 A at most'"])
    add_command(app, "stop", stop, ["stop scan-42 --reason 'beam lost'"])


def _check_digits(sha256: str | None) -> None:
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise InvalidRequestError(
            "--sha256 has 6 to 64 digits of 0-9a-f, as `runpermit show` prints them.", "sha256"
        )


def _check_shown(
    session: Session, execution_id: str, pending: PendingApproval, sha256: str | None
) -> None:
    """Refuse, before anything is sent, what is not the question that the operator means."""
    if pending.binds.workflow_id != execution_id:
        raise DecisionRefusedError(
            f"The worker answered for {execution_id} with the question of "
            f"{one_line(pending.binds.workflow_id, 200)}: nothing was sent.",
            "it is another execution's question",
        )
    if sha256 is not None and not pending.sha256.startswith(sha256):
        raise DecisionRefusedError(
            f"Revision {pending.revision} waits, not {sha256}: nothing was sent. Look at it: "
            f"{session.command('show', execution_id)}",
            "another revision waits",
        )


def _confirmed(pending: PendingApproval) -> bool:
    if not sys.stdin.isatty():
        raise InvalidRequestError(
            "There is no terminal to ask on: name the revision that you saw with --sha256, or "
            "approve what is shown with --yes.",
            "sha256",
        )
    # While this waits for a key the event loop stands still, and its Ctrl-C with it.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm(f"Approve revision {pending.revision}?", err=True)
    except (KeyboardInterrupt, typer.Abort):
        return False
    finally:
        signal.signal(signal.SIGINT, ours)


def _report(session: Session, execution_id: str, receipt: DecisionReceipt) -> int:
    if session.output.as_json:
        session.output.document({"id": execution_id, "receipt": receipt.model_dump(mode="json")})
    else:
        revision = f" revision {receipt.revision}" if receipt.revision else ""
        session.output.answer(f"{receipt.verb}{revision}: {one_line(receipt.reason, 300)}")
        session.output.note(f"Follow it: {session.command('watch', execution_id)}")
    return ExitCode.DONE
