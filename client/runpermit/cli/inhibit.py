"""The host's "no writes" switch, by command."""

import time
from pathlib import Path
from typing import Annotated

import typer

from runpermit.cli.deciding import Operator, name_of
from runpermit.cli.exits import ExitCode
from runpermit.cli.gate_asking import Socket, control_socket
from runpermit.cli.gate_report import GateReport, ask_for_report, restore_lines
from runpermit.cli.left import left_line, nobody_waits_for
from runpermit.cli.session import Session, add_command
from runpermit.errors import ServiceUnavailableError
from runpermit.text import moment, one_line

PATIENCE_SECONDS = 5.0

Reason = Annotated[str, typer.Option("--reason", help="Why; everyone who is refused is told.")]


async def on(
    session: Session, socket: Socket = None, operator: Operator = None, reason: Reason = ""
) -> int:
    """Refuse every write of this host from now on.

    Asks nothing, counts at once, and lasts over a restart of the gate, until `inhibit off`. Needs
    neither Temporal nor a worker. Reads go on. Writes that the machine has already taken stay.
    """
    return _turn(session, socket, operator, reason, on=True)


async def off(
    session: Session, socket: Socket = None, operator: Operator = None, reason: Reason = ""
) -> int:
    """Let writes of this host pass again.

    They still need whatever else they need: the inhibit channel's leave, limits, and an approval.
    """
    return _turn(session, socket, operator, reason, on=False)


async def status(session: Session, socket: Socket = None) -> int:
    """Say whether this host's writes are inhibited, by whom and why.

    And which executions ended and left the machine changed.
    """
    report = ask_for_report(control_socket(session, socket), {"do": "status"})
    left = await nobody_waits_for(session, report.left)
    told = _tell(session, report.model_copy(update={"left": left}))
    if not session.output.as_json:
        for one in left:
            session.output.answer(left_line(one), style="bold red")
    return told


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    inhibit = typer.Typer(
        name="inhibit", help="Refuse every write of this host, at once.",
        no_args_is_help=True, rich_markup_mode=None,
    )  # fmt: skip
    add_command(inhibit, "on", on, ["inhibit on", "inhibit on --reason 'vacuum alarm'"])
    add_command(inhibit, "off", off, ["inhibit off --reason 'vacuum is back'"])
    add_command(inhibit, "status", status, ["inhibit status --socket /run/runpermit/gate.sock"])
    app.add_typer(inhibit)


def _turn(
    session: Session, socket: Path | None, operator: str | None, reason: str, *, on: bool
) -> int:
    by = name_of(operator)
    request = {"do": "inhibit", "on": on, "operator": by, "reason": reason}
    path = control_socket(session, socket)
    deadline = time.monotonic() + (PATIENCE_SECONDS if on else 0)
    while True:
        try:
            return _tell(session, ask_for_report(path, request))
        except ServiceUnavailableError as error:
            if time.monotonic() < deadline:
                time.sleep(0.2)  # a gate that died is started again within a second or so
                continue
            if not on:
                raise
            raise ServiceUnavailableError(
                f"NOT INHIBITED: {error.message} Once it runs, it lets writes pass: say this again "
                "then.",
                "gate",
            ) from None


def _tell(session: Session, report: GateReport) -> int:
    """What is in force now, all of it: who reads this may go near the machine."""
    if session.output.as_json:
        session.output.document(report.model_dump(mode="json"))
        return ExitCode.DONE
    inhibit = report.inhibit
    if inhibit.refusal is not None:
        session.output.answer(f"INHIBITED: {one_line(inhibit.refusal, 1000)}", style="bold red")
    elif not report.writes:
        session.output.answer(
            "Not inhibited. This gate lets nothing write all the same: "
            "control_system.writes_enabled = false."
        )
    else:
        session.output.answer("Not inhibited: writes pass where limits and approval allow them.")
    switched = f" by {one_line(inhibit.by, 100)} at {moment(inhibit.since)}"
    session.output.answer(
        f"Switch: {'on' if inhibit.on else 'off'}{switched if inhibit.since else ''}"
    )
    channel = inhibit.channel and one_line(inhibit.channel, 100)
    session.output.answer(f"Inhibit channel: {channel or 'none is set (gate.inhibit_channel)'}")
    for told in restore_lines(report):
        session.output.answer(told, style="bold red")
    return ExitCode.DONE
