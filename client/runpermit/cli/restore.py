"""Answer MACHINE LEFT CHANGED."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from runpermit.cli.deciding import (
    Comment,
    Operator,
    check_digits,
    check_shown,
    confirmed,
    name_of,
    nothing_waits,
    report,
)
from runpermit.cli.exits import ExitCode
from runpermit.cli.gate_asking import Socket
from runpermit.cli.left import QUESTIONS, answer_at_gate, has_ended
from runpermit.cli.question import restore_text
from runpermit.cli.session import ExecutionId, Session, add_command
from runpermit.cli.signed import Identity, Key, Sign, Signing
from runpermit.cli.unknown import ended_unknown
from runpermit.models import Verb

Sha256 = Annotated[
    str | None,
    typer.Option("--sha256", help="The question that you saw, 6 or more digits: asks nothing."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Answer what is shown without asking.")]


async def restore(
    session: Session,
    execution_id: ExecutionId,
    sha256: Sha256 = None,
    yes: Yes = False,
    operator: Operator = None,
    comment: Comment = None,
    socket: Socket = None,
    *,
    sign: Sign = False,
    key: Key = None,
    identity: Identity = None,
) -> int:
    """Put back what an execution left changed.

    The last write first, within limits and steps. A channel that no longer reads what was written
    is another hand's, and stays as it is. Where the execution has ended, the gate of this host puts
    back itself.
    """
    signing = Signing(sign, key, identity)
    answer = _Answer(Verb.RESTORE, sha256, yes, operator, comment, socket, signing)
    return await _answer(session, execution_id, answer)


async def leave(
    session: Session,
    execution_id: ExecutionId,
    sha256: Sha256 = None,
    yes: Yes = False,
    operator: Operator = None,
    comment: Comment = None,
    socket: Socket = None,
) -> int:
    """Leave the machine as an execution left it; nothing is written."""
    answer = _Answer(Verb.LEAVE, sha256, yes, operator, comment, socket, None)
    return await _answer(session, execution_id, answer)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    add_command(app, "restore", restore, ["restore scan-42", "restore scan-42 --sha256 3fd2c1"])
    add_command(app, "leave", leave, ["leave scan-42 --comment 'the new orbit is better'"])


@dataclass(frozen=True)
class _Answer:
    verb: Verb
    sha256: str | None
    yes: bool
    operator: str | None
    comment: str | None
    socket: Path | None
    signing: Signing | None


async def _answer(session: Session, execution_id: str, answer: _Answer) -> int:
    """Send the sha256 of the very question that is shown: another one is never answered by it."""
    check_digits(answer.sha256)
    client = await session.client()
    if answer.sha256 is None and await has_ended(client, execution_id):
        return answer_at_gate(
            session,
            answer.socket,
            execution_id,
            answer.verb,
            answer.operator,
            answer.signing,
            yes=answer.yes,
            unknown=await ended_unknown(session, client, execution_id),
        )
    execution = client.handle(execution_id)
    pending = await execution.pending_restore()
    if pending is None:
        raise nothing_waits(session, execution_id, await execution.pending_approval())
    check_shown(session, execution_id, pending, answer.sha256)
    signing = answer.signing
    shown = signing.names(answer.sha256, pending.rule) if signing else answer.sha256 is not None
    if not shown:
        session.output.question(restore_text(pending, session.options), answer=False)
        if not answer.yes and not confirmed(QUESTIONS[answer.verb]):
            session.output.note("Nothing was sent.")
            return ExitCode.FAILED
    if signing is None:
        name = name_of(answer.operator)
        receipt = await execution.leave(name, answer.comment, pending.sha256)
    else:
        signature = signing.signature(session, Verb.RESTORE, pending)
        by = signing.operator(answer.operator, pending.rule)
        receipt = await execution.restore(by, answer.comment, pending.sha256, signature)
    return report(session, execution_id, receipt)
