"""Explain a limits database before it is put in force."""

from pathlib import Path
from typing import Annotated

import typer

from runpermit.cli.exits import ExitCode
from runpermit.cli.found import find_channels
from runpermit.cli.gate_asking import Socket, control_socket
from runpermit.cli.session import Session, add_command
from runpermit.errors import ContainerConfigurationError
from runpermit.limits import LimitsDatabase
from runpermit.limits_live import channels_of, compare
from runpermit.limits_report import explain


async def check(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The limits database, JSON.")],
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Also compare it with the IOCs, through the gate of this host."
        ),
    ] = False,
    socket: Socket = None,
) -> int:
    """Check a limits database and say, channel by channel, what it allows.

    A file with an error is refused whole, with line, entry and field; `!` marks what may have
    been missed. With --live also what does not fit to the machine: names that no IOC has, aliases,
    units, record types, drive limits, readbacks; nothing is written. Exit code 2 where it does not
    load, 4 where the gate does not answer.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ContainerConfigurationError(
            f"{file}: the limits database can't be read: {error.strerror}."
        ) from None
    database = LimitsDatabase.from_bytes(content, file)
    reports = explain(database)
    if live:
        found = find_channels(control_socket(session, socket), channels_of(database))
        reports = compare(reports, database, found)
    warnings = sum(len(report.warnings) for report in reports)
    if session.output.as_json:
        session.output.document(
            {
                "file": str(file),
                "sha256": database.sha256,
                "channels": [report.model_dump(mode="json") for report in reports],
            }
        )
        return ExitCode.DONE
    for report in reports:
        session.output.answer("\n".join(report.lines()) + "\n")
    session.output.answer(f"{len(reports)} channels, {warnings} warnings, {file} loads.")
    return ExitCode.DONE


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    limits = typer.Typer(
        name="limits", help="The limits database: what may be written to which channel.",
        no_args_is_help=True, rich_markup_mode=None,
    )  # fmt: skip
    add_command(
        limits, "check", check, ["limits check limits.json", "limits check limits.json --live"]
    )
    app.add_typer(limits)
