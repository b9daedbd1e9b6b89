"""The host's end of the socket over which host and kernel hand each other what they need."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_SEND_TIMEOUT = 30.0  # s, for a kernel that takes nothing
_MESSAGE_BYTES = 1024
_TOLD_BYTES = 4096


class Given(NamedTuple):
    """What a kernel hands out: its listener, and its two folders, opened."""

    listener: socket.socket
    work: int
    runtime: int

    def close(self) -> None:
        """Close them; the listener may be closed already."""
        self.listener.close()
        os.close(self.work)
        os.close(self.runtime)


class Handover:
    """A pair of connected sockets; the kernel inherits `theirs`, as a number."""

    def __init__(self) -> None:
        # Packets, which end where they ended when they were sent.
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(0)

    @property
    def theirs(self) -> int:
        """The kernel's end."""
        return self._theirs.fileno()

    def inherited(self) -> None:
        """Close our copy of the kernel's end: where the kernel ends, ours tells."""
        self._theirs.close()

    def close(self) -> None:
        """Close both ends."""
        self._theirs.close()
        self._ours.close()

    def order(self, orders: dict[str, Any]) -> None:
        """Say how the kernel is to be set up."""
        self._ours.send(json.dumps(orders).encode())

    async def given(self) -> Given:
        """Wait for what the kernel hands out. Raises ConnectionError where it ended instead."""
        descriptors = await self._receive(3)
        if len(descriptors) != 3:  # noqa: PLR2004
            raise ConnectionError
        listener, work, runtime = descriptors
        return Given(socket.socket(fileno=listener), work, runtime)

    async def serving(self) -> None:
        """Wait until the kernel's sockets are open. Raises ConnectionError where it ended."""
        await self._receive(0)

    def send_file(self, path: str, descriptor: int) -> None:
        """Send an input file; blocks while the kernel is busy with earlier ones. Raises OSError."""
        self._ours.settimeout(_SEND_TIMEOUT)
        socket.send_fds(self._ours, [json.dumps(path).encode()], [descriptor])

    def send_end(self, *, rehearse: bool) -> None:
        """Say that no more files follow, and whether the run rehearses. Raises OSError."""
        self._ours.settimeout(_SEND_TIMEOUT)
        self._ours.send(b"rehearse" if rehearse else b"run")

    @contextlib.contextmanager
    def listening(self, take: Callable[[bytes], bool]) -> Iterator[None]:
        """Give `take` what a rehearsing kernel tells, up to its last word, until it returns False.

        On leaving, the kernel must have ended: what it told before is taken then.
        """
        loop = asyncio.get_running_loop()
        descriptor = self._ours.fileno()

        def read() -> bool:
            try:
                message = os.read(descriptor, _TOLD_BYTES)
            except OSError:
                message = b""
            if message and take(message):
                return True
            loop.remove_reader(descriptor)
            return False

        loop.add_reader(descriptor, read)
        try:
            yield
        finally:
            while read():
                pass

    async def _receive(self, descriptors: int) -> list[int]:
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(self._ours, _once, readable)
        try:
            await readable
        finally:
            loop.remove_reader(self._ours)
        message, received, _, _ = socket.recv_fds(
            self._ours, _MESSAGE_BYTES, descriptors, socket.MSG_CMSG_CLOEXEC
        )
        if not message:
            for descriptor in received:
                os.close(descriptor)
            raise ConnectionError
        return received


def _once(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
