"""The control socket: whatever is said on it, and whatever comes along, others are served."""

import array
import asyncio
import json
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from runpermit.gate_control import GateRefusedError, ask

pytestmark = pytest.mark.parts
OPENING = {"execution": "e", "run_id": "r", "attempt": 1, "mode": "read_only", "isolation": "full"}
OPEN = json.dumps({"do": "open", "session": OPENING}).encode() + b"\n"


@pytest.fixture
def descriptors() -> Iterator[dict[str, list[int]]]:
    """What may come along that is no listening socket."""
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        idle = stack.enter_context(socket.socket())
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        connected = stack.enter_context(socket.create_connection(listening.getsockname()))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(f"{tempfile.mkdtemp(prefix='gt')}/s")
        unix.listen()
        ends = os.pipe()
        for end in ends:
            stack.callback(os.close, end)
        found = {
            "a file": [file], "a datagram socket": [datagrams],
            "a socket that does not listen": [idle], "a connected socket": [connected],
            "a unix socket": [unix], "two": [listening, listening], "many": [listening] * 200,
        }  # fmt: skip
        numbers = {name: [one.fileno() for one in given] for name, given in found.items()}
        yield numbers | {"a pipe": [ends[0]], "none": []}


def say(gate: Any, line: bytes, along: list[int] | None = None) -> dict[str, Any]:
    """One line there, one back; empty where the connection ends without an answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(8)
        connection.connect(str(gate.control))
        ancillary = (
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", along))] if along else []
        )
        connection.sendmsg([line], ancillary)
        try:
            answer = connection.makefile("rb").readline()
        except ConnectionError:
            answer = b""
    found = json.loads(answer or b"{}")
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", ["a file", "a pipe", "a datagram socket", "a connected socket",
                                  "a socket that does not listen", "a unix socket", "two", "many",
                                  "none"])  # fmt: skip
def test_a_session_needs_one_listening_socket_and_leaves_nothing_behind_without(
    gate: Any, descriptors: dict[str, list[int]], name: str
) -> None:
    say(gate, OPEN, descriptors[name])
    before = gate.running.descriptors()
    for _ in range(20):
        answer = say(gate, OPEN, descriptors[name])
        assert "socket" in answer.get("error", "socket")
        assert "session" not in answer
    deadline = time.monotonic() + 30
    while gate.running.descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gate.running.descriptors() <= before


def garbage() -> dict[str, bytes]:
    random_ = random.Random(3)  # noqa: S311  (repeatable)
    return {
        "noise": random_.randbytes(4000) + b"\n",
        "no JSON": b"hello\n",
        "nested": b"[" * 100_000 + b"\n",
        "a list": b"[1]\n",
        "nothing": b"\n",
        "unknown": b'{"do": "write"}\n',
        "no do": b"{}\n",
        "a do that is no text": b'{"do": {"x": 1}}\n',
        "huge numbers": b'{"do": 1' + b"0" * 5000 + b"}\n",
        "an opening without fields": b'{"do": "open"}\n',
        "an opening of wrong types": b'{"do": "open", "session": {"mode": ["apply"]}}\n',
        "an unknown mode": OPEN.replace(b"read_only", b"root_mode"),
        "a field too many": OPEN.replace(b'"execution"', b'"x": 1, "execution"'),
        "inhibit without a word": b'{"do": "inhibit"}\n',
        "inhibit by a number": b'{"do": "inhibit", "on": 0}\n',
        "not UTF-8": b'{"do": "\xff"}\n',
        "a surrogate": b'{"do": "\\ud800"}\n',
    }


@pytest.mark.parametrize("name", garbage())
def test_what_is_no_request_is_answered_with_an_error(gate: Any, name: str) -> None:
    answer = say(gate, garbage()[name])
    assert answer["category"] == "configuration"
    assert ask(gate.control, {"do": "status"})["inhibit"]["on"] is False
    assert "Traceback" not in gate.log()


def test_a_line_without_end_is_cut_off(gate: Any) -> None:
    before = gate.running.memory()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(8)
        connection.connect(str(gate.control))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b"x" * 200 * 2**20)
    assert gate.running.memory() - before < 40


def test_who_says_nothing_keeps_nobody_waiting(gate: Any) -> None:
    with ExitStack() as stack:
        many = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(60)]
        for silent in many:
            silent.connect(str(gate.control))
            silent.send(b'{"do"')
        ask(gate.control, {"do": "status"})
        many[-1].setblocking(False)  # noqa: FBT003  (its only argument)
        with pytest.raises(BlockingIOError):
            many[-1].recv(1)  # the gate waits for it still


@pytest.mark.slow
def test_running_out_of_descriptors_passes(start_gate: Any) -> None:
    with start_gate() as gate:
        ask(gate.control, {"do": "status"})
        used = gate.running.descriptors()
        resource.prlimit(gate.running.pid, resource.RLIMIT_NOFILE, (used + 10, used + 10))
        with ExitStack() as stack:
            for _ in range(40):
                silent = stack.enter_context(socket.socket(socket.AF_UNIX))
                silent.connect(str(gate.control))
            time.sleep(0.3)
        time.sleep(0.3)
        assert ask(gate.control, {"do": "status"})["sessions"] == 0


async def test_the_status_tells_what_is_in_force(gate: Any, machine: Any) -> None:
    gate.set_limits({"T:AO": {}})
    async with gate.session("read_only"):
        status = ask(gate.control, {"do": "status"})
    assert status["writes"] is True
    assert status["isolation"] == "full"
    assert status["sessions"] == 1
    assert status["limits"]["channels"] == 1
    assert status["journal_protected"] is False  # worker and gate are of one user here
    assert (await gate.client.status()).inhibited is None
    assert machine.port


def test_the_socket_is_for_the_gates_user_and_group(gate: Any) -> None:
    assert gate.control.stat().st_mode & 0o777 == 0o660


def test_a_second_gate_leaves_the_first_alone(gate: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gate", "--config", gate.folder / "runpermit.toml"],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 2
    assert "another gate" in done.stderr.lower()
    assert ask(gate.control, {"do": "status"})["writes"] is True


def test_an_unknown_request_is_refused_by_name(gate: Any) -> None:
    with pytest.raises(GateRefusedError, match="forget"):
        ask(gate.control, {"do": "forget"})


async def test_a_stop_is_carried_out_also_where_nobody_waits_for_the_answer(gate: Any) -> None:
    async with gate.session("read_only", execution="hung up") as kernel:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(gate.control))
            connection.sendall(b'{"do": "stop", "execution": "hung up"}\n')
        await asyncio.wait_for(kernel.session.closed_by_gate, 30)
    await gate.journalled("stopped", execution="hung up")


async def test_a_stop_of_all_is_told_also_where_nothing_ran(gate: Any) -> None:
    assert await gate.client.stop(None, "jd", "smoke") == []
    assert await gate.journalled("stop_all", operator="jd", reason="smoke", stopped=[])
    assert await gate.client.stop("e", "jd" * 100_000, "smoke" * 400_000) == []
    assert len((await gate.journalled("stopped", execution="e"))["reason"]) == 500


async def test_the_records_of_an_execution_are_told_up_to_this_moment(gate: Any) -> None:
    async with gate.session("read_only", execution="told at once") as kernel:
        await kernel.session.close()
        told = await gate.client.records("told at once")
    assert told.records[-1]["event"] == "session_closed"
