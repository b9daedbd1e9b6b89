"""See what waits for an operator."""

from typing import Any

import typer
from rich.table import Table

from runpermit.cli.exits import ExitCode
from runpermit.cli.left import left_here, left_line, nobody_waits_for
from runpermit.cli.outcome import report_now
from runpermit.cli.question import question_text, restore_text
from runpermit.cli.session import ExecutionId, Session, add_command
from runpermit.models import PendingApproval, PendingRestore
from runpermit.text import one_line, visible
from runpermit.waiting import WaitingExecution

_LEFT_CHANGED = "MACHINE LEFT CHANGED"


async def pending(session: Session) -> int:
    """List the executions that wait for an answer.

    First those that left the machine changed; of each kind the oldest first. Needs no worker. On
    the host of a gate also what ended executions left changed there.
    """
    client = await session.client()
    waiting = await client.pending()
    left = await nobody_waits_for(session, left_here(session))
    output = session.output
    if output.as_json:
        rows = [{**w.model_dump(mode="json"), "revision": w.revision} for w in waiting]
        output.document({"pending": rows, "left": [one.model_dump(mode="json") for one in left]})
        return ExitCode.DONE
    for one in left:
        output.answer(left_line(one), style="bold red")
        output.answer(f"  To put it back: {session.command('restore', one.execution)}")
    if not waiting:
        output.answer("Nothing waits.")
        return ExitCode.DONE
    output.table(_table(waiting))
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
    output = session.output
    if output.as_json:
        output.document(
            {"id": execution.id, "pending": _document(approval), "restore": _document(restore)}
        )
    elif restore is not None:
        output.answer(restore_text(restore, session.options))
    elif approval is not None:
        output.answer(question_text(approval, session.options))
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


def _table(waiting: list[WaitingExecution]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("ID", overflow="fold")
    table.add_column("REVISION", no_wrap=True)
    table.add_column("STARTED (UTC)", no_wrap=True)
    table.add_column("QUESTION", overflow="fold")
    for one in waiting:
        question = one_line(one.question, 200)
        if one.left_changed and not question.startswith(_LEFT_CHANGED):
            question = f"{_LEFT_CHANGED}. {question}"
        table.add_row(
            visible(one.id, keep=""),
            one_line(one.revision, 6),
            f"{one.started_at:%m-%d %H:%M:%S}",
            question,
            style="bold red" if one.left_changed else None,
        )
    return table
