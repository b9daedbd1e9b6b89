"""The supervised gate of the stack: started again, and loud where it can't be started."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.stack import Stack, demo_settings, running_gate, toml
from runpermit.gate_control import ask

pytestmark = pytest.mark.parts


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A stack of which the gate alone is started."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        config = directory / "runpermit.toml"
        stack = Stack(
            directory=directory,
            address="",
            web_ui="",
            ring_port=1,
            gate_socket=directory / "gate.sock",
            gate_journal=directory / "journal",
            config=config,
            environment={"RUNPERMIT_CONFIG": str(config)},
        )
        config.write_text(toml(demo_settings(stack, {})))
        yield stack


def answers(stack: Stack) -> bool:
    try:
        status: dict[str, Any] = ask(stack.gate_socket, {"do": "status"})
    except OSError:
        return False
    return status["writes"] is True


async def test_a_gate_that_is_killed_is_started_again_and_ends_with_the_stack(
    stack: Stack,
) -> None:
    async with running_gate(stack) as gate:
        first = gate.pid
        assert answers(stack)
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(20):
            while gate.pid == first or not answers(stack):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        last = gate.pid
    assert not answers(stack)
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


def test_rehearsals_go_to_the_rings_twin_where_there_is_one(stack: Stack) -> None:
    assert "rehearsal" not in demo_settings(stack, {})
    url = "http://127.0.0.1:9/v1"
    assert demo_settings(stack, {}, url)["generation"]["base_url"] == url
    stack.virtual_port = 12345
    assert demo_settings(stack, {})["rehearsal"] == {"upstream": "127.0.0.1:12345"}


async def test_a_gate_that_cannot_be_started_says_why(stack: Stack) -> None:
    stack.config.write_text("[gate]\nsocket = 5\n")
    with pytest.raises(RuntimeError, match=r"gate\.socket"):
        async with running_gate(stack):
            pytest.fail("it runs")
