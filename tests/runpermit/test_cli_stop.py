"""`runpermit stop` goes two ways, and says which of them worked."""

import json
import re
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

# Each command is a process of its own and takes a second.
pytestmark = pytest.mark.slow

Ran = subprocess.CompletedProcess[str]
Cli = Callable[..., Ran]


class Gate:
    """A control socket that remembers what it was asked, and answers as told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answer: dict[str, Any] = {"stopped": ["apply-1"]}
        self.asked: list[dict[str, Any]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(json.loads(connection.makefile("rb").readline()))
                connection.sendall(json.dumps(self.answer).encode() + b"\n")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def folder() -> Iterator[Path]:
    # pytest's own folders have paths too long for a socket.
    with tempfile.TemporaryDirectory(prefix="rp") as name:
        yield Path(name)


@pytest.fixture
def gate(folder: Path) -> Iterator[Gate]:
    gate = Gate(folder / "gate.sock")
    yield gate
    gate.close()


@pytest.fixture
def cli(server: Any, folder: Path) -> Cli:
    """Runs one command where the settings name the gate's socket in `folder`."""
    (folder / "runpermit.toml").write_text('[gate]\nsocket = "gate.sock"\n')

    def run(*arguments: str, address: str = server.address) -> Ran:
        return subprocess.run(
            [sys.executable, "-m", "runpermit.cli", *arguments, "--address", address],
            capture_output=True, text=True, cwd=folder, timeout=60, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def asking(cli: Cli) -> str:
    """The id of an execution that waits."""
    ran = cli("run", "--query", "q", "--task", "ask", "--no-wait", "--json")
    name: str = json.loads(ran.stdout)["id"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if json.loads(cli("show", name, "--json").stdout)["pending"]:
            return name
    raise TimeoutError


def test_both_ways_are_gone_and_told(cli: Cli, gate: Gate, asking: str) -> None:
    ran = cli("stop", asking, "--reason", "beam lost", "--operator", "jd")
    assert ran.returncode == 0
    assert "gate: nothing more is written by apply-1" in ran.stdout
    assert f"Temporal: stop sent to {asking}" in ran.stdout
    asked, again = (one for one in gate.asked if one["do"] == "stop")
    assert asked == {
        "do": "stop", "execution": asking, "operator": "jd", "reason": "beam lost",
    }  # fmt: skip
    # At once without it, then with what tells this execution from a later one of its id.
    assert re.fullmatch(r"[0-9a-f-]{36}", again.pop("first_run_id"))
    assert again == asked
    assert cli("result", asking).returncode == 3


def test_without_a_gate_the_execution_is_stopped_all_the_same(cli: Cli, asking: str) -> None:
    ran = cli("stop", asking, "--reason", "r")
    assert ran.returncode == 0
    assert "gate: NOT TOLD. The stop went through Temporal alone. No gate answers at" in ran.stderr
    assert "Temporal: stop sent" in ran.stdout
    assert cli("result", asking).returncode == 3


def test_without_temporal_the_gate_stops_and_the_code_says_that_the_execution_does_not_know(
    cli: Cli, gate: Gate
) -> None:
    ran = cli("stop", "scan-42", "--reason", "r", address="127.0.0.1:1")
    assert ran.returncode == 4
    assert "gate: nothing more is written by apply-1" in ran.stdout
    assert "127.0.0.1:1" in ran.stderr
    assert gate.asked[0]["execution"] == "scan-42"


def test_json_tells_both_ways(cli: Cli, gate: Gate, asking: str) -> None:
    gate.answer = {"error": "it can't", "category": "infrastructure"}
    told = json.loads(cli("stop", asking, "--reason", "r", "--json").stdout)
    assert told == {
        "id": asking,
        "gate": {"stopped": [], "missed": {}, "error": "The gate refused: it can't"},
        "temporal": {"sent": [asking], "missed": {}, "error": None},
    }
    again = cli("stop", "ghost", "--reason", "r", "--json")
    assert again.returncode == 2
    assert "ghost" in json.loads(again.stdout)["error"]["message"]


def test_an_answer_of_another_version_is_no_stop(cli: Cli, gate: Gate, asking: str) -> None:
    gate.answer = {"done": True}
    ran = cli("stop", asking, "--reason", "r")
    assert "another version" in ran.stderr
    assert "nothing more is written" not in ran.stdout


def test_all_stops_every_session_and_every_execution(cli: Cli, gate: Gate, asking: str) -> None:
    gate.answer = {"stopped": []}
    ran = cli("stop", "--all", "--reason", "vacuum")
    assert ran.returncode == 0
    assert gate.asked[-1]["execution"] is None
    assert asking in ran.stdout
    assert cli("result", asking).returncode == 3


@pytest.mark.parametrize("arguments", [[], ["scan-42", "--all"]])
def test_one_execution_is_named_or_all(cli: Cli, gate: Gate, arguments: list[str]) -> None:
    ran = cli("stop", *arguments, "--reason", "r")
    assert ran.returncode == 2
    assert "--all" in ran.stderr
    assert gate.asked == []
