"""What the commands that decide something share."""

import getpass
import re
import signal
import sys
from typing import Annotated

import typer

from runpermit.cli.exits import ExitCode
from runpermit.cli.session import Session
from runpermit.errors import DecisionRefusedError, InvalidRequestError
from runpermit.models import DecisionReceipt, PendingApproval, PendingRestore
from runpermit.text import one_line

YES_ALONE = "answer what is shown with --yes"
_SEEN_OR_YES = f"name what you saw with --sha256 (all 64 digits where it is signed), or {YES_ALONE}"
_SHA256 = re.compile(r"[0-9a-f]{6,64}")

Operator = Annotated[
    str | None, typer.Option("--operator", help="Who decides; else your login name.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]
Comment = Annotated[str | None, typer.Option("--comment", help="Kept with it.")]


def name_of(operator: str | None) -> str:
    """Who decides."""
    return operator or getpass.getuser()


def check_digits(sha256: str | None) -> None:
    """Raise InvalidRequestError where it can't name a question."""
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise InvalidRequestError(
            "--sha256 has 6 to 64 digits of 0-9a-f, as `runpermit show` prints them.", "sha256"
        )


def nothing_waits(
    session: Session, execution_id: str, other: PendingApproval | PendingRestore | None
) -> DecisionRefusedError:
    """The error where there is no such question; `other` is the one that waits instead."""
    verb, waits = "watch", f"Nothing waits for a decision in {execution_id}"
    if isinstance(other, PendingRestore):
        verb = "show"
        waits = (
            f"No approval waits in {execution_id}, but MACHINE LEFT CHANGED, {other.revision}, for "
            "restore or leave"
        )
    elif other is not None:
        verb = "show"
        waits = (
            f"No restore waits in {execution_id}, but an approval of revision {other.revision}, "
            "for approve, reject or revise"
        )
    return DecisionRefusedError(
        f"{waits}: nothing was sent. {session.command(verb, execution_id)} tells where it stands.",
        "nothing waits for a decision" if other is None else "another question waits",
    )


def check_shown(
    session: Session,
    execution_id: str,
    pending: PendingApproval | PendingRestore,
    sha256: str | None,
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


def confirmed(question: str, instead: str = _SEEN_OR_YES) -> bool:
    """Whether the person at the terminal says yes; `instead` is how to answer without one."""
    if not sys.stdin.isatty():
        raise InvalidRequestError(f"There is no terminal to ask on: {instead}.", "yes")
    # While this waits for a key the event loop stands still, and its Ctrl-C with it.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm(question, err=True)
    except (KeyboardInterrupt, typer.Abort):
        return False
    finally:
        signal.signal(signal.SIGINT, ours)


def report(session: Session, execution_id: str, receipt: DecisionReceipt) -> int:
    """Print that a decision counted."""
    if session.output.as_json:
        session.output.document({"id": execution_id, "receipt": receipt.model_dump(mode="json")})
    else:
        revision = f" revision {receipt.revision}" if receipt.revision else ""
        session.output.answer(f"{receipt.verb}{revision}: {one_line(receipt.reason, 300)}")
        session.output.note(f"Follow it: {session.command('watch', execution_id)}")
    return ExitCode.DONE
