"""The gate of this host, for the commands that ask it: which it is, and its errors as ours."""

from pathlib import Path
from typing import Annotated, Any

import typer

from runpermit.cli.session import Session
from runpermit.config import load_settings
from runpermit.errors import (
    ContainerConfigurationError,
    DecisionRefusedError,
    ErrorCategory,
    PythonExecutorException,
    ServiceUnavailableError,
)
from runpermit.gate_control import GateRefusedError, GateUnreachableError, ask

Socket = Annotated[
    Path | None,
    typer.Option(
        "--socket", metavar="PATH", help="The gate's control socket; else gate.socket of --config."
    ),
]


def control_socket(session: Session, socket: Path | None) -> Path:
    """Where this host's gate listens. Raises ContainerConfigurationError where nothing says it."""
    if socket is not None:
        return socket
    try:
        return load_settings(session.config).gate.socket
    except (ContainerConfigurationError, OSError) as error:
        raise ContainerConfigurationError(
            f"{error} The gate can be named without settings: --socket PATH."
        ) from None


def host_here(session: Session) -> str:
    """Of which host the settings are; empty where there are none."""
    try:
        return load_settings(session.config).worker.host
    except PythonExecutorException:
        return ""


def ask_gate(socket_path: Path, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """What the gate answers, within `timeout` seconds.

    Raises ServiceUnavailableError where no gate answers, DecisionRefusedError or
    ContainerConfigurationError where it says that it did not do it.
    """
    try:
        return ask(socket_path, request, timeout)
    except GateUnreachableError as error:
        raise ServiceUnavailableError(str(error), "gate") from None
    except GateRefusedError as error:
        message = f"The gate refused: {error}"
        if error.category == ErrorCategory.CONFIGURATION:
            raise ContainerConfigurationError(message) from None
        raise DecisionRefusedError(message, str(error)) from None


def other_version(socket_path: Path) -> ServiceUnavailableError:
    """The error where the gate's answer makes no sense here."""
    return ServiceUnavailableError(
        f"The gate at {socket_path} answers in words of another version. Update the older one.",
        "gate",
    )
