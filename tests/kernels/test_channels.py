from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kernels.interface import RunOutcome
from kernels.local import LocalKernels
from runpermit.errors import CodeRuntimeError
from runpermit.models import ExecutionMode

RunProgram = Callable[..., Awaitable[RunOutcome]]
WRITE_ACCESS = ExecutionMode.WRITE_ACCESS


@pytest.fixture
def kernels(ring_server: str) -> LocalKernels:
    return LocalKernels(name_servers=[ring_server])


async def test_channels_are_read_without_import(
    run_program: RunProgram, kernels: LocalKernels
) -> None:
    outcome = await run_program(
        "results = {'current': read_channel('SR:BEAM:CURRENT'),"
        " 'orbit': len(read_channel('SR:ORBIT:WAVEFORM'))}",
        kernels=kernels,
    )
    assert outcome.error is None, outcome.error
    assert outcome.results is not None
    assert outcome.results["current"] > 0
    assert outcome.results["orbit"] > 1
    assert outcome.stdout == ""


async def test_channels_are_written_and_read_back(
    run_program: RunProgram, kernels: LocalKernels
) -> None:
    outcome = await run_program(
        "write_channel('SR:HCM1:SP', 0.25)\nwrite_channels({'SR:HCM2:SP': 0.5, 'SR:HCM3:SP': 1})\n"
        "results = {n: read_channel(f'SR:HCM{n}:SP') for n in (1, 2, 3)}",
        kernels=kernels,
        mode=WRITE_ACCESS,
    )
    assert outcome.error is None, outcome.error
    assert outcome.results == {"1": 0.25, "2": 0.5, "3": 1.0}


@pytest.mark.parametrize(
    "code", ["write_channel('SR:HCM4:SP', 0.7)", "write_channels({'SR:HCM4:SP': 0.7})"]
)
async def test_a_read_only_run_refuses_writes_and_names_channel_and_mode(
    run_program: RunProgram, kernels: LocalKernels, code: str
) -> None:
    before = await run_program("results = {'v': read_channel('SR:HCM4:SP')}", kernels=kernels)
    outcome = await run_program(code, kernels=kernels)
    assert isinstance(outcome.error, CodeRuntimeError)
    assert outcome.error.message.startswith("ChannelLimitsViolationError: SR:HCM4:SP: ")
    assert "read_only" in outcome.error.message
    assert code in outcome.error.traceback_info
    assert "channels.py" not in outcome.error.traceback_info
    after = await run_program("results = {'v': read_channel('SR:HCM4:SP')}", kernels=kernels)
    assert after.results == before.results


async def test_the_refusal_can_be_caught_with_its_fields(run_program: RunProgram) -> None:
    outcome = await run_program(
        "try:\n    write_channel('A', 2)\nexcept Exception as e:\n"
        "    results = {k: getattr(e, k) for k in"
        " ('channel_address', 'attempted_value', 'violation_type', 'max_value')}"
    )
    assert outcome.results == {
        "channel_address": "A",
        "attempted_value": 2,
        "violation_type": "NOT_ALLOWED",
        "max_value": None,
    }


@pytest.mark.slow
@pytest.mark.parametrize("code", ["read_channel('SR:NO:SUCH')", "write_channel('SR:NO:SUCH', 1)"])
async def test_a_channel_that_does_not_answer_is_named(
    run_program: RunProgram, kernels: LocalKernels, code: str
) -> None:
    outcome = await run_program(code, kernels=kernels, mode=WRITE_ACCESS)
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "SR:NO:SUCH: not connected within 3 s" in outcome.error.message


async def test_a_write_that_the_record_cannot_take_is_an_error(
    run_program: RunProgram, kernels: LocalKernels
) -> None:
    outcome = await run_program(
        "write_channel('SR:HCM1:SP', 'much')", kernels=kernels, mode=WRITE_ACCESS
    )
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "SR:HCM1:SP: writing 'much' failed" in outcome.error.message


@pytest.mark.slow
async def test_without_name_servers_no_channel_is_reached(
    run_program: RunProgram, ring_server: str, work: Path
) -> None:
    assert ring_server
    outcome = await run_program("read_channel('SR:BEAM:CURRENT')", kernels=LocalKernels())
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "not connected" in outcome.error.message
    assert list(work.glob("*")) == []  # noqa: ASYNC240
