"""Explain a limits database before it is put in force."""

from pathlib import Path
from typing import Annotated

import typer

from runpermit.cli.exits import ExitCode
from runpermit.cli.session import Session, add_command
from runpermit.errors import ContainerConfigurationError
from runpermit.limits import LimitsDatabase
from runpermit.limits_report import explain


async def check(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The limits database, JSON.")],
) -> int:
    """Check a limits database and say, channel by channel, what it allows.

    A file with an error is refused whole, with line, entry and field; `!` marks what may have
    been missed. Exit code 2 where it does not load.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ContainerConfigurationError(
            f"{file}: the limits database can't be read: {error.strerror}."
        ) from None
    database = LimitsDatabase.from_bytes(content, file)
    reports = explain(database)
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
    add_command(limits, "check", check, ["limits check limits.json"])
    app.add_typer(limits)
