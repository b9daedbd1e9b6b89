"""What the gate of this host says is in force, for the commands that ask it."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from runpermit.errors import (
    ContainerConfigurationError,
    DecisionRefusedError,
    ErrorCategory,
    ServiceUnavailableError,
)
from runpermit.gate_control import GateRefusedError, GateUnreachableError, ask
from runpermit.limits.file import LimitsStatus


class InhibitReport(BaseModel):
    """The switch, the inhibit channel's name, and why every write is refused, if it is."""

    model_config = ConfigDict(frozen=True)

    on: bool
    by: str
    reason: str
    since: str
    channel: str | None
    refusal: str | None


class GateReport(BaseModel):
    """The gate's answer; what a newer one tells besides is left out."""

    model_config = ConfigDict(frozen=True)

    inhibit: InhibitReport
    limits: LimitsStatus
    writes: bool
    journal_protected: bool
    sessions: int


def ask_for_report(socket_path: Path, request: dict[str, Any]) -> GateReport:
    """Have the gate do `request`, and what is in force then.

    Raises ServiceUnavailableError where no gate answers, DecisionRefusedError or
    ContainerConfigurationError where it says that it did not do it.
    """
    try:
        answer = ask(socket_path, request)
        return GateReport.model_validate(answer)
    except GateUnreachableError as error:
        raise ServiceUnavailableError(str(error), "gate") from None
    except ValidationError:
        raise ServiceUnavailableError(
            f"The gate at {socket_path} answers in words of another version. Update the older one.",
            "gate",
        ) from None
    except GateRefusedError as error:
        message = f"The gate refused: {error}"
        if error.category == ErrorCategory.CONFIGURATION:
            raise ContainerConfigurationError(message) from None
        raise DecisionRefusedError(message, str(error)) from None
