"""Start an execution, follow it, fetch its result."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from runpermit.cli.outcome import report_end, report_now
from runpermit.cli.session import ExecutionId, Session, add_command
from runpermit.cli.teller import Teller
from runpermit.errors import InvalidRequestError
from runpermit.execution import Execution

NoWait = Annotated[
    bool,
    typer.Option("--no-wait", help="Do not wait for the end: exit code 5 while there is none."),
]


async def run(
    session: Session,
    *,
    query: Annotated[
        str | None, typer.Option("--query", help="What was asked for, in a person's words.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="What this code must do; else the query.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the execution's folder; else `run`.")
    ] = None,
    request: Annotated[
        str | None,
        typer.Option(
            "--request",
            metavar="FILE|-",
            help="The request as a JSON object, from a file or stdin; other options override it.",
        ),
    ] = None,
    code: Annotated[
        Path | None,
        typer.Option("--code", metavar="FILE", help="Run this program; no model is asked."),
    ] = None,
    retries: Annotated[
        int | None, typer.Option("--retries", help="Programs to try, 1 to 20; else 3.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="Seconds that the code may run.")
    ] = None,
    requester: Annotated[
        str | None, typer.Option("--requester", help="Who asks, in the approval's words.")
    ] = None,
    execution_id: Annotated[
        str | None,
        typer.Option(
            "--id", help="The execution's id: with the same request, it is never started twice."
        ),
    ] = None,
    no_wait: NoWait = False,
) -> int:
    """Start an execution and follow it to its end.

    Progress goes to stderr, the result to stdout. Where the code would write to the machine, it
    stops and shows what waits for approval, with the commands that answer; then it waits.
    Ctrl-C leaves the execution running.
    """
    fields = _given_request(request)
    options: dict[str, Any] = {
        "user_query": query,
        "task_objective": task,
        "execution_folder_name": name,
        "approved_code": _text(code, "approved_code") if code else None,
        "retries": retries,
        "timeout_seconds": timeout,
        "requester": requester,
    }
    fields |= {field: value for field, value in options.items() if value is not None}
    if "user_query" in fields:
        fields.setdefault("task_objective", fields["user_query"])
    fields.setdefault("execution_folder_name", "run")
    client = await session.client()
    execution = await client.start(fields, id=execution_id)
    session.output.note(f"Execution {execution.id}")
    if no_wait:
        return await report_now(session, execution)
    return await _follow(session, execution)


async def watch(session: Session, execution_id: ExecutionId, no_wait: NoWait = False) -> int:
    """Follow an execution to its end, then print its result.

    It is told from its beginning, each stage once. Goes on through outages of Temporal and of the
    workers. Ctrl-C only ends the watching.
    """
    client = await session.client()
    execution = client.handle(execution_id)
    if no_wait:
        return await report_now(session, execution)
    await execution.describe()
    return await _follow(session, execution)


async def result(session: Session, execution_id: ExecutionId, no_wait: NoWait = False) -> int:
    """Print the result of an execution, when it has one.

    The exit code tells how it ended: 0 done, 1 failed, 2 by its configuration, 3 rejected,
    stopped or expired.
    """
    client = await session.client()
    execution = client.handle(execution_id)
    if no_wait:
        return await report_now(session, execution)
    await execution.describe()
    return await report_end(session, execution)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    add_command(
        app,
        "run",
        run,
        [
            'run --query "Plot the beam current of the last hour" --name current',
            "run --code scan.py --query 'Scan HCM1' --id scan-42",
            "run --request request.json --no-wait --json",
        ],
    )
    add_command(app, "watch", watch, ["watch current-1f2e3d4c"])
    add_command(
        app, "result", result, ["result current-1f2e3d4c --json", "result scan-42 --no-wait"]
    )


async def _follow(session: Session, execution: Execution) -> int:
    teller = Teller(session, execution)
    try:
        async for event in execution.progress():
            await teller.tell(event)
    except asyncio.CancelledError:
        stop = session.command("stop", execution.id, "--reason '…'")
        session.output.note(
            f"\nThe execution goes on. {session.command('watch', execution.id)}\nTo end it: {stop}"
        )
        raise
    return await report_end(session, execution)


def _given_request(source: str | None) -> dict[str, Any]:
    if source is None:
        return {}
    text = sys.stdin.read() if source == "-" else _text(Path(source), "request")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"--request {source} is no JSON: {error}.", "request") from None
    if not isinstance(fields, dict):
        raise InvalidRequestError(f"--request {source} is no JSON object.", "request")
    return fields


def _text(path: Path, field: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{path} can't be read: {error}", field) from None
