"""MACHINE LEFT CHANGED on the command line."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Each command is a process of its own and takes a second.
pytestmark = pytest.mark.slow

Ran = subprocess.CompletedProcess[str]
Left = tuple[str, dict[str, Any]]


@pytest.fixture
def cli(server: Any, tmp_path: Path) -> Callable[..., Ran]:
    def run(*arguments: str) -> Ran:
        return subprocess.run(
            [sys.executable, "-m", "runpermit.cli", *arguments, "--address", server.address],
            capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "80"},
        )  # fmt: skip

    return run


@pytest.fixture
def left(cli: Callable[..., Ran]) -> Left:
    """The id of an execution that left the machine changed, and its question."""
    ran = cli("run", "--query", "q", "--task", "leave changed", "--no-wait", "--json")
    name = json.loads(ran.stdout)["id"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if restore := json.loads(cli("show", name, "--json").stdout)["restore"]:
            return name, restore
    raise TimeoutError


def test_show_tells_what_was_left_and_the_commands_that_answer(
    cli: Callable[..., Ran], left: Left, server: Any
) -> None:
    name, question = left
    ran = cli("show", name)
    assert ran.returncode == 0
    assert ran.stdout.startswith("MACHINE LEFT CHANGED: 1 channel, SR:HCM1")
    assert "before 0.1, written 0.2, read 0.2 at " in ran.stdout
    assert "\\x1b[2Jkernel died" in ran.stdout
    revision = question["sha256"][:6]
    for verb in ("restore", "leave"):
        line = f"runpermit {verb} {name} --sha256 {revision} --address {server.address}"
        assert line in ran.stdout


def test_pending_lists_it_first_and_marks_it(cli: Callable[..., Ran], left: Left) -> None:
    name, question = left
    rows = json.loads(cli("pending", "--json").stdout)["pending"]
    [mine] = [row for row in rows if row["id"] == name]
    assert mine["stage"] == "awaiting_restore"
    assert mine["revision"] == question["sha256"][:6]
    assert rows[0]["stage"] == "awaiting_restore"
    assert "MACHINE LEFT" in cli("pending").stdout


@pytest.mark.parametrize("verb", ["restore", "leave"])
def test_an_answer_with_the_question_that_was_seen_asks_nothing_and_counts(
    cli: Callable[..., Ran], left: Left, verb: str
) -> None:
    name, question = left
    digits = question["sha256"][:6]
    ran = cli(verb, name, "--sha256", digits, "--operator", "jd", "--comment", "agreed", "--json")
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["receipt"]["verb"] == verb
    ended = cli("result", name)
    assert ended.returncode == 1
    assert f"{verb}: agreed" in ended.stderr
    for line in (
        "verdict   partial",
        "write     SR:HCM1: 0.1 → 0.2, confirmed\\x1b[2J",
        "CHANGED   SR:HCM1: was 0.1",
        "journal   /executions/x/journal.jsonl",
    ):
        assert line in ended.stderr


@pytest.mark.parametrize("verb", ["restore", "leave"])
def test_an_answer_to_another_question_or_unasked_sends_nothing(
    cli: Callable[..., Ran], left: Left, verb: str
) -> None:
    name, _ = left
    other = cli(verb, name, "--sha256", "000000")
    assert other.returncode == 1
    assert "nothing was sent" in other.stderr
    unasked = cli(verb, name)
    assert unasked.returncode == 2
    assert "--sha256" in unasked.stderr
    assert "MACHINE LEFT CHANGED" in unasked.stderr
    assert cli("result", name, "--no-wait").returncode == 5


def test_yes_answers_what_is_shown(cli: Callable[..., Ran], left: Left) -> None:
    name, _ = left
    ran = cli("restore", name, "--yes")
    assert ran.returncode == 0
    assert "before 0.1" in ran.stderr


def test_watch_shows_the_question_whole(cli: Callable[..., Ran], left: Left, server: Any) -> None:
    name, _ = left
    with subprocess.Popen(
        [sys.executable, "-m", "runpermit.cli", "watch", name, "--address", server.address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        lines = []
        for line in running.stderr:
            lines.append(line)
            if "Waiting for the answer" in line:
                break
        assert cli("leave", name, "--yes").returncode == 0
        running.communicate(timeout=30)
    assert "MACHINE LEFT CHANGED: 1 channel" in "".join(lines)
    assert running.returncode == 1


def test_where_nothing_was_left_there_is_nothing_to_answer(cli: Callable[..., Ran]) -> None:
    ran = cli("run", "--query", "q", "--task", "succeed", "--json")
    name = json.loads(ran.stdout)["id"]
    refused = cli("restore", name, "--yes", "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["error"]["type"] == "DecisionRefusedError"
