"""The gate's control socket: workers open sessions, operators inhibit and stop, everyone asks."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from gate.control.talking import first_line, line, patience, peer_user, request_in
from gate.control.verbs import AT_ONCE, Verbs
from gate.control.wire_errors import told
from gate.messages import Opening, Verdict
from gate.sessions.sessions import Sessions
from runpermit.errors import ContainerConfigurationError, PythonExecutorException

_FIRST_LINE_SECONDS = 5.0
_BACKLOG = 64
_ACCEPT_AGAIN_SECONDS = 0.1

log = structlog.get_logger()


class Control:
    """Serves the control socket at `path`."""

    def __init__(self, path: Path, sessions: Sessions, verbs: Verbs) -> None:
        self._path = path
        self._sessions = sessions
        self._verbs = verbs
        self._loop = asyncio.get_running_loop()
        self._conversations: set[asyncio.Task[None]] = set()
        self._socket = listening_socket(path)
        self._serving = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """Take no more, and fence all sessions."""
        self._serving.cancel()
        await asyncio.wait({self._serving})
        self._socket.close()
        self._path.unlink(missing_ok=True)
        self._sessions.fence(None, "the gate was ended")
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
                said = await first_line(connection, descriptors)
            await self._answer(connection, said, descriptors)
        except (OSError, TimeoutError) as error:
            log.info("a control connection ended", why=str(error) or "time-out")
        except Exception:
            log.exception("unforeseen error on the control socket")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
            connection.close()

    async def _answer(self, connection: socket.socket, said: bytes, descriptors: list[int]) -> None:
        peer = peer_user(connection)
        try:
            request = request_in(said)
            verb = request.get("do")
            if verb == "open":
                await self._open(connection, request, descriptors, peer)
                return
            work = self._verbs.known.get(str(verb))
            if work is None:
                raise ContainerConfigurationError(f"the gate knows no {verb!r}")
            # What must happen does, whether anybody waits for the answer or not.
            waiting = contextlib.nullcontext() if verb in AT_ONCE else patience(connection)
            async with waiting:
                answer = await work(request, peer)
        except PythonExecutorException as error:
            answer = told(error)
        await self._loop.sock_sendall(connection, line(answer))

    async def _open(
        self,
        connection: socket.socket,
        request: dict[str, Any],
        descriptors: list[int],
        peer: int,
    ) -> None:
        """Keep a session; a refused one has done nothing, and its error says so."""
        try:
            await self._sessions.hold(connection, _opening(request), descriptors, peer)
        except PythonExecutorException as error:
            error.technical_details["verdict"] = Verdict.NOT_OPENED
            raise


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


def _opening(request: dict[str, Any]) -> Opening:
    try:
        return Opening.model_validate(request.get("session"))
    except ValidationError as invalid:
        raise ContainerConfigurationError(f"no valid session: {invalid}") from None
