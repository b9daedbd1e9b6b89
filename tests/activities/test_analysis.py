"""The analysis as a step: the worker's limits and settings as they are now."""

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.analysis import Analysis
from runpermit.errors import ChannelLimitsViolationError, CodeSyntaxError
from runpermit.models import AnalysisResult, ExecutionMode
from workflows.steps import AnalyseTask

READS = 'results = {"i": read_channel("SR:BEAM:CURRENT")}'
WRITES = 'write_channel("SR:X", 0.5)\nresults = {}'


async def analyse(desk: Any, file: Path, code: str, **sections: Any) -> AnalysisResult:
    house = desk.house(**({"limits": {"file": file}} | sections))
    found: AnalysisResult = await ActivityEnvironment().run(
        Analysis(house).analyse, AnalyseTask(code=code)
    )
    return found


@pytest.fixture
def limits(tmp_path: Path) -> Path:
    file = tmp_path / "limits.json"
    file.write_text(json.dumps({"SR:X": {"min_value": -1, "max_value": 1}}))
    return file


async def test_it_tells_reads_from_writes(desk: Any, limits: Path) -> None:
    reads = await analyse(desk, limits, READS)
    writes = await analyse(desk, limits, WRITES)

    assert not reads.has_epics_writes
    assert reads.execution_mode is ExecutionMode.READ_ONLY
    assert writes.has_epics_writes
    assert writes.execution_mode is ExecutionMode.WRITE_ACCESS


async def test_constants_that_the_limits_forbid_go_back_to_the_model(
    desk: Any, limits: Path
) -> None:
    with pytest.raises(ChannelLimitsViolationError, match="SR:X"):
        await analyse(desk, limits, 'write_channel("SR:X", 2)\nresults = {}')


async def test_what_is_no_python_goes_back_to_the_model(desk: Any, limits: Path) -> None:
    with pytest.raises(CodeSyntaxError):
        await analyse(desk, limits, "results = {")


async def test_where_writes_are_disabled_they_are_told_and_not_judged(
    desk: Any, limits: Path
) -> None:
    off = {"control_system": {"writes_enabled": False}}
    seen = await analyse(desk, limits, 'write_channel("SR:X", 2)\nresults = {}', **off)

    assert seen.has_epics_writes
    assert seen.execution_mode is ExecutionMode.READ_ONLY


async def test_limits_that_can_t_be_read_are_no_fault_of_the_code(desk: Any, limits: Path) -> None:
    seen = await analyse(desk, limits.parent / "missing.json", WRITES)

    assert seen.has_epics_writes
