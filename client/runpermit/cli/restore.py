"""Answer MACHINE LEFT CHANGED."""

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
from runpermit.cli.question import restore_text
from runpermit.cli.session import ExecutionId, Session, add_command
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
) -> int:
    """Put back what an execution left changed.

    The last write first, within limits and steps. A channel that no longer reads what was written
    is another hand's, and stays as it is.
    """
    return await _answer(session, execution_id, Verb.RESTORE, sha256, yes, operator, comment)


async def leave(
    session: Session,
    execution_id: ExecutionId,
    sha256: Sha256 = None,
    yes: Yes = False,
    operator: Operator = None,
    comment: Comment = None,
) -> int:
    """Leave the machine as an execution left it; nothing is written."""
    return await _answer(session, execution_id, Verb.LEAVE, sha256, yes, operator, comment)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    add_command(app, "restore", restore, ["restore scan-42", "restore scan-42 --sha256 3fd2c1"])
    add_command(app, "leave", leave, ["leave scan-42 --comment 'the new orbit is better'"])


async def _answer(
    session: Session,
    execution_id: str,
    verb: Verb,
    sha256: str | None,
    yes: bool,
    operator: str | None,
    comment: str | None,
) -> int:
    """Send the sha256 of the very question that is shown: another one is never answered by it."""
    check_digits(sha256)
    client = await session.client()
    execution = client.handle(execution_id)
    pending = await execution.pending_restore()
    if pending is None:
        raise nothing_waits(session, execution_id)
    check_shown(session, execution_id, pending, sha256)
    if sha256 is None:
        session.output.note(restore_text(pending, session.options))
        asked = "Put back what can be?" if verb is Verb.RESTORE else "Leave it as it is?"
        if not yes and not confirmed(asked):
            session.output.note("Nothing was sent.")
            return ExitCode.FAILED
    answer = execution.restore if verb is Verb.RESTORE else execution.leave
    return report(session, execution_id, await answer(name_of(operator), comment, pending.sha256))
