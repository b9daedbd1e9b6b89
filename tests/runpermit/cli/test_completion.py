"""Completion in a real bash: commands, and the ids of what waits."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runpermit.models import PythonExecutionRequest
from runpermit.names import TASK_QUEUE, WORKFLOW

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing"),
]

README = Path(__file__).parents[3] / "README.md"
# What readline does on TAB, with the script that the command prints.
TAB = """
eval "$(runpermit --show-completion bash)"
COMP_WORDS=({words} ""); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
COMP_WORDS[COMP_CWORD]={last}
_runpermit_completion runpermit
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    command = tmp_path / "runpermit"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m runpermit.cli "$@"\n')
    command.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def tab(path: str, words: str, last: str, **environment: str) -> tuple[list[str], str]:
    ran = subprocess.run(
        ["bash", "--norc", "-c", TAB.format(words=words, last=last)],
        capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PATH": path, **environment},
    )  # fmt: skip
    return ran.stdout.split(), ran.stderr


@pytest.mark.parametrize(
    ("shell", "registered"),
    [("zsh", "compdef _runpermit_completion runpermit"), ("fish", "complete --command runpermit")],
)
def test_the_variable_that_the_readme_names_prints_the_script_of_a_shell(
    path: str, shell: str, registered: str
) -> None:
    variable = "_RUNPERMIT_COMPLETE"
    assert f"{variable}=source_{shell} runpermit" in README.read_text()
    ran = subprocess.run(
        ["runpermit"], capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PATH": path, variable: f"source_{shell}"},
    )  # fmt: skip
    assert registered in ran.stdout


def wait_for(server: Any, *names: str) -> None:
    """Start executions that wait, in no worker's hands."""

    async def start(name: str) -> None:
        await server.client.start_workflow(
            WORKFLOW,
            PythonExecutionRequest(user_query="q", task_objective="ask", execution_folder_name="x"),
            id=name,
            task_queue=f"{TASK_QUEUE}-nobody",
            memo={"stage": "awaiting_approval", "sha256": "0" * 64},
        )

    for name in names:
        server.call(start, name)


def test_commands_complete(path: str) -> None:
    found, errors = tab(path, "runpermit", "re")
    assert set(found) == {"reject", "revise", "restore", "result"}
    assert errors == ""


def test_ids_of_what_waits_complete_and_none_that_a_shell_would_take_for_more(
    path: str, server: Any
) -> None:
    wait_for(server, "tab-1", "tab-2", "tab-$(touch evil)", "tab-*", "other")
    deadline = time.monotonic() + 30
    while True:  # visibility comes a moment later
        found, errors = tab(path, "runpermit approve", "tab-", TEMPORAL_ADDRESS=server.address)
        if set(found) == {"tab-1", "tab-2"} or time.monotonic() > deadline:
            break
    assert set(found) == {"tab-1", "tab-2"}
    assert errors == ""
    named, _ = tab(path, f"runpermit show --address {server.address}", "tab-1")
    assert named == ["tab-1"]


def test_without_a_server_nothing_completes_and_nothing_is_said(path: str) -> None:
    assert tab(path, "runpermit show", "tab", TEMPORAL_ADDRESS="127.0.0.1:1") == ([], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(path: str, shell: str) -> None:
    # Typer goes by the shell that calls it; so it takes the name of one.
    named = {"PATH": path, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    ran = subprocess.run(
        ["runpermit", "--show-completion", shell],
        capture_output=True, text=True, check=True, env={**os.environ, **named},
    )  # fmt: skip
    assert f"_RUNPERMIT_COMPLETE=complete_{shell}" in ran.stdout
