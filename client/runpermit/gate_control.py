"""What is said to the gate of this host on its control socket: one JSON object a line.

Standard library alone, so that stop and inhibit work where nothing else does.
"""

import json
import socket
import time
from pathlib import Path
from typing import Any

from runpermit.serialization import strict_json_loads

ANSWER_BYTES = 4 * 1024 * 1024
_CHUNK = 64 * 1024


class GateUnreachableError(OSError):
    """No gate answers at the socket, or not to this user; the message says what to do."""


class GateRefusedError(ValueError):
    """The gate answered that it did not do it. `category` is its word for whose fault it was."""

    def __init__(self, message: str, category: str | None = None) -> None:
        super().__init__(message)
        self.category = category


def ask(socket_path: Path, request: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Send `request` to the gate and return its answer, within `timeout` seconds in all.

    Raises GateUnreachableError where no gate answers, GateRefusedError where it answers with an
    error.
    """
    line = json.dumps(request, allow_nan=False).encode() + b"\n"
    try:
        answer = _asked(socket_path, line, time.monotonic() + timeout)
    except OSError as error:
        raise GateUnreachableError(_way_out(socket_path, error)) from None
    try:
        said = strict_json_loads(answer)
    except ValueError as error:
        raise GateUnreachableError(f"What answers at {socket_path} is no gate: {error}.") from None
    if not isinstance(said, dict):
        raise GateUnreachableError(f"What answers at {socket_path} is no gate.")
    if "error" in said:
        raise GateRefusedError(str(said["error"]), category=said.get("category"))
    return said


def _asked(socket_path: Path, line: bytes, deadline: float) -> bytes:
    """One line there, one line back, at most ANSWER_BYTES of it.

    Empty lines before it say that the gate is at work.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gate:
        gate.settimeout(_left(deadline))
        gate.connect(str(socket_path))
        gate.sendall(line)
        answer = bytearray()
        while not answer.endswith(b"\n") and len(answer) <= ANSWER_BYTES:
            gate.settimeout(_left(deadline))
            chunk = gate.recv(_CHUNK)
            if not chunk:
                raise ConnectionResetError("it closed the connection without an answer")
            answer += chunk if answer else chunk.lstrip(b"\n")
    return bytes(answer)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _way_out(socket_path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return (
            f"No gate answers at {socket_path} (gate.socket of the settings in use, else its "
            "default). Name this host's settings by --config FILE or RUNPERMIT_CONFIG; where its "
            "gate is down, start it: python -m gate --config FILE."
        )
    if isinstance(error, PermissionError):
        return (
            f"This user may not use the gate's socket {socket_path}. "
            "Use an account of its group, or root."
        )
    if isinstance(error, TimeoutError):
        return (
            f"The gate at {socket_path} did not answer in time. Look at its log. "
            "Where it does not come back, end it: without a gate nothing is written."
        )
    return f"The gate at {socket_path} can't be asked: {error}."
