"""All open sessions: each is kept as long as its worker holds the connection, and renews it."""

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from gate.aftermath.left_machines import LeftMachines
from gate.aftermath.stopping import Stopper
from gate.control.talking import hung_up, last_word, patience
from gate.messages import Opening, SessionMode, SessionReport
from gate.permits.opening import Admission, Opener
from gate.permits.permits import Permits
from gate.sessions.session import Session, Shared
from gate.sessions.telling import Telling
from runpermit.config import Settings
from runpermit.errors import ContainerConfigurationError, ServiceUnavailableError
from runpermit.models import Isolation

log = structlog.get_logger()

_NO_SANDBOX = 'kernels.isolation = "none": code without a sandbox never writes'


class Sessions:
    """Opens sessions, and keeps them until they end."""

    def __init__(
        self,
        settings: Settings,
        shared: Shared,
        opener: Opener,
        permits: Permits,
        stopper: Stopper,
        left: LeftMachines,
    ) -> None:
        self._settings = settings
        self._shared = shared
        self._opener = opener
        self._permits = permits
        self._stopper = stopper
        self._left = left
        self._open: set[Session] = set()
        self._opening: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def writing(self) -> list[str]:
        """The executions that may write now."""
        names = {s.opening.execution for s in self._open if s.opening.mode is SessionMode.APPLY}
        return sorted(names)

    def is_applying(self, execution: str) -> bool:
        """Whether a session of `execution` may write, or waits for that."""
        return execution in self.writing or self._opening[execution] > 0

    @property
    def executions(self) -> set[str]:
        """The executions that have a session, or wait for one."""
        return {session.opening.execution for session in self._open} | {*+self._opening}

    def fence(self, execution: str | None, reason: str) -> list[str]:
        """End the sessions of `execution`, or all: they forward nothing any more. Their names."""
        fenced = [s for s in self._open if execution in {None, s.opening.execution}]
        for session in fenced:
            session.fence(reason)
        return [session.name for session in fenced]

    async def hold(
        self, connection: socket.socket, opening: Opening, descriptors: list[int], peer: int
    ) -> None:
        """Keep a session open as long as its worker holds the connection.

        Raises what `Opener.admitted` does, ContainerConfigurationError where the gate's own
        settings forbid it, and ServiceUnavailableError where it can't be had now.
        """
        self._refuse_writes(opening, peer)
        telling = Telling(connection)
        async with contextlib.AsyncExitStack() as stack:
            async with self._waiting(opening.execution), patience(connection):
                admission = await stack.enter_async_context(self._opener.admitted(opening))
                session = self._session(opening, descriptors, admission, telling)
                ending = await stack.enter_async_context(self._closing(session, admission))
                if admission is not None:
                    await self._permits.consume(admission.permit, session)
                    admission.guards.violated.add_done_callback(_fencing(session))
                await session.open()
            lease = self._settings.gate.lease
            telling.say({"session": session.name, "lease": lease})
            ending.completed = await _until_its_end(session, connection, lease)
        telling.say({"closed": ending.told})
        await telling.end()
        await hung_up(connection)

    @contextlib.asynccontextmanager
    async def _waiting(self, execution: str) -> AsyncIterator[None]:
        self._opening[execution] += 1
        try:
            yield
        finally:
            self._opening[execution] -= 1

    def _session(
        self,
        opening: Opening,
        descriptors: list[int],
        admission: Admission | None,
        telling: Telling,
    ) -> Session:
        most = self._settings.gate.sessions
        if len(self._open) >= most:
            raise ServiceUnavailableError(f"gate.sessions = {most} are open already", "gate")
        enforcement = admission.enforcement if admission is not None else None
        return Session(opening, _listener(descriptors), self._shared, telling, enforcement)

    @contextlib.asynccontextmanager
    async def _closing(
        self, session: Session, admission: Admission | None
    ) -> AsyncIterator["_Ending"]:
        self._open.add(session)
        ending = _Ending()
        try:
            yield ending
        finally:
            # However this ends, shutdown included, the session is fenced first.
            closing = self._close(session, admission, completed=ending.completed)
            report = await asyncio.shield(asyncio.ensure_future(closing))
            ending.told = report.model_dump(mode="json")

    async def _close(
        self, session: Session, admission: Admission | None, *, completed: bool
    ) -> SessionReport:
        """Close it; what it set going is stopped as the limits say, unless it came to its end."""
        moving = [] if completed and not session.ended else session.outstanding
        closing = asyncio.ensure_future(session.close(completed=completed))
        if moving:
            try:
                approved = session.enforcement.approved if session.enforcement else None
                await self._stopper.stop(moving, session.identity, approved)
            except Exception:
                log.exception("what was set going could not be stopped", channels=moving)
        try:
            return await closing
        finally:
            session.finished.set()
            self._open.discard(session)
            if admission is not None:
                self._permits.closed(admission.permit, session)
                for channel, ended in admission.devices.ended.items():
                    self._shared.journal.note(
                        "devices", **session.identity, channel=channel, earlier=ended
                    )
            if session.forwarded_count:
                await self._left.look(session.opening.execution)

    def _refuse_writes(self, opening: Opening, peer: int) -> None:
        """Raise ContainerConfigurationError where this gate's own settings allow no writing."""
        if opening.mode is not SessionMode.APPLY:
            return
        why = why_no_writes(self._settings, peer)
        if why is None and opening.isolation is Isolation.NONE:
            why = _NO_SANDBOX
        if why is not None:
            raise ContainerConfigurationError(why)


def why_no_writes(settings: Settings, peer: int) -> str | None:
    """Why this gate's own settings let no session of the user `peer` write; None where they do."""
    if not settings.control_system.writes_enabled:
        return "control_system.writes_enabled = false in the gate's settings: no session may write"
    if settings.kernels.isolation is Isolation.NONE:
        return _NO_SANDBOX
    protected = peer not in {0, os.getuid()}
    if settings.control_system.type == "epics" and not (protected or settings.gate.shared_user):
        return (
            "the journal is not protected from the worker, which runs as the same user or as "
            "root. Run the gate as a user of its own, or allow it: gate.shared_user = true"
        )
    return None


@dataclass
class _Ending:
    """How a session ends: whether its program came to its end, and its report as it is told."""

    completed: bool = False
    told: dict[str, Any] = field(default_factory=dict)


async def _until_its_end(session: Session, connection: socket.socket, lease: float) -> bool:
    """Wait until worker or gate ends it; whether the program came to its end, as the worker says.

    A worker that is frozen, or cut off, must not leave a program writing.
    """
    word = asyncio.ensure_future(last_word(connection, lease))
    fenced = asyncio.ensure_future(session.fenced.wait())
    try:
        await asyncio.wait({word, fenced}, return_when=asyncio.FIRST_COMPLETED)
        if not word.done():
            return False
        return word.result().get("completed") is True
    except TimeoutError:
        session.fence(f"its worker was silent for {lease:g} s (gate.lease)")
    except OSError:
        pass  # its worker is gone
    finally:
        word.cancel()
        fenced.cancel()
    return False


def _fencing(session: Session) -> Callable[[asyncio.Future[str]], None]:
    def fence(violated: asyncio.Future[str]) -> None:
        if not violated.cancelled():
            session.fence(violated.result())

    return fence


def _listener(descriptors: list[int]) -> socket.socket:
    """The one listening socket that came along; the session owns it from here on."""
    if len(descriptors) != 1:
        raise ContainerConfigurationError(f"{len(descriptors)} sockets came along, not one")
    try:
        listener = socket.socket(fileno=descriptors[0])
    except OSError as error:
        raise ContainerConfigurationError(f"no socket came along: {error}") from None
    descriptors.clear()
    fit = listener.family == socket.AF_INET and listener.type == socket.SOCK_STREAM
    if not fit or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.close()
        raise ContainerConfigurationError("the socket that came along does not listen for TCP")
    listener.setblocking(False)  # noqa: FBT003  (its only argument)
    return listener
