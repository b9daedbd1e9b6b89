"""Executions that wait for weeks survive a new version of the workflow: old histories replay."""

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from runpermit.payloads import data_converter
from workflows.python_execution import PythonExecution

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def test_histories_are_recorded() -> None:
    assert len(HISTORIES) >= 18


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path, without_the_test_servers_own: Any) -> None:
    replayer = Replayer(
        workflows=[PythonExecution],
        data_converter=data_converter,
        interceptors=[without_the_test_servers_own],
    )

    text = path.read_text()  # noqa: ASYNC240
    await replayer.replay_workflow(WorkflowHistory.from_json("execution-1", text))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_history_tells_nothing_of_the_machine(path: Path) -> None:
    text = path.read_text()

    assert str(Path(__file__).parents[2]) not in text
    assert all(
        event.get(key, {}).get("identity", "recorder") == "recorder"
        for event in json.loads(text)["events"]
        for key in event
        if key.endswith("Attributes")
    )
