"""What the gate of this host says is in force, for the commands that ask it."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from runpermit.cli.gate_asking import ask_gate, control_socket, other_version
from runpermit.cli.session import Session
from runpermit.errors import PythonExecutorException
from runpermit.limits.file import LimitsStatus
from runpermit.models import Assurance, LeftMachine
from runpermit.text import one_line


class InhibitReport(BaseModel):
    """The switch, the inhibit channel's name, and why every write is refused, if it is."""

    model_config = ConfigDict(frozen=True)

    on: bool
    by: str
    reason: str
    since: str
    channel: str | None
    refusal: str | None


class ApprovalReport(BaseModel):
    """How well an approver must be known, how many, and who; why nobody can be, if so."""

    model_config = ConfigDict(frozen=True)

    assurance: Assurance
    persons: int = 1
    approvers: list[str] = []
    problem: str | None


class GateReport(BaseModel):
    """The gate's answer; what a newer one tells besides is left out."""

    model_config = ConfigDict(frozen=True)

    inhibit: InhibitReport
    limits: LimitsStatus
    writes: bool
    no_writes: str | None = None
    journal_protected: bool
    approval: ApprovalReport
    sessions: int
    left: list[LeftMachine] = []
    restoring: list[str] = []


def restore_lines(report: GateReport, told_already: Collection[str] = ()) -> list[str]:
    """Each restore that goes on at this gate, or waits: it moves the machine."""
    told = []
    for execution in report.restoring:
        if execution in told_already:
            continue
        name = one_line(execution, 200)
        told.append(
            f"RESTORE WAITS: {name}. It moves the machine as soon as writes pass; "
            f"runpermit stop {name} ends it."
            if report.inhibit.refusal is not None
            else f"RESTORE GOES ON: {name}. It moves the machine now."
        )
    return told


def report_here(session: Session) -> GateReport | None:
    """That of this host's gate; None where there is none, or it can't be asked."""
    try:
        return ask_for_report(control_socket(session, None), {"do": "status"})
    except PythonExecutorException:
        return None


def inhibited_here(session: Session) -> str | None:
    """Why this host's gate refuses every write now; None where it does not, or can't be asked.

    A question tells how it was when it was asked.
    """
    report = report_here(session)
    return report.inhibit.refusal if report is not None else None


def inhibited_line(refusal: str) -> str:
    """That no write passes now, for a list or before a question."""
    return f"INHIBITED NOW: {one_line(refusal, 1000)}"


def ask_for_report(socket_path: Path, request: dict[str, Any]) -> GateReport:
    """Have the gate do `request`, and what is in force then.

    Raises like `ask_gate`.
    """
    try:
        return GateReport.model_validate(ask_gate(socket_path, request))
    except ValidationError:
        raise other_version(socket_path) from None
