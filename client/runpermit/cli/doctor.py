"""Check an installation: each finding with its remedy."""

from typing import Annotated

import typer
from rich.table import Table

from runpermit.cli.checks import Check, Verdict
from runpermit.cli.exits import ExitCode
from runpermit.cli.house_checks import check_house
from runpermit.cli.left import left_here, left_line, nobody_waits_for
from runpermit.cli.server_checks import check_server
from runpermit.cli.session import Session, add_command
from runpermit.text import one_line

_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


async def doctor(
    session: Session,
    live: Annotated[
        bool, typer.Option("--live", help="Also look whether the channels of the limits answer.")
    ] = False,
) -> int:
    """Check the installation, and say how to mend it.

    Settings, Temporal, worker, limits, gate, model, folders, isolation. Run it where the worker
    runs, with the same environment. Exit code 0 where nothing failed, 4 where Temporal or the
    worker does not answer, else 2. No secret is ever printed.
    """
    house = check_house(session.config, live=live)
    server = await check_server(session)
    checks = [*server, *house, *await _left(session)]
    if session.output.as_json:
        session.output.document({"checks": [check.model_dump(mode="json") for check in checks]})
    else:
        session.output.table(_table(checks))
    if any(check.verdict is Verdict.FAIL for check in server):
        return ExitCode.UNREACHABLE
    if any(check.verdict is Verdict.FAIL for check in house):
        return ExitCode.USAGE
    return ExitCode.DONE


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    add_command(
        app, "doctor", doctor, ["doctor", "doctor --live --config /etc/runpermit/runpermit.toml"]
    )


async def _left(session: Session) -> list[Check]:
    return [
        Check(
            name="machine",
            verdict=Verdict.WARN,
            found=left_line(left),
            remedy=f"{session.command('restore', left.execution)}, or leave instead of restore.",
        )
        for left in await nobody_waits_for(session, left_here(session))
    ]


def _table(checks: list[Check]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        style = _STYLES[check.verdict]
        table.add_row(check.verdict, check.name, one_line(check.found, 500), style=style)
        if check.remedy:
            table.add_row("", "", f"→ {one_line(check.remedy, 500)}")
    return table
