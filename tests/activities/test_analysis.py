"""The write that the gate refused in a read-only run, as the analysis takes it."""

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.analysis import Analysis
from runpermit.errors import ChannelLimitsViolationError
from runpermit.models import ExecutionMode, PlanKind, PlannedWrite
from workflows.steps import Analysed, AnalyseTask

READS = 'results = {"i": read_channel("SR:BEAM:CURRENT")}'
LIMITS = {"SR:X": {"min_value": -1, "max_value": 1, "units": "A", "description": "corrector"}}


def refused(value: Any = 0.5, channel: str = "SR:X", *, known: bool = True) -> PlannedWrite:
    return PlannedWrite(channel=channel, value=value, value_known=known, line=None)


async def analyse(desk: Any, tmp_path: Path, write: PlannedWrite, **sections: Any) -> Analysed:
    file = tmp_path / "limits.json"
    file.write_text(json.dumps(LIMITS))
    house = desk.house(**({"limits": {"file": file}} | sections))
    task = AnalyseTask(code=READS, refused=write)
    found: Analysed = await ActivityEnvironment().run(Analysis(house).analyse, task)
    return found


async def test_it_is_the_plan_with_what_the_limits_say_of_its_channel(
    desk: Any, tmp_path: Path
) -> None:
    seen = await analyse(desk, tmp_path, refused())
    assert seen.analysis.has_epics_writes
    assert seen.analysis.execution_mode is ExecutionMode.WRITE_ACCESS
    assert seen.plan.kind is PlanKind.REFUSED_READ_ONLY
    [write] = seen.plan.writes
    assert (write.channel, write.value, write.min_value, write.max_value, write.units) == (
        "SR:X", 0.5, -1, 1, "A",
    )  # fmt: skip
    assert write.description == "corrector"


@pytest.mark.parametrize("write", [refused(2), refused(0, "SR:UNLISTED")])
async def test_one_that_no_approval_could_let_pass_goes_back_to_the_model(
    desk: Any, tmp_path: Path, write: PlannedWrite
) -> None:
    with pytest.raises(ChannelLimitsViolationError):
        await analyse(desk, tmp_path, write)


async def test_one_whose_value_is_not_known_is_asked_about(desk: Any, tmp_path: Path) -> None:
    seen = await analyse(desk, tmp_path, refused(None, known=False))
    assert seen.analysis.has_epics_writes


async def test_where_writes_are_disabled_it_is_told_and_not_judged(
    desk: Any, tmp_path: Path
) -> None:
    seen = await analyse(desk, tmp_path, refused(2), control_system={"writes_enabled": False})
    assert seen.analysis.has_epics_writes
    assert seen.analysis.execution_mode is ExecutionMode.READ_ONLY


async def test_limits_that_cannot_be_read_are_no_fault_of_the_code(
    desk: Any, tmp_path: Path
) -> None:
    seen = await analyse(desk, tmp_path, refused(), limits={"file": tmp_path / "missing.json"})
    assert seen.analysis.has_epics_writes
