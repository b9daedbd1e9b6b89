"""Without a session of the gate, nothing answers."""

from collections.abc import Awaitable, Callable

import pytest

from kernels.interface import RunOutcome
from runpermit.errors import CodeRuntimeError

RunProgram = Callable[..., Awaitable[RunOutcome]]


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["full", "none"])
@pytest.mark.parametrize("code", ["read_channel('SR:NO:SUCH')", "write_channel('SR:NO:SUCH', 1)"])
async def test_a_channel_that_does_not_answer_is_named(run_program: RunProgram, code: str) -> None:
    outcome = await run_program(code)
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "SR:NO:SUCH: not connected within 3 s" in outcome.error.message
    assert code in outcome.error.traceback_info
    assert "channels.py" not in outcome.error.traceback_info
