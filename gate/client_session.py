"""The worker's end of one session at the gate."""

import asyncio
import contextlib
import json
from typing import Any

from pydantic import ValidationError

from gate.messages import Refusal, SessionReport, WritesSoFar
from runpermit.errors import ServiceUnavailableError

# Closing waits for the writes in flight, and each of them for its IOC.
CLOSE_SECONDS = 15.0
RENEWALS_PER_LEASE = 5


class GateSession:
    """An open session; `wrote` is what its program wrote, as far as the gate told of it.

    `refused` completes with its first refusal, `closed_by_gate` with the report of a session that
    the gate ended itself, `lost` when the gate is gone without one. With a `lease`, in seconds, it
    is renewed as long as this process runs; without, by `renew` alone.
    """

    def __init__(
        self,
        identity: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lease: float | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.identity = identity
        self.wrote: WritesSoFar | None = None
        self.refused: asyncio.Future[Refusal] = loop.create_future()
        self.closed_by_gate: asyncio.Future[SessionReport] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._report: asyncio.Future[SessionReport] = loop.create_future()
        self._writer = writer
        self._closing = False
        self._tasks = {asyncio.create_task(self._listen(reader))}
        if lease is not None:
            self._tasks.add(asyncio.create_task(self._renew(lease / RENEWALS_PER_LEASE)))

    def renew(self) -> None:
        """Tell the gate that the session's execution goes on; it is fenced where nobody does."""
        if not self._closing and not self._writer.is_closing():
            self._writer.write(b"\n")

    async def close(self, *, completed: bool = False) -> SessionReport:
        """Fence: nothing more is forwarded; then what happened, writes in flight included.

        `completed` says that the program came to its end. Raises ServiceUnavailableError where the
        gate was lost: what it did is in its journal.
        """
        self._closing = True
        with contextlib.suppress(OSError):
            self._writer.write(line({"do": "close", "completed": completed}))
        ends: set[asyncio.Future[Any]] = {self._report, self.lost}
        await asyncio.wait(ends, timeout=CLOSE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not self._report.done():
            raise gate_lost(self.identity)
        return self._report.result()

    async def end(self) -> None:
        """Leave the connection; the gate fences what it finds open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for future in (self.refused, self.closed_by_gate, self.lost, self._report):
            future.cancel()

    async def _renew(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            self.renew()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while said := await reader.readline():
                self._take(json.loads(said))
        except (OSError, ValueError):
            pass
        finally:
            if not self.lost.done() and not self._report.done():
                self.lost.set_result(None)

    def _take(self, said: dict[str, Any]) -> None:
        if "refused" in said and not self.refused.done():
            self.refused.set_result(Refusal.model_validate(said["refused"]))
        if "wrote" in said:
            # A gate of another version must end no program that writes by what it only tells.
            with contextlib.suppress(ValidationError):
                self.wrote = WritesSoFar.model_validate(said["wrote"])
        if "closed" in said and not self._report.done():
            report = SessionReport.model_validate(said["closed"])
            self._report.set_result(report)
            if not self._closing:
                self.closed_by_gate.set_result(report)


def gate_lost(session: str) -> ServiceUnavailableError:
    """The gate ended, or went silent, while it held a session."""
    return ServiceUnavailableError(
        f"The gate was lost while session {session} was open. Nothing more was forwarded; what it "
        "had forwarded is in its journal (gate.journal). Start it again.",
        "gate",
    )


def line(message: dict[str, Any]) -> bytes:
    """`message` as one line of JSON."""
    return json.dumps(message, allow_nan=False).encode() + b"\n"
