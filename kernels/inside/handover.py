"""The kernel's end of the socket over which host and kernel hand each other what they need."""

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any, cast

_MESSAGE_BYTES = 64 * 1024


class Handover:
    """Open from the kernel's start until its program begins; in a rehearsal until that ends."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def orders(self) -> dict[str, Any]:
        """How this kernel is to be set up, which the host sends first."""
        return cast("dict[str, Any]", json.loads(self._socket.recv(_MESSAGE_BYTES)))

    def give(self, listener: socket.socket, work: str, runtime: str) -> None:
        """Hand the host the listener and the two folders; `listener` is closed here."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(listener)
            descriptors = [listener.fileno()]
            for folder in (work, runtime):
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                stack.callback(os.close, descriptor)
                descriptors.append(descriptor)
            socket.send_fds(self._socket, [b"given"], descriptors)

    def serving(self) -> None:
        """Tell the host that the kernel's sockets are open."""
        self._socket.send(b"serving")

    def take_inputs(self, work: Path) -> bool:
        """Copy the input files that the host sends into `work`; whether the run rehearses.

        Raises OSError.
        """
        while True:
            message, descriptors, _, _ = socket.recv_fds(
                self._socket, _MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC
            )
            if message in (b"run", b"rehearse"):
                return message == b"rehearse"
            if not descriptors:
                raise ConnectionError("the host went away before all input files had come")
            with open(descriptors[0], "rb") as source:  # noqa: PTH123  (an open file)
                _copy(source.fileno(), work / json.loads(message))

    def tell(self, message: dict[str, Any]) -> None:
        """Tell the host of a rehearsal; once this returns, it is told whatever happens here."""
        with contextlib.suppress(OSError):
            self._socket.send(json.dumps(message).encode())

    def close(self) -> None:
        """Have no more to say and to hear."""
        self._socket.close()


def _copy(source: int, path: Path) -> None:
    status = os.fstat(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        while os.sendfile(target.fileno(), source, None, 1 << 30):
            pass
        # By its time the host knows afterwards whether the program changed it.
        os.utime(target.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
