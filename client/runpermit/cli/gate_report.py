"""What the gate of this host says is in force, for the commands that ask it."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from runpermit.cli.gate_asking import ask_gate, other_version
from runpermit.limits.file import LimitsStatus
from runpermit.models import Assurance, LeftMachine


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


def ask_for_report(socket_path: Path, request: dict[str, Any]) -> GateReport:
    """Have the gate do `request`, and what is in force then.

    Raises like `ask_gate`.
    """
    try:
        return GateReport.model_validate(ask_gate(socket_path, request))
    except ValidationError:
        raise other_version(socket_path) from None
