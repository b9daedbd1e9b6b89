"""The gate's control socket: workers open sessions, operators inhibit, everyone asks how it is."""

import asyncio
import json
import os
import socket
import struct
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from gate.inhibit import Inhibit
from gate.messages import LINE_BYTES, Opening, Refusal, SessionMode
from gate.session import Session, Shared
from runpermit.config import Settings
from runpermit.errors import (
    ContainerConfigurationError,
    PythonExecutorException,
    ServiceUnavailableError,
)
from runpermit.limits import LimitsFile
from runpermit.models import Isolation

_FIRST_LINE_SECONDS = 5.0
_RENEWALS = 4096
_BACKLOG = 64
_ACCEPT_AGAIN_SECONDS = 0.1
_DESCRIPTORS = 4

log = structlog.get_logger()


class Control:
    """Serves the control socket at `settings.gate.socket`."""

    def __init__(
        self, settings: Settings, shared: Shared, inhibit: Inhibit, limits: LimitsFile
    ) -> None:
        self._settings = settings
        self._shared = shared
        self._inhibit = inhibit
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._sessions: set[Session] = set()
        self._conversations: set[asyncio.Task[None]] = set()
        self._socket = listening_socket(settings.gate.socket)
        self._serving = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """Take no more, and fence all sessions."""
        self._serving.cancel()
        await asyncio.wait({self._serving})
        self._socket.close()
        self._settings.gate.socket.unlink(missing_ok=True)
        for conversation in self._conversations:
            conversation.cancel()
        if self._conversations:
            await asyncio.wait(set(self._conversations))

    async def _serve(self) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(self._socket)
            except OSError as error:
                # No descriptor is left, most likely. It passes.
                log.warning("a control connection can't be taken", why=str(error))
                await asyncio.sleep(_ACCEPT_AGAIN_SECONDS)
                continue
            conversation = asyncio.create_task(self._converse(connection))
            self._conversations.add(conversation)
            conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003  (its only argument)
        descriptors: list[int] = []
        try:
            async with asyncio.timeout(_FIRST_LINE_SECONDS):
                line = await _first_line(connection, descriptors)
            await self._answer(connection, line, descriptors)
        except (OSError, TimeoutError) as error:
            log.info("a control connection ended", why=str(error) or "time-out")
        except Exception:
            log.exception("unforeseen error on the control socket")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
            connection.close()

    async def _answer(self, connection: socket.socket, line: bytes, descriptors: list[int]) -> None:
        peer = _peer_user(connection)
        try:
            request = _object(line)
            match request.get("do"):
                case "status":
                    answer = self._status(peer)
                case "inhibit":
                    answer = await self._turn(request, peer)
                case "open":
                    await self._hold_session(connection, request, descriptors, peer)
                    return
                case other:
                    raise ContainerConfigurationError(f"the gate knows no {other!r}")
        except PythonExecutorException as error:
            answer = {"error": error.message, "category": error.category}
        await self._loop.sock_sendall(connection, _line(answer))

    def _status(self, peer: int) -> dict[str, Any]:
        settings = self._settings
        return {
            "inhibit": self._inhibit_status(),
            "limits": self._limits.status().model_dump(mode="json"),
            "writes": settings.control_system.writes_enabled,
            "isolation": settings.kernels.isolation,
            "journal_protected": peer not in {0, os.getuid()},
            "sessions": len(self._sessions),
        }

    def _inhibit_status(self) -> dict[str, Any]:
        state = self._inhibit.state
        return {
            "on": state.on,
            "by": state.by,
            "reason": state.reason,
            "since": state.since,
            "channel": self._settings.gate.inhibit_channel,
            "refusal": self._inhibit.refusal(),
        }

    async def _turn(self, request: dict[str, Any], peer: int) -> dict[str, Any]:
        on, operator, reason = (request.get(key) for key in ("on", "operator", "reason"))
        if not isinstance(on, bool):
            raise ContainerConfigurationError("inhibit: `on` is true or false")
        who = str(operator or f"user {peer}")
        await self._inhibit.turn(on=on, operator=who, reason=str(reason or ""))
        return self._status(peer)

    async def _hold_session(
        self,
        connection: socket.socket,
        request: dict[str, Any],
        descriptors: list[int],
        peer: int,
    ) -> None:
        """Keep a session open as long as its worker holds the connection."""
        opening = _opening(request)
        self._refuse_writes(opening, peer)
        if len(self._sessions) >= self._settings.gate.sessions:
            raise ServiceUnavailableError(
                f"gate.sessions = {self._settings.gate.sessions} are open already", "gate"
            )
        listener = _listener(descriptors)

        def on_refused(refusal: Refusal) -> None:
            message = _line({"refused": refusal.model_dump(mode="json")})
            sending = self._loop.create_task(self._loop.sock_sendall(connection, message))
            sending.add_done_callback(lambda done: done.cancelled() or done.exception())

        session = Session(opening, listener, self._shared, on_refused)
        self._sessions.add(session)
        try:
            await session.open()
            lease = self._settings.gate.lease
            started = _line({"session": session.name, "lease": lease})
            await self._loop.sock_sendall(connection, started)
            try:
                while await self._renewed(connection, lease):
                    pass
            except TimeoutError:
                session.note(f"its worker was silent for {lease:g} s (gate.lease): fenced")
        finally:
            # However this ends, shutdown included, the session is fenced first.
            report = await asyncio.shield(asyncio.ensure_future(session.close()))
            self._sessions.discard(session)
        await self._loop.sock_sendall(connection, _line({"closed": report.model_dump(mode="json")}))

    async def _renewed(self, connection: socket.socket, lease: float) -> bool:
        """Whether the worker goes on; its end, and any word but an empty line, mean that not.

        Raises TimeoutError where it says nothing: a frozen worker must not leave a program writing.
        """
        async with asyncio.timeout(lease):
            said = await self._loop.sock_recv(connection, _RENEWALS)
        return said.strip() == b"" != said

    def _refuse_writes(self, opening: Opening, peer: int) -> None:
        """Raise ContainerConfigurationError where this gate's own settings allow no writing."""
        if opening.mode is not SessionMode.APPLY:
            return
        settings = self._settings
        if not settings.control_system.writes_enabled:
            raise ContainerConfigurationError(
                "control_system.writes_enabled = false in the gate's settings: no session may write"
            )
        if Isolation.NONE in {opening.isolation, settings.kernels.isolation}:
            raise ContainerConfigurationError(
                'kernels.isolation = "none": code without a sandbox never writes'
            )
        protected = peer not in {0, os.getuid()}
        if settings.control_system.type == "epics" and not (protected or settings.gate.shared_user):
            raise ContainerConfigurationError(
                "the journal is not protected from the worker, which runs as the same user or as "
                "root. Run the gate as a user of its own, or allow it: gate.shared_user = true"
            )


def listening_socket(path: Path) -> socket.socket:
    """A unix socket at `path`. Raises ContainerConfigurationError where it can't be had."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        if path.is_socket():
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(path)) == 0:
                    raise ContainerConfigurationError(
                        f"Another gate serves {path} (gate.socket). Stop it first."
                    )
            path.unlink()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        path.chmod(0o660)
    except OSError as error:
        raise ContainerConfigurationError(
            f"{path} (gate.socket) can't be served: {error}. Its folder must be the gate's, and "
            "its path at most 107 bytes long."
        ) from None
    listener.setblocking(False)  # noqa: FBT003  (its only argument)
    listener.listen(_BACKLOG)
    return listener


async def _first_line(connection: socket.socket, descriptors: list[int]) -> bytes:
    """The request, with the descriptors that came along."""
    loop = asyncio.get_running_loop()
    held = b""
    while not held.endswith(b"\n") and len(held) < LINE_BYTES:
        readable = loop.create_future()
        loop.add_reader(connection, _set, readable)
        try:
            await readable
        finally:
            loop.remove_reader(connection)
        data, received, _, _ = socket.recv_fds(connection, 64 * 1024, _DESCRIPTORS)
        descriptors += received
        if len(descriptors) > _DESCRIPTORS:
            raise ConnectionError("it sent more and more descriptors")
        if not data:
            raise ConnectionError("it ended before it asked for anything")
        held += data
    return held


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _opening(request: dict[str, Any]) -> Opening:
    try:
        return Opening.model_validate(request.get("session"))
    except ValidationError as invalid:
        raise ContainerConfigurationError(f"no valid session: {invalid}") from None


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


def _peer_user(connection: socket.socket) -> int:
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    _, user, _ = struct.unpack("3i", credentials)
    return int(user)


def _object(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise ContainerConfigurationError("a request is one JSON object on a line")
    return request


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, allow_nan=False).encode() + b"\n"
