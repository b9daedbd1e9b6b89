"""The worker's end of the gate's control socket: sessions for kernels, and what the gate knows."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gate.client_session import GateSession, gate_lost, line
from gate.control.wire_errors import understood
from gate.messages import (
    LINE_BYTES,
    GateStatus,
    GateVerdict,
    JournalRecords,
    Opening,
    PlannedChannel,
    Refusal,
    Rehearsed,
    RestoreReport,
    SessionMode,
    SessionReport,
    Signer,
    VerifiedChannel,
    WriteOutcome,
    WriteRecord,
    WritesSoFar,
)
from runpermit.errors import ServiceUnavailableError
from runpermit.limits import LimitsStatus
from runpermit.models import Statement

__all__ = [
    "GateClient",
    "GateSession",
    "GateStatus",
    "GateVerdict",
    "JournalRecords",
    "Opening",
    "Refusal",
    "Rehearsed",
    "SessionMode",
    "SessionReport",
    "WriteOutcome",
    "WriteRecord",
    "WritesSoFar",
    "gate_lost",
]

# For so long the gate may be silent; where it needs longer it says so with an empty line.
ANSWER_SECONDS = 5.0
_SHORTEST_LEASE = 1.0

_Answer = TypeVar("_Answer")


class GateClient:
    """Opens sessions at the gate whose control socket is `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def status(self) -> GateStatus:
        """What is in force now. Raises ServiceUnavailableError where the gate does not answer."""
        answer = await self._ask({"do": "status"})
        inhibit, limits = answer.get("inhibit"), _limits(answer)
        return GateStatus(
            inhibited=inhibit.get("refusal") if isinstance(inhibit, dict) else "unknown",
            writes=answer.get("writes") is True,
            no_writes=str(why) if (why := answer.get("no_writes")) else None,
            limits_error=limits.error,
            limits_enabled=limits.enabled,
            limits_sha256=limits.binds,
            journal_protected=answer.get("journal_protected") is True,
        )

    @contextlib.asynccontextmanager
    async def session(
        self, opening: Opening, listener: socket.socket, *, self_renewing: bool = True
    ) -> AsyncIterator[GateSession]:
        """A session whose circuits arrive at `listener`; on leaving it is fenced.

        The session ends with this connection, so it never outlives its worker. Where it is not
        `self_renewing`, it also ends when `GateSession.renew` is not called for gate.lease seconds.
        Raises ServiceUnavailableError where the gate does not answer, ContainerConfigurationError
        where its own settings forbid the session; for APPLY also PlanOutdatedError where what was
        approved is no longer so, and WorkflowError where the permit is not to be used. What the
        gate refuses has `technical_details["verdict"] == "not_opened"`.
        """
        async with self._connected() as (reader, writer):
            request = line({"do": "open", "session": opening.model_dump(mode="json")})
            # asyncio's own socket sends no descriptors.
            descriptor = writer.get_extra_info("socket").fileno()
            with socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                await _send_with(sock, request, listener)
            answer = await _answer(reader)
            lease = _lease(answer) if self_renewing else None
            session = GateSession(str(answer.get("session")), reader, writer, lease)
            try:
                yield session
            finally:
                await session.end()

    async def verdict(self, permit: str, execution: str) -> GateVerdict:
        """What the journal says of `permit`, whose session is fenced first.

        Asked again, it says the same. A permit that was never used is void from then on. Raises
        ServiceUnavailableError, and WorkflowError where the permit is another execution's.
        """
        request = {"do": "verdict", "permit": permit, "execution": execution}
        return await self._told(request, "verdict", GateVerdict)

    async def records(self, execution: str) -> JournalRecords:
        """The journal's records of `execution`. Raises ServiceUnavailableError."""
        return await self._told(
            {"do": "records", "execution": execution}, "journal", JournalRecords
        )

    async def describe(self, channels: Sequence[str]) -> list[PlannedChannel]:
        """What gate and limits database know of `channels`.

        Raises CodeAnalysisError for one that can't be read, ServiceUnavailableError.
        """
        request = {"do": "describe", "channels": list(channels)}
        return await self._told(request, "channels", list[PlannedChannel])

    async def verify(self, permit: str, execution: str) -> list[VerifiedChannel]:
        """What was written under `permit`, and whether the devices followed.

        Waits as long as they may take. Raises ServiceUnavailableError.
        """
        request = {"do": "verify", "permit": permit, "execution": execution}
        return await self._told(request, "verified", list[VerifiedChannel])

    async def signer(
        self, statement: Statement, signature: str, operator: str | None = None
    ) -> Signer:
        """Whoever signed `statement`, by the gate's own approval.allowed_signers.

        `operator`: the name that came with it, which must be one of the key's. Raises
        DecisionRefusedError with why the signature does not count, ServiceUnavailableError.
        """
        request = {
            "do": "signer",
            "statement": statement.model_dump(mode="json"),
            "signature": signature,
            "operator": operator,
        }
        return await self._told(request, "signer", Signer)

    async def restore(
        self,
        execution: str,
        operator: str | None,
        statement: Statement | None = None,
        signature: str | None = None,
    ) -> RestoreReport:
        """Put back what `execution` left changed. It stops where this is cancelled, and can be
        asked for again.

        `signature` over `statement`, where the gate's approval.assurance is signed. Raises
        ServiceUnavailableError, and DecisionRefusedError where the signature is missing or wrong.
        """
        request = {
            "do": "restore",
            "execution": execution,
            "operator": operator,
            "statement": statement and statement.model_dump(mode="json"),
            "signature": signature,
        }
        return await self._told(request, "restored", RestoreReport)

    async def leave(self, execution: str, operator: str | None) -> bool:
        """Leave the machine as `execution` left it, and list it no more; whether it was listed.

        Raises ServiceUnavailableError.
        """
        request = {"do": "leave", "execution": execution, "operator": operator}
        return await self._told(request, "was_listed", bool)

    async def stop(
        self,
        execution: str | None,
        operator: str | None,
        reason: str,
        first_run_id: str | None = None,
    ) -> list[str]:
        """Fence the sessions of `execution`, or all, and refuse its permits from now on.

        Without `first_run_id` those that were given until now: a later execution may have the same
        id. The names of these sessions. Raises ServiceUnavailableError.
        """
        request = {"do": "stop", "execution": execution, "operator": operator, "reason": reason}
        request["first_run_id"] = first_run_id
        return await self._told(request, "stopped", list[str])

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        async with self._connected() as (reader, writer):
            writer.write(line(request))
            return await _answer(reader)

    async def _told(self, request: dict[str, Any], name: str, kind: type[_Answer]) -> _Answer:
        answer = await self._ask(request)
        try:
            return TypeAdapter(kind).validate_python(answer.get(name))
        except ValidationError as error:
            raise ServiceUnavailableError(
                f"The gate gave no {name} on its control socket: {error}.", "gate"
            ) from None

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._path), limit=LINE_BYTES)
        except OSError as error:
            raise ServiceUnavailableError(
                f"The gate does not answer at {self._path} (gate.socket): {error}. Without it no "
                "code reaches a channel. Start it: python -m gate --config runpermit.toml.",
                "gate",
            ) from None
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _lease(answer: dict[str, Any]) -> float:
    lease = answer.get("lease")
    return max(float(lease), _SHORTEST_LEASE) if isinstance(lease, int | float) else _SHORTEST_LEASE


async def _send_with(sock: socket.socket, request: bytes, listener: socket.socket) -> None:
    """Send all of `request`, and `listener` beside its first byte."""
    loop = asyncio.get_running_loop()
    sent = socket.send_fds(sock, [request], [listener.fileno()])
    if sent < len(request):
        sock.setblocking(False)  # noqa: FBT003  (its only argument)
        await loop.sock_sendall(sock, request[sent:])


async def _answer(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The gate's answer, behind any empty lines by which it says that it is at work."""
    said = b"\n"
    try:
        while said == b"\n":
            said = await asyncio.wait_for(reader.readline(), ANSWER_SECONDS)
        answer = json.loads(said)
    except (TimeoutError, OSError, ValueError) as error:
        raise ServiceUnavailableError(
            f"The gate gave no answer on its control socket: {error or 'time-out'}.", "gate"
        ) from None
    if not isinstance(answer, dict):
        raise ServiceUnavailableError("The gate gave no object on its control socket.", "gate")
    if "error" in answer:
        raise understood(answer)
    return answer


def _limits(answer: dict[str, Any]) -> LimitsStatus:
    """The limits that the gate enforces; what it does not say counts as bad."""
    try:
        return LimitsStatus.model_validate(answer.get("limits"))
    except ValidationError:
        return LimitsStatus(
            enabled=False, path=None, sha256=None, channels=0, allow_unlisted=True, error="unknown"
        )
