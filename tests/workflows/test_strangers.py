"""Strangers choose sizes: nothing that they send may keep a workflow task from ending."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from runpermit.errors import InvalidRequestError
from runpermit.models import accept_request
from runpermit.models.wire import Undecodable
from runpermit.payloads import data_converter

# Temporal gives a task two seconds; this machine is slow and shared.
BOUND = 1.5
GOOD = {"user_query": "q", "task_objective": "t", "execution_folder_name": "x"}
LARGE: dict[str, dict[str, Any]] = {
    "numbers for prompts": {"capability_prompts": [0] * 200_000},
    "unknown fields": {f"{number:x}": 0 for number in range(60_000)},
    "a long key above many values": {"capability_context_data": {"A" * 400_000: [0] * 100_000}},
    "many small lists": {"expected_results": {"a": [[]] * 200_000}},
    "phases that are none": {"structured_plan": {"phases": [0] * 150_000, "result_schema": {}}},
    "a phase of unknown fields": {
        "structured_plan": {"phases": [{f"f{i}": 0 for i in range(50_000)}], "result_schema": {}}
    },
    "an integer of 5,000 digits": {"expected_results": {"n": 10**5000}},
}


@pytest.mark.parametrize("fields", LARGE.values(), ids=LARGE)
def test_a_request_is_refused_long_before_a_task_runs_out_of_time(fields: dict[str, Any]) -> None:
    began = time.thread_time()
    with pytest.raises(InvalidRequestError):
        accept_request(GOOD | fields)
    assert time.thread_time() - began < BOUND


def test_what_is_larger_than_any_request_is_not_read() -> None:
    converter = data_converter.payload_converter
    (payload,) = converter.to_payloads(["x" * 700_000])
    (value,) = converter.from_payloads([payload])
    assert isinstance(value, Undecodable)
    assert "KB" in value.reason
    with pytest.raises(InvalidRequestError, match="not readable"):
        accept_request(value)


async def test_large_rubbish_neither_approves_nor_keeps_a_stop_from_counting(lab: Any) -> None:
    lab.script.programs = [lab.programs.write]
    running = await lab.start()
    await running.pending()
    for _ in range(6):
        await running.signal("approve", {f"f{number}": 0 for number in range(60_000)})
    await running.signal("stop")
    error = await running.failure()
    assert error.stage == "stopped"
    assert await running.failed_tasks() == 0


async def test_an_approval_that_came_before_its_question_is_recorded_and_approves_nothing(
    lab: Any,
) -> None:
    lab.script.programs = [lab.programs.write, lab.programs.write]
    then = datetime(2026, 1, 1, tzinfo=UTC)
    lab.script.rehearsals = [lab.script.planned(0.1, rehearsed_at=then)]
    first = await lab.start()
    pending = await first.pending()
    await first.signal("stop")
    await first.failure()
    # The digits of a question can be worked out before it is asked, but for run and rehearsal.
    twin = await lab.start()
    binds = pending.binds.model_copy(
        update={
            "workflow_id": twin.handle.id,
            "first_run_id": twin.handle.first_execution_run_id,
        }
    )
    await twin.signal(f"approve-{binds.sha256[:6]}")
    asked = await twin.pending()
    assert asked.sha256 == binds.sha256
    (early,) = (await twin.state()).decisions
    assert not early.accepted
    await twin.signal("stop")
    await twin.failure()
