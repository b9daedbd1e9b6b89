"""`runpermit audit`, against a control socket that answers as a gate does."""

import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Each command is a process of its own and takes a second.
pytestmark = pytest.mark.slow

Ran = subprocess.CompletedProcess[str]
HOLDS = {"first": 1, "last": 9, "head": "ab" * 32, "broken": "", "torn": ""}
WRITE = {
    "seq": 4, "at": "2026-01-01T03:12:05.123456+00:00", "event": "write", "execution": "wf",
    "channel": "SR:X", "old": 0.1, "new": 0.3, "prev": "0",
}  # fmt: skip


@pytest.fixture
def audit() -> Iterator[Callable[..., Ran]]:
    """Runs `runpermit audit wf` where the gate gives that answer."""
    # pytest's own folders have paths too long for a socket.
    with tempfile.TemporaryDirectory(prefix="rp") as folder:

        def run(answer: dict[str, Any] | None, *options: str) -> Ran:
            path = Path(folder) / "gate.sock"
            listener = socket.socket(socket.AF_UNIX)
            if answer is not None:
                listener.bind(str(path))
                listener.listen(1)

            def serve() -> None:
                connection, _ = listener.accept()
                with connection:
                    asked = json.loads(connection.makefile("rb").readline())
                    assert asked == {"do": "records", "execution": "wf"}
                    connection.sendall(json.dumps(answer).encode() + b"\n")

            serving = threading.Thread(target=serve, daemon=True)
            if answer is not None:
                serving.start()
            ran = subprocess.run(
                [sys.executable, "-m", "runpermit.cli", "audit", "wf", "--socket", str(path),
                 *options],
                capture_output=True, text=True, cwd=folder, timeout=60, check=False,
            )  # fmt: skip
            listener.close()
            return ran

        yield run


def journal(**fields: Any) -> dict[str, Any]:
    return {"journal": {"records": [WRITE], "left_out": 0, "chain": HOLDS} | fields}


def test_the_story_is_told_and_the_chain_holds(audit: Callable[..., Ran]) -> None:
    ran = audit(journal(left_out=3))
    assert ran.returncode == 0
    assert "write SR:X: 0.1 → 0.3, NOT CONFIRMED" in ran.stdout
    assert "3 records are left out here" in ran.stdout
    assert "Records 1 to 9 of the journal hold." in ran.stdout
    assert "ab" * 32 in ran.stdout


def test_a_broken_chain_is_code_1_and_names_the_place(audit: Callable[..., Ran]) -> None:
    ran = audit(journal(chain=HOLDS | {"broken": "2026-01.jsonl, line 5: changed"}))
    assert ran.returncode == 1
    assert "JOURNAL BROKEN: 2026-01.jsonl, line 5: changed" in ran.stdout
    assert "write SR:X" in ran.stdout
    assert "of the journal hold" not in ran.stdout


def test_json_is_the_answer_whole(audit: Callable[..., Ran]) -> None:
    told = json.loads(audit(journal(), "--json").stdout)
    assert told == {"id": "wf", "records": [WRITE], "left_out": 0, "chain": HOLDS}


def test_an_execution_that_the_journal_does_not_know(audit: Callable[..., Ran]) -> None:
    ran = audit(journal(records=[]))
    assert ran.returncode == 0
    assert "tells nothing of wf" in ran.stdout


@pytest.mark.parametrize("answer", [{}, {"journal": {"x": 1}}, journal(chain=None)])
def test_an_answer_without_a_chain_proves_nothing(
    audit: Callable[..., Ran], answer: dict[str, Any]
) -> None:
    ran = audit(answer)
    assert ran.returncode == 4
    assert "Update" in ran.stderr


def test_without_a_gate_it_is_unreachable(audit: Callable[..., Ran]) -> None:
    assert audit(None).returncode == 4
