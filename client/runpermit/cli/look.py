"""See what waits for an operator."""

from datetime import UTC, datetime
from typing import Any

import typer

from runpermit.cli.exits import ExitCode
from runpermit.cli.gate_report import inhibited_here, inhibited_line, report_here, restore_lines
from runpermit.cli.left import left_line, nobody_waits_for
from runpermit.cli.outcome import report_now, restore_waits
from runpermit.cli.question import question_text, restore_text
from runpermit.cli.session import ExecutionId, Session, add_command
from runpermit.cli.unknown import still_unknown
from runpermit.cli.waiting_list import counts, waiting_lines
from runpermit.models import PendingApproval, PendingRestore
from runpermit.text import one_line


async def pending(session: Session) -> int:
    """List the executions that wait for an answer.

    First those that left the machine changed, then those of which nobody could tell what they
    wrote; of each kind the longest waiting first. Needs no worker. On the host of a gate also what
    ended executions left changed there.
    """
    client = await session.client()
    waiting = still_unknown(session, await client.pending())
    here = report_here(session)
    left = await nobody_waits_for(session, here.left if here else [])
    output = session.output
    if output.as_json:
        rows = [{**w.model_dump(mode="json"), "revision": w.revision} for w in waiting]
        output.document({"pending": rows, "left": [one.model_dump(mode="json") for one in left]})
        return ExitCode.DONE
    for line in restore_lines(here, [one.id for one in waiting]) if here else []:
        output.answer(line, style="bold red")
    for one in left:
        output.answer(left_line(one), style="bold red")
        output.answer(f"  To put it back: {session.command('restore', one.execution)}")
        output.answer(f"  To leave it so: {session.command('leave', one.execution)}")
    if not waiting:
        output.answer("Nothing waits.")
        return ExitCode.DONE
    output.answer(counts(waiting))
    for line, style in waiting_lines(waiting, datetime.now(UTC), output.width):
        output.answer(line, style=style)
    if lost := [one for one in waiting if one.state_unknown]:
        host, audit = one_line(lost[0].host, 64), session.command("audit", lost[0].id)
        leave = session.command("leave", lost[0].id)
        output.answer(f"Look at the machine itself. On {host}, once it is back: {audit}")
        output.answer(f"  To say that it was dealt with, there: {leave}")
    output.answer(f"Look at one: {session.command('show', waiting[0].id)}")
    return ExitCode.DONE


async def show(session: Session, execution_id: ExecutionId) -> int:
    """Show the question that waits, whole.

    Writes, warnings, the code that will run, and the commands that answer; or what an execution
    left changed.
    """
    client = await session.client()
    execution = client.handle(execution_id)
    approval = await execution.pending_approval()
    restore = await execution.pending_restore()
    inhibited = inhibited_here(session)
    output = session.output
    if output.as_json:
        output.document(
            {
                "id": execution.id,
                "pending": _document(approval),
                "restore": _document(restore),
                "inhibited": inhibited,
            }
        )
        return ExitCode.DONE
    if inhibited is not None:
        output.answer(inhibited_line(inhibited), style="bold red")
    if restore is not None:
        output.question(restore_text(restore, session.options), answer=True)
    elif approval is not None:
        output.question(question_text(approval, session.options), answer=True)
    else:
        if told := await restore_waits(execution):
            output.answer(told, style="bold red")
        else:
            output.note("Nothing waits for an answer.")
        await report_now(session, execution)
    return ExitCode.DONE


def _document(question: PendingApproval | PendingRestore | None) -> dict[str, Any] | None:
    if question is None:
        return None
    return {**question.model_dump(mode="json"), "sha256": question.sha256}


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    add_command(app, "pending", pending, ["pending", "pending --json --address control:7233"])
    add_command(app, "show", show, ["show scan-42"])
