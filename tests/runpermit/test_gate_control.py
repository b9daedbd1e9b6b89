"""`gate_control.ask`, against sockets that behave as gates do, and as they should not."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runpermit.gate_control import ANSWER_BYTES, GateRefusedError, GateUnreachableError, ask

Behave = Callable[[socket.socket], None]
Serve = Callable[[Behave], Path]


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path short enough for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="rp") as folder:
        yield Path(folder)


@pytest.fixture
def gate_socket(short: Path) -> Iterator[Serve]:
    """Serves one connection as told; the path of its socket."""
    listener = socket.socket(socket.AF_UNIX)
    threads: list[threading.Thread] = []

    def start(behave: Behave) -> Path:
        listener.bind(str(short / "gate.sock"))
        listener.listen(1)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                behave(connection)

        threads.append(threading.Thread(target=serve))
        threads[0].start()
        return short / "gate.sock"

    yield start
    for thread in threads:
        thread.join(20)
    listener.close()


def answering(*pieces: bytes) -> Behave:
    def behave(connection: socket.socket) -> None:
        connection.makefile("rb").readline()
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:  # it has heard enough
                return
            time.sleep(0.01)

    return behave


def test_a_line_goes_there_and_the_object_comes_back(gate_socket: Serve) -> None:
    heard: list[Any] = []

    def behave(connection: socket.socket) -> None:
        heard.append(json.loads(connection.makefile("rb").readline()))
        connection.sendall(b'{"inhibit": {"on"')
        time.sleep(0.05)
        connection.sendall(b": true}}\n")

    request = {"do": "inhibit", "on": True, "reason": "line\nend"}
    assert ask(gate_socket(behave), request) == {"inhibit": {"on": True}}
    assert heard == [request]


def test_empty_lines_say_that_the_gate_is_at_work(gate_socket: Serve) -> None:
    path = gate_socket(answering(b"\n", b"\n\n", b'\n{"done"', b": 1}\n"))
    assert ask(path, {"do": "records"}) == {"done": 1}


def test_what_the_gate_refuses_is_told_with_its_words(gate_socket: Serve) -> None:
    path = gate_socket(answering(b'{"error": "no", "category": "configuration"}\n'))
    with pytest.raises(GateRefusedError, match=r"^no$") as refused:
        ask(path, {"do": "status"})
    assert refused.value.category == "configuration"


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([b"[]\n"], "no gate"),
        ([b"\xff\n"], "no gate"),
        ([b'{"a": NaN}\n'], "no gate"),
        ([b"[" * 100_000 + b"\n"], "no gate"),
        ([b'{"half": '], "closed the connection"),
        ([], "closed the connection"),
        ([b"x" * (ANSWER_BYTES + 1)], "no gate"),
    ],
)
def test_what_is_no_gate_is_told_as_such(
    gate_socket: Serve, pieces: list[bytes], says: str
) -> None:
    with pytest.raises(GateUnreachableError, match=says):
        ask(gate_socket(answering(*pieces)), {"do": "status"})


def test_a_gate_that_says_it_bit_by_bit_gets_no_more_than_the_whole_time(
    gate_socket: Serve,
) -> None:
    path = gate_socket(answering(*[b" "] * 100))
    start = time.monotonic()
    with pytest.raises(GateUnreachableError, match=r"in time.*end it"):
        ask(path, {"do": "status"}, timeout=0.3)
    assert 0.25 < time.monotonic() - start < 0.8


def test_no_gate_there_comes_with_the_command_that_starts_it(short: Path) -> None:
    with pytest.raises(GateUnreachableError, match=r"gate\.sock.*RUNPERMIT_CONFIG.*python -m gate"):
        ask(short / "gate.sock", {"do": "status"})
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(short / "gate.sock"))
    with pytest.raises(GateUnreachableError, match="python -m gate"):
        ask(short / "gate.sock", {"do": "status"})


def test_a_path_that_no_socket_can_have_is_named(short: Path) -> None:
    with pytest.raises(GateUnreachableError, match=r"x{100}.* can't be asked"):
        ask(short / ("x" * 200), {"do": "status"})


def test_a_user_who_may_not_is_told_so(gate_socket: Serve) -> None:
    path = gate_socket(answering(b"{}\n"))
    path.chmod(0)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(GateUnreachableError, match="This user may not"):
            ask(path, {"do": "status"})
    finally:
        os.seteuid(was)
    path.chmod(0o600)
    assert ask(path, {"do": "status"}) == {}


def test_it_needs_the_standard_library_alone() -> None:
    code = (
        "import sys, types; package = types.ModuleType('runpermit');"
        f"package.__path__ = [{str(Path(__file__).parents[2] / 'client' / 'runpermit')!r}];"
        "sys.modules['runpermit'] = package; import runpermit.gate_control; print('fine')"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.stdout == "fine\n", ran.stderr
