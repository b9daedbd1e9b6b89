"""The real `runpermit` in a process of its own, against a dev server."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Each command is a process of its own and takes a second.
pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "runpermit.cli"]
Ran = subprocess.CompletedProcess[str]


@pytest.fixture
def cli(server: Any, tmp_path: Path) -> Callable[..., Ran]:
    """Runs one command against the server, in an empty folder, 80 columns wide."""

    def run(*arguments: str, stdin: str = "", address: str = server.address) -> Ran:
        return subprocess.run(
            [*COMMAND, *arguments, "--address", address],
            capture_output=True, text=True, input=stdin, cwd=tmp_path, timeout=60, check=False,
            env={**os.environ, "COLUMNS": "80"},
        )  # fmt: skip

    return run


@pytest.fixture
def start(cli: Callable[..., Ran]) -> Callable[..., str]:
    """Starts an execution of that task and gives its id."""

    def run(task: str) -> str:
        ran = cli("run", "--query", "q", "--task", task, "--no-wait", "--json")
        name: str = json.loads(ran.stdout)["id"]
        return name

    return run


@pytest.fixture
def asked(cli: Callable[..., Ran], start: Callable[..., str]) -> Callable[..., tuple[str, Any]]:
    """Starts an execution that asks, and gives its id and the question."""

    def run(task: str = "ask") -> tuple[str, Any]:
        name = start(task)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            pending = json.loads(cli("show", name, "--json").stdout)["pending"]
            if pending:
                return name, pending
        raise TimeoutError

    return run


def test_run_prints_progress_to_stderr_and_the_result_to_stdout(cli: Callable[..., Ran]) -> None:
    ran = cli("run", "--query", "q", "--task", "succeed", "--name", "scan")
    assert ran.returncode == 0
    assert '"value": 42' in ran.stdout
    assert "machine   This run wrote nothing to the machine." in ran.stdout
    assert "/executions/x/notebook.ipynb" in ran.stdout
    assert "verified  SR:HCM1 reads 0.2, accepted; SR:HCM1:RB not followed" in ran.stdout
    assert "succeeded" in ran.stderr
    assert "Execution scan-" in ran.stderr


def test_foreign_text_reaches_no_terminal_as_it_came(
    cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]]
) -> None:
    ran = cli("run", "--query", "q", "--task", "succeed")
    assert "\\u001b[31mred\\u202e" in ran.stdout
    assert not {"\x1b", "\u202e"} & set(ran.stdout + ran.stderr)
    name, _ = asked()
    shown = cli("show", name)
    assert "\\x1b[2Jbeam" in shown.stdout
    assert "\x1b" not in shown.stdout


@pytest.mark.parametrize(("task", "code"), [("succeed", 0), ("fail", 1), ("misconfigured", 2)])
def test_json_is_one_document_that_tells_the_outcome(
    cli: Callable[..., Ran], task: str, code: int
) -> None:
    ran = cli("run", "--query", "q", "--task", task, "--json")
    document = json.loads(ran.stdout)
    assert ran.returncode == code
    assert document["id"].startswith("run-")
    if code == 0:
        assert document["result"]["execution_result"]["results"]["value"] == 42
    else:
        assert document["error"]["exit_code"] == code
        assert document["error"]["category"] in {"workflow", "configuration"}


def test_a_request_comes_from_stdin_and_options_override_it(cli: Callable[..., Ran]) -> None:
    request = {"user_query": "q", "task_objective": "fail", "execution_folder_name": "given"}
    ran = cli("run", "--request", "-", "--task", "succeed", "--json", stdin=json.dumps(request))
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["id"].startswith("given-")


def test_code_comes_from_a_file(cli: Callable[..., Ran], server: Any, tmp_path: Path) -> None:
    (tmp_path / "scan.py").write_text("results = {}\n")
    ran = cli("run", "--query", "q", "--task", "succeed", "--code", "scan.py", "--id", "coded")
    assert ran.returncode == 0
    history = server.call(server.client.get_workflow_handle("coded").fetch_history)
    started = history.events[0].workflow_execution_started_event_attributes
    request = json.loads(started.input.payloads[0].data)
    assert request["approved_code"] == "results = {}\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "--query", "q", "--name", "../x"], "execution_folder_name"),
        (["run", "--task", "x"], "user_query"),
        (["run", "--request", "missing.json"], "missing.json"),
        (["run", "--query", "q", "--retries", "many"], "--retries"),
        (["show"], "ID"),
        (["approve", "x", "--sha256", "xyz"], "--sha256"),
        (["show", "ghost"], "ghost"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_is_code_2_and_names_what_is_wrong(
    cli: Callable[..., Ran], arguments: list[str], named: str
) -> None:
    ran = cli(*arguments, "--json")
    error = json.loads(ran.stdout)["error"]
    assert ran.returncode == error["exit_code"] == 2
    assert named in error["message"]


def test_an_unreachable_server_is_code_4(cli: Callable[..., Ran]) -> None:
    ran = cli("pending", address="127.0.0.1:1")
    assert ran.returncode == 4
    assert "127.0.0.1:1" in ran.stderr
    assert "--address" in ran.stderr


def test_the_same_id_starts_nothing_twice(cli: Callable[..., Ran]) -> None:
    arguments = ["run", "--query", "q", "--task", "succeed", "--id", "cli-once"]
    assert cli(*arguments).returncode == 0
    assert cli(*arguments, "--no-wait").returncode == 0
    assert cli(*arguments, "--retries", "5").returncode == 2


def test_no_wait_is_code_5_while_there_is_no_end(
    cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]]
) -> None:
    name, _ = asked()
    for command in ("result", "watch"):
        ran = cli(command, name, "--no-wait")
        assert ran.returncode == 5
        assert "awaiting_approval" in ran.stdout


def test_pending_lists_each_on_a_line_without_a_worker(
    cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]], server: Any
) -> None:
    name, question = asked()
    server.stop_worker()
    ran = cli("pending")
    assert ran.returncode == 0
    assert name in ran.stdout
    assert question["sha256"][:6] in ran.stdout
    assert f"--address {server.address}" in ran.stdout
    [line] = [line for line in ran.stdout.splitlines() if line.startswith(name)]
    assert line.endswith("1 write: SR:HCM1 → 0.2 A")
    rows = json.loads(cli("pending", "--json").stdout)["pending"]
    assert name in [row["id"] for row in rows]


def test_show_prints_the_code_the_writes_and_commands_that_reach_this_server(
    cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]], server: Any
) -> None:
    name, question = asked()
    shown = cli("show", name).stdout
    assert "SR:HCM1  0.1 → 0.2 A" in shown
    assert "write_channel('SR:HCM1', 0.2)" in shown
    assert "! approver not verified" in shown
    revision = question["sha256"][:6]
    address = f"--address {server.address}"
    assert f"runpermit approve {name} --sha256 {revision} {address}" in shown
    assert f"runpermit stop {name} --reason '…' {address}" in shown


def test_approve_with_the_revision_that_waits_asks_nothing_and_counts(
    cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]]
) -> None:
    name, question = asked()
    ran = cli("approve", name, "--sha256", question["sha256"][:6], "--operator", "jd", "--json")
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["receipt"]["accepted"] is True
    assert cli("result", name).returncode == 0


def test_approve_of_another_revision_sends_nothing(
    cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]]
) -> None:
    name, _ = asked()
    ran = cli("approve", name, "--sha256", "000000")
    assert ran.returncode == 1
    assert "nothing was sent" in ran.stderr
    assert cli("result", name, "--no-wait").returncode == 5


def test_approve_without_a_terminal_needs_the_revision_or_yes(
    cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]]
) -> None:
    name, _ = asked()
    ran = cli("approve", name, stdin="y\n")
    assert ran.returncode == 2
    assert "--sha256" in ran.stderr
    assert cli("result", name, "--no-wait").returncode == 5
    approved = cli("approve", name, "--yes")
    assert approved.returncode == 0
    assert "write_channel" in approved.stderr


@pytest.mark.parametrize(("typed", "code", "outcome"), [("y", 0, 0), ("n", 1, 5)])
def test_approve_on_a_terminal_shows_the_question_and_asks_once(
    server: Any,
    cli: Callable[..., Ran],
    asked: Callable[..., tuple[str, Any]],
    typed: str,
    code: int,
    outcome: int,
) -> None:
    name, question = asked()
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "approve", name, "--address", server.address],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        os.write(terminal, f"{typed}\n".encode())
        _, stderr = running.communicate(timeout=30)
    os.close(terminal)
    os.close(theirs)
    assert "write_channel('SR:HCM1', 0.2)" in stderr
    assert f"Approve revision {question['sha256'][:6]}? [y/N]" in stderr
    assert running.returncode == code
    wait = [] if outcome == 0 else ["--no-wait"]
    assert cli("result", name, *wait).returncode == outcome


def test_what_was_shown_is_what_is_approved_even_if_the_worker_shows_another_code(
    cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]]
) -> None:
    name, _ = asked("forge")
    ran = cli("approve", name, "--yes")
    assert "99" in ran.stderr
    assert ran.returncode == 1
    assert "another one" in ran.stderr
    assert cli("result", name, "--no-wait").returncode == 5


def test_an_incomplete_plan_is_shown_without_a_yes_and_not_approved(
    cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]]
) -> None:
    name, question = asked("incomplete")
    shown = cli("show", name).stdout
    assert shown.startswith("Can't be approved:")
    assert "! INCOMPLETE: boom" in shown
    assert "runpermit approve" not in shown
    assert "runpermit revise" in shown
    for options in (["--sha256", question["sha256"][:6]], ["--yes"]):
        ran = cli("approve", name, *options)
        assert ran.returncode == 1
        assert "nothing was sent" in ran.stderr
    assert cli("result", name, "--no-wait").returncode == 5


def test_approve_with_nothing_waiting_is_refused(
    cli: Callable[..., Ran], start: Callable[..., str]
) -> None:
    ran = cli("approve", start("succeed"), "--yes", "--json")
    assert ran.returncode == 1
    assert json.loads(ran.stdout)["error"]["type"] == "DecisionRefusedError"


def test_show_where_a_restore_waits_for_an_inhibit_says_so(
    cli: Callable[..., Ran], start: Callable[..., str]
) -> None:
    name = start("restore waits")
    deadline = time.monotonic() + 20
    while "restoring" not in (ran := cli("show", name)).stdout:
        assert time.monotonic() < deadline
    assert ran.stdout.startswith("RESTORE WAITS while writes are inhibited: SR:HCM1. ")
    assert "On demo `runpermit inhibit status` tells" in ran.stdout
    assert "Nothing waits" not in ran.stderr
    assert cli("stop", name, "--reason", "r").returncode == 0


def test_approve_where_a_restore_waits_says_so(
    cli: Callable[..., Ran], start: Callable[..., str]
) -> None:
    name = start("leave changed")
    deadline = time.monotonic() + 20
    while not (left := json.loads(cli("show", name, "--json").stdout)["restore"]):
        assert time.monotonic() < deadline
    ran = cli("approve", name, "--yes")
    assert ran.returncode == 1
    asked = f"MACHINE LEFT CHANGED, {left['sha256'][:6]}, for restore or leave: nothing was sent."
    assert asked in ran.stderr
    assert cli("leave", name, "--yes").returncode == 0


@pytest.mark.parametrize("verb", ["reject", "stop"])
def test_reject_and_stop_end_it_and_the_result_is_code_3(
    cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]], verb: str
) -> None:
    name, _ = asked()
    assert cli(verb, name, "--reason", "not during injection").returncode == 0
    ended = cli("result", name)
    assert ended.returncode == 3
    assert "not during injection" in ended.stderr


ENDS = [
    ("succeed", 0, '"value": 42'),
    ("fail", 1, "NameError: x"),
    ("misconfigured", 2, "control_system.writes_enabled"),
    ("expire", 3, "Nobody answered in time."),
]


@pytest.mark.parametrize(("task", "code", "told"), ENDS)
def test_each_end_has_its_code_also_for_whoever_comes_later(
    cli: Callable[..., Ran], task: str, code: int, told: str
) -> None:
    assert cli("run", "--query", "q", "--task", task, "--id", f"ended-{task}").returncode == code
    for command in (("result",), ("result", "--no-wait"), ("watch",), ("watch", "--no-wait")):
        ran = cli(*command, f"ended-{task}")
        assert (ran.returncode, told in ran.stdout + ran.stderr) == (code, True), command


@pytest.mark.parametrize(("task", "code", "told"), ENDS)
def test_show_of_an_ended_execution_asks_nothing_and_tells_its_end(
    cli: Callable[..., Ran], task: str, code: int, told: str
) -> None:
    name = f"shown-{task}"
    assert cli("run", "--query", "q", "--task", task, "--id", name).returncode == code
    shown = cli("show", name)
    assert shown.returncode == 0
    assert "Nothing waits for an answer." in shown.stderr
    assert told in shown.stdout + shown.stderr
    assert "runpermit approve" not in shown.stdout
    document = json.loads(cli("show", name, "--json").stdout)
    assert document == {"id": name, "pending": None, "restore": None, "inhibited": None}


def test_revise_asks_again(cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]]) -> None:
    name, first = asked()
    assert cli("revise", name, "--comment", "smaller").returncode == 0
    second = json.loads(cli("show", name, "--json").stdout)["pending"]
    assert second["binds"]["number"] == 2
    assert second["sha256"] != first["sha256"]


def test_run_shows_what_waits_and_goes_on_waiting_for_the_answer(
    cli: Callable[..., Ran], server: Any
) -> None:
    arguments = ["run", "--query", "q", "--task", "ask", "--id", "asks-live"]
    arguments += ["--address", server.address]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        lines = []
        for line in running.stderr:
            lines.append(line)
            if "Waiting for the answer" in line:
                break
        [approve] = [line.split() for line in lines if "runpermit approve" in line]
        assert cli(*approve[1:]).returncode == 0
        stdout, stderr = running.communicate(timeout=30)
    assert running.returncode == 0
    assert '"value": 42' in stdout
    assert "executing" in stderr


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """A shell's background job ignores Ctrl-C, and so would all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_leaves_the_execution_running_and_says_how_to_go_on(
    cli: Callable[..., Ran], asked: Callable[..., tuple[str, Any]], server: Any
) -> None:
    name, _ = asked()
    with subprocess.Popen(
        [*COMMAND, "watch", name, "--address", server.address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        while "Waiting for the answer" not in running.stderr.readline():
            pass
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=20)
    assert running.returncode == 130
    assert f"runpermit watch {name} --address {server.address}" in stderr
    assert cli("result", name, "--no-wait").returncode == 5


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "watch",
        "result",
        "pending",
        "show",
        "approve",
        "reject",
        "revise",
        "stop",
        "restore",
        "leave",
        "audit",
        "doctor",
        "limits",
    ],
)
def test_help_fits_80_columns_and_shows_an_example(command: str) -> None:
    arguments = [command, "check"] if command == "limits" else [command]
    ran = subprocess.run(
        [*COMMAND, *arguments, "--help"],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip
    assert f"  runpermit {' '.join(arguments)}" in ran.stdout
    assert max(len(line) for line in ran.stdout.splitlines()) <= 82
    for option in ("--address", "--namespace", "--config", "--json"):
        assert option in ran.stdout


def test_a_terminal_without_unicode_gets_escapes(
    server: Any, asked: Callable[..., tuple[str, Any]]
) -> None:
    name, _ = asked()
    ran = subprocess.run(
        [*COMMAND, "show", name, "--address", server.address],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert ran.returncode == 0
    assert "SR:HCM1  0.1 \\u2192 0.2 A" in ran.stdout


def test_a_reader_that_has_seen_enough_is_no_crash(server: Any) -> None:
    line = f"{sys.executable} -m runpermit.cli pending --json --address {server.address} | true"
    ran = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)  # noqa: S602
    assert "Traceback" not in ran.stderr


def test_limits_check_explains_a_database(cli: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "limits.json").write_text('{"SR:HCM1": {"min_value": -1, "max_value": 1}}')
    ran = cli("limits", "check", "limits.json")
    assert ran.returncode == 0
    assert "SR:HCM1" in ran.stdout
    assert "-1 to 1" in ran.stdout
    (tmp_path / "limits.json").write_text('{"SR:HCM1": {"min_value": 2, "max_value": 1}}')
    broken = cli("limits", "check", "limits.json", "--json")
    assert broken.returncode == 2
    assert "SR:HCM1" in json.loads(broken.stdout)["error"]["message"]
