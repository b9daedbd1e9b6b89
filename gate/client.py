"""The worker's end of the gate's control socket: sessions for kernels, and the gate's status."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gate.messages import (
    LINE_BYTES,
    GateStatus,
    Opening,
    Refusal,
    SessionMode,
    SessionReport,
    WriteOutcome,
    WriteRecord,
)
from runpermit.errors import (
    ContainerConfigurationError,
    PythonExecutorException,
    ServiceUnavailableError,
)
from runpermit.limits import LimitsStatus

__all__ = [
    "GateClient",
    "GateSession",
    "GateStatus",
    "Opening",
    "Refusal",
    "SessionMode",
    "SessionReport",
    "WriteOutcome",
    "WriteRecord",
]

ANSWER_SECONDS = 5.0
# Closing waits for the writes in flight, and each of them for its IOC.
CLOSE_SECONDS = 15.0
RENEWALS_PER_LEASE = 5
_SHORTEST_LEASE = 1.0


class GateClient:
    """Opens sessions at the gate whose control socket is `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def status(self) -> GateStatus:
        """What is in force now. Raises ServiceUnavailableError where the gate does not answer."""
        async with self._connected() as (reader, writer):
            writer.write(_line({"do": "status"}))
            answer = await _answer(reader, ANSWER_SECONDS)
            inhibit, limits = answer.get("inhibit"), _limits(answer)
            return GateStatus(
                inhibited=inhibit.get("refusal") if isinstance(inhibit, dict) else "unknown",
                writes=answer.get("writes") is True,
                limits_error=limits.error,
                limits_enabled=limits.enabled,
                limits_sha256=limits.binds,
                journal_protected=answer.get("journal_protected") is True,
            )

    @contextlib.asynccontextmanager
    async def session(
        self, opening: Opening, listener: socket.socket
    ) -> AsyncIterator["GateSession"]:
        """A session whose circuits arrive at `listener`; on leaving it is fenced.

        The session ends with this connection, so it never outlives its worker. Raises
        ServiceUnavailableError where the gate does not answer, ContainerConfigurationError where
        its own settings forbid the session.
        """
        async with self._connected() as (reader, writer):
            request = _line({"do": "open", "session": opening.model_dump(mode="json")})
            # asyncio's own socket sends no descriptors; a fresh buffer holds a line of this size.
            descriptor = writer.get_extra_info("socket").fileno()
            with socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                socket.send_fds(sock, [request], [listener.fileno()])
            answer = await _answer(reader, ANSWER_SECONDS)
            session = GateSession(str(answer.get("session")), reader, writer, _lease(answer))
            try:
                yield session
            finally:
                await session.end()

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


class GateSession:
    """An open session. `refused` completes with its first refusal, `lost` when the gate is gone.

    While this process runs it tells the gate so: one that is frozen loses its session after `lease`
    seconds.
    """

    def __init__(
        self,
        identity: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lease: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.identity = identity
        self.refused: asyncio.Future[Refusal] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._report: asyncio.Future[SessionReport] = loop.create_future()
        self._writer = writer
        self._listening = asyncio.create_task(self._listen(reader))
        self._renewing = asyncio.create_task(self._renew(lease / RENEWALS_PER_LEASE))

    async def close(self) -> SessionReport:
        """Fence: nothing more is forwarded; then what happened, writes in flight included.

        Raises ServiceUnavailableError where the gate was lost: what it did is in its journal.
        """
        self._renewing.cancel()
        with contextlib.suppress(OSError):
            self._writer.write(_line({"do": "close"}))
        ends: set[asyncio.Future[Any]] = {self._report, self.lost}
        await asyncio.wait(ends, timeout=CLOSE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not self._report.done():
            raise gate_lost(self.identity)
        return self._report.result()

    async def end(self) -> None:
        """Leave the connection; the gate fences what it finds open."""
        for task in (self._listening, self._renewing):
            task.cancel()
        await asyncio.wait({self._listening, self._renewing})
        for future in (self.refused, self.lost, self._report):
            future.cancel()

    async def _renew(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            self._writer.write(b"\n")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                said = json.loads(line)
                if "refused" in said and not self.refused.done():
                    self.refused.set_result(Refusal.model_validate(said["refused"]))
                if "closed" in said and not self._report.done():
                    self._report.set_result(SessionReport.model_validate(said["closed"]))
        except (OSError, ValueError):
            pass
        finally:
            if not self.lost.done():
                self.lost.set_result(None)


def gate_lost(session: str) -> ServiceUnavailableError:
    """The gate ended, or went silent, while it held a session."""
    return ServiceUnavailableError(
        f"The gate was lost while session {session} was open. Nothing more was forwarded; what it "
        "had forwarded is in its journal (gate.journal). Start it again.",
        "gate",
    )


def _lease(answer: dict[str, Any]) -> float:
    lease = answer.get("lease")
    return max(float(lease), _SHORTEST_LEASE) if isinstance(lease, int | float) else _SHORTEST_LEASE


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, allow_nan=False).encode() + b"\n"


async def _answer(reader: asyncio.StreamReader, seconds: float) -> dict[str, Any]:
    try:
        line = await asyncio.wait_for(reader.readline(), seconds)
        answer = json.loads(line)
    except (TimeoutError, OSError, ValueError, ValidationError) as error:
        raise ServiceUnavailableError(
            f"The gate gave no answer on its control socket: {error or 'time-out'}.", "gate"
        ) from None
    if not isinstance(answer, dict):
        raise ServiceUnavailableError("The gate gave no object on its control socket.", "gate")
    if "error" in answer:
        raise _refused(answer)
    return answer


def _limits(answer: dict[str, Any]) -> LimitsStatus:
    """The limits that the gate enforces; what it does not say counts as bad."""
    try:
        return LimitsStatus.model_validate(answer.get("limits"))
    except ValidationError:
        return LimitsStatus(
            enabled=False, path=None, sha256=None, channels=0, allow_unlisted=True, error="unknown"
        )


def _refused(answer: dict[str, Any]) -> PythonExecutorException:
    message = f"The gate refused: {answer['error']}"
    if answer.get("category") == "configuration":
        return ContainerConfigurationError(message)
    return ServiceUnavailableError(message, "gate")
