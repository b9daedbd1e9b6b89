"""What is said on the control socket, line by line."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

from gate.messages import LINE_BYTES
from runpermit.errors import ContainerConfigurationError

_DESCRIPTORS = 4
_ALIVE_SECONDS = 1.0
_WORD_BYTES = 4096
_LAST_SECONDS = 5.0


async def first_line(connection: socket.socket, descriptors: list[int]) -> bytes:
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


def request_in(said: bytes) -> dict[str, Any]:
    """The request that a line is. Raises ContainerConfigurationError."""
    try:
        request = json.loads(said)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise ContainerConfigurationError("a request is one JSON object on a line")
    return request


def line(message: dict[str, Any]) -> bytes:
    """`message` as one line of JSON."""
    return json.dumps(message, allow_nan=False).encode() + b"\n"


async def last_word(connection: socket.socket, lease: float) -> dict[str, Any]:
    """What ends a session: the worker's first line that is not empty; nothing where it is gone.

    Raises TimeoutError where it says nothing at all for `lease` seconds.
    """
    loop = asyncio.get_running_loop()
    held = b""
    while len(held) < _WORD_BYTES:
        async with asyncio.timeout(lease):
            said = await loop.sock_recv(connection, _WORD_BYTES)
        *words, held = (held + said).split(b"\n")
        if word := next(filter(None, map(bytes.strip, words)), b""):
            with contextlib.suppress(ContainerConfigurationError):
                return request_in(word)
            return {}
        if not said:
            return {}
    return {}


async def hung_up(connection: socket.socket) -> None:
    """Say no more, and wait until the other end has closed it, for a while.

    Closed with words of the other end unread, what it was told last would be lost with them.
    """
    with contextlib.suppress(OSError, TimeoutError):
        connection.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_LAST_SECONDS):
            while await asyncio.get_running_loop().sock_recv(connection, _WORD_BYTES):
                pass


@contextlib.asynccontextmanager
async def patience(connection: socket.socket) -> AsyncIterator[None]:
    """Say with an empty line each second that the gate is at work.

    Who hangs up meanwhile wants nothing of it any more: this task is cancelled.
    """
    task = asyncio.current_task()
    talking = {
        asyncio.create_task(_say_alive(connection)),
        asyncio.create_task(_cancel_with(connection, task)),
    }
    try:
        yield
    finally:
        for one in talking:
            one.cancel()
        await asyncio.wait(talking)


async def _say_alive(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            await asyncio.sleep(_ALIVE_SECONDS)
            await asyncio.get_running_loop().sock_sendall(connection, b"\n")


async def _cancel_with(connection: socket.socket, task: "asyncio.Task[Any] | None") -> None:
    loop, said = asyncio.get_running_loop(), b"\n"
    with contextlib.suppress(OSError):
        while said.strip() == b"" != said:
            said = await loop.sock_recv(connection, _WORD_BYTES)
    if task is not None:
        task.cancel()


def peer_user(connection: socket.socket) -> int:
    """The user id of whoever is at the other end."""
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    _, user, _ = struct.unpack("3i", credentials)
    return int(user)
