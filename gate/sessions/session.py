"""A session: one kernel's circuits, what they may do, and what became of it."""

import asyncio
import contextlib
import secrets
import socket
from collections import Counter
from dataclasses import dataclass

import structlog

from gate.channel_access.directory import Directory
from gate.channel_access.ioc_circuit import Address
from gate.journal.journal import Journal
from gate.messages import (
    Opening,
    Refusal,
    SessionMode,
    SessionReport,
    WriteRecord,
    WritesSoFar,
)
from gate.permits.enforcement import Enforcement
from gate.policy.writing import Writer
from gate.rehearsal.rehearsal import Facilities, Rehearsal
from gate.sessions.client_circuit import ClientCircuit
from gate.sessions.reporting import Reporting
from gate.sessions.telling import Telling
from runpermit.config import GateSettings
from runpermit.errors import WorkflowError
from runpermit.models import PlanKind

# Longer than any single answer of an IOC; a write that only waits for its turn gives up at once.
FLIGHT_SECONDS = 10.0
# Whoever goes on after so many refusals waits for each, whatever circuit it comes on.
FREE_REFUSALS = 1000
REFUSAL_SECONDS = 0.05
# Of the journal's disk, which belongs to all: what a program's refusals may take in one session.
REFUSAL_RECORD_BYTES = 1024 * 1024
# Searches of one session at a time: a program with a thousand wrong names is no storm.
SEARCHES = 50

# Of an IOC's circuits one session has an eighth, and a quarter is kept for those that write.
SHARES = 8
RESERVE = 4

log = structlog.get_logger()


@dataclass(frozen=True)
class Shared:
    """What all sessions have in common."""

    directory: Directory
    writer: Writer
    journal: Journal
    quotas: GateSettings
    circuits: dict[Address, int]  # how many lead to each IOC
    rehearsals: Facilities


class Session:
    """Accepts circuits at its listening socket until it is closed.

    `fenced` is set where the gate itself ends it, for the reason in `ended`; `finished` once it is
    closed, and the journal told so; `completed` then says whether all went as was approved, and
    `forwarded_count` how many writes left the gate. `enforcement` keeps the writes of an APPLY
    session within its permit.
    """

    def __init__(
        self,
        opening: Opening,
        listener: socket.socket,
        shared: Shared,
        telling: Telling,
        enforcement: Enforcement | None = None,
    ) -> None:
        self.opening = opening
        self.enforcement = enforcement
        self.ended = ""
        self.completed = False
        self.forwarded_count = 0
        self.fenced = asyncio.Event()
        self.finished = asyncio.Event()
        self.shared = shared
        self.name = f"{opening.mode}-{secrets.token_hex(4)}"
        self.port: int = listener.getsockname()[1]
        self.circuits: set[ClientCircuit] = set()
        self.channels = 0
        self.identity: dict[str, object] = {
            "session": self.name,
            "execution": opening.execution,
            "attempt": opening.attempt,
        }
        if enforcement is not None:
            self.identity["permit"] = enforcement.permit
        self.rehearsal: Rehearsal | None = None
        self._listener = listener
        self._searching = asyncio.Semaphore(SEARCHES)
        self._server: asyncio.Server | None = None
        self._telling = telling
        self._open = False
        self._began = False
        self._flights: set[asyncio.Task[WriteRecord]] = set()
        self._plain: set[asyncio.Task[WriteRecord]] = set()
        self._unanswered: dict[asyncio.Future[bool], str] = {}
        self._judging: set[asyncio.Task[None]] = set()
        self._ioc_circuits: Counter[Address] = Counter()
        self._refusing = asyncio.Lock()
        self._record_bytes = 0
        self._not_recorded: Counter[str] = Counter()
        self._reporting = Reporting(self.name)

    @property
    def is_open(self) -> bool:
        """Whether it takes circuits."""
        return self._open

    @property
    def may_write(self) -> bool:
        """Whether it is open, with write access."""
        return self._open and self.opening.mode is SessionMode.APPLY

    @property
    def outstanding(self) -> list[str]:
        """The channels whose IOC has not done with what was written to them."""
        plain = [flight.get_name() for flight in self._plain if not flight.done()]
        # A setpoint reads back long before its device is there, as a motor's does.
        return list(dict.fromkeys([*plain, *self._unanswered.values()]))

    async def open(self) -> None:
        """Take circuits from now on.

        Raises JournalError where the journal takes no record, WorkflowError where it was fenced
        meanwhile, ServiceUnavailableError where the model of a rehearsal is not there.
        """
        if self.opening.mode is SessionMode.REHEARSE:
            self.rehearsal = await self.shared.rehearsals.begin(self)
        await self.shared.journal.write(
            "session_opened",
            **self.identity,
            **self.opening.model_dump(mode="json", include={"mode", "run_id", "isolation"}),
        )
        self._began = True
        if self.fenced.is_set():
            raise WorkflowError(f"Its session was ended: {self.ended}", "applying")
        self._open = True
        self._server = await asyncio.get_running_loop().create_server(
            lambda: ClientCircuit(self), sock=self._listener
        )

    def fence(self, reason: str) -> None:
        """From now on nothing is forwarded: the gate itself ends it. `close` is still to come."""
        self._open = False
        self.ended = self.ended or reason
        self.fenced.set()

    async def close(self, *, completed: bool = False) -> SessionReport:
        """From the first line on nothing is forwarded. Then wait for what is in flight.

        `completed`: the worker says that the program came to its end.
        """
        self._open = False
        if self._server is not None:
            self._server.close()
        self._listener.close()
        for circuit in list(self.circuits):
            circuit.end()
        for waiting in (self._judging, self._flights):
            if waiting:
                await asyncio.wait(set(waiting), timeout=FLIGHT_SECONDS)
        for circuit in list(self.circuits):
            circuit.close()
        if self._flights:  # without their circuits, they end at once
            await asyncio.wait(set(self._flights), timeout=1)
        report = self._reporting.report(self.forwarded_count, self.ended)
        if self.rehearsal is not None:
            report = report.model_copy(update={"rehearsed": await self.rehearsal.close()})
        if self._not_recorded:
            self.shared.journal.note(
                "refusals_not_recorded",
                **self.identity,
                count=self._not_recorded.total(),
                violation_types=dict(self._not_recorded),
            )
        # A program of which something was refused has not done what was approved.
        self.completed = completed and not self.ended and not report.refused
        if self._began:
            self._tell_closed(report)
        return report

    def _tell_closed(self, report: SessionReport) -> None:
        with contextlib.suppress(ValueError):
            self.shared.journal.note(
                "session_closed",
                **self.identity,
                completed=self.completed,
                ended=self.ended,
                forwarded=report.forwarded,
                refused=report.refused,
                outcomes=report.outcomes,
                notes=report.notes,
            )

    async def find(self, name: str) -> Address | None:
        """The IOC that has channel `name`; few names of one session are searched at a time."""
        async with self._searching:
            return await self.shared.directory.find(name)

    def judging(self, task: asyncio.Task[None]) -> None:
        """Remember a write that is being judged."""
        self._judging.add(task)
        task.add_done_callback(self._judging.discard)

    def forwarded(
        self, flight: asyncio.Task[WriteRecord], answered: asyncio.Future[bool] | None = None
    ) -> None:
        """A write left the gate; `flight` tells what became of it, `answered` of a put callback."""
        self.forwarded_count += 1
        if answered is not None:
            self._unanswered[answered] = flight.get_name()
            answered.add_done_callback(self._answered)
        else:
            self._plain.add(flight)
        self._flights.add(flight)
        flight.add_done_callback(self._landed)

    def has_room_for(self, refusal: Refusal) -> bool:
        """Whether the journal takes the record of one more refusal; it is counted otherwise."""
        size = len(refusal.model_dump_json())
        if self._record_bytes + size > REFUSAL_RECORD_BYTES:
            self._not_recorded[refusal.violation_type] += 1
            return False
        self._record_bytes += size
        return True

    def refused(self, refusal: Refusal) -> None:
        """A write was refused: the worker is told of the first at once."""
        told = self._reporting.refused(refusal)
        if self._reporting.refused_count == 1:
            self._telling.say({"refused": told.model_dump(mode="json")})

    async def slow_down(self) -> None:
        """Let whoever was refused very often wait, one after the other."""
        if self._reporting.refused_count > FREE_REFUSALS:
            async with self._refusing:
                await asyncio.sleep(REFUSAL_SECONDS)

    def take_circuit(self, address: Address) -> bool:
        """Count one more circuit to an IOC, where the IOC is to have one more from us.

        One session has a share of them, and reading ones together leave some to those that write.
        """
        quota, taken = self.shared.quotas.circuits_per_ioc, self.shared.circuits
        share = max(quota // SHARES, 1)
        reading = self.opening.mode is not SessionMode.APPLY
        if self._ioc_circuits[address] >= share:
            why = f"this session's share of {share} is in use"
        elif taken.get(address, 0) >= (quota - quota // RESERVE if reading else quota):
            why = "all that a session of this kind may use are in use"
        else:
            self._ioc_circuits[address] += 1
            taken[address] = taken.get(address, 0) + 1
            return True
        self.note(f"gate.circuits_per_ioc = {quota} for {address[0]}:{address[1]}: {why}")
        return False

    def lost_circuit(self, address: Address) -> None:
        """A circuit to an IOC is gone."""
        self._ioc_circuits[address] -= 1
        self.shared.circuits[address] -= 1

    def note(self, text: str) -> None:
        """Something that the engineer should know, such as a quota that was reached."""
        self._reporting.note(text)

    def _answered(self, answered: asyncio.Future[bool]) -> None:
        """A put callback is no longer waited for; where nobody heard it, it may go on."""
        if not answered.cancelled() and answered.result():
            del self._unanswered[answered]

    def _landed(self, flight: asyncio.Task[WriteRecord]) -> None:
        self._flights.discard(flight)
        self._plain.discard(flight)
        if flight.cancelled():
            return
        if (error := flight.exception()) is not None:
            log.error("a write was not confirmed", error=repr(error))
        else:
            self._reporting.wrote(flight.result())
            self._telling.wrote(self._so_far)

    def _so_far(self) -> WritesSoFar:
        permit = self.opening.permit
        plan = permit.revision.plan if permit is not None else None
        planned = plan.count if plan is not None and plan.kind is PlanKind.COMPLETE else 0
        return self._reporting.so_far(self.forwarded_count, planned)
