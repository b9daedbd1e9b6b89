"""The exit code is a contract: no crash of Temporal's core may replace it (sdk-python #300)."""

import subprocess
import sys
from typing import Any

import pytest

SCRIPT = """
import asyncio, sys
from runpermit import RunpermitClient

async def main():
    client = await RunpermitClient.connect(sys.argv[1])
    fields = {"user_query": "q", "task_objective": "ask", "execution_folder_name": "exit"}
    await client.start(fields)

asyncio.run(main())
sys.exit(7)
"""


def codes(arguments: list[str], runs: int) -> set[int]:
    return {
        subprocess.run([sys.executable, *arguments], capture_output=True, check=False).returncode
        for _ in range(runs)
    }


@pytest.mark.slow
def test_ten_runs_of_a_command_end_with_the_same_code(server: Any) -> None:
    arguments = ["-m", "runpermit.cli", "show", "ghost", "--address", server.address]
    assert codes(arguments, 10) == {2}


@pytest.mark.soak
def test_three_hundred_runs_of_a_command_end_with_the_same_code(server: Any) -> None:
    arguments = ["-m", "runpermit.cli", "show", "ghost", "--address", server.address]
    assert codes(arguments, 300) == {2}


@pytest.mark.soak
def test_three_hundred_runs_of_a_short_script_end_with_its_own_code(server: Any) -> None:
    assert codes(["-c", SCRIPT, server.address], 300) == {7}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_runs_of_a_short_script_end_with_its_own_code(server: Any) -> None:
    assert codes(["-c", SCRIPT, server.address], 10) == {7}


def test_connecting_registers_the_pause_at_exit(server: Any) -> None:
    program = """
import asyncio, sys, time
import runpermit.connection as connection
from runpermit import RunpermitClient
client = asyncio.run(RunpermitClient.connect(sys.argv[1]))
connection.time.sleep = lambda seconds: print("paused", seconds, flush=True)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, server.address], capture_output=True, text=True, check=False
    )
    assert ran.stdout == "paused 0.15\n"
