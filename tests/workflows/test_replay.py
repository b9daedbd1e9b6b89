"""Executions that wait for weeks survive a new version of the workflow: old histories replay."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from runpermit.payloads import data_converter
from workflows.python_execution import PythonExecution

HERE = Path(__file__).parent / "histories"
OF_TODAY = sorted(HERE.glob("*.json"))
RELEASED = sorted((HERE / "released").glob("*/*.json"))
HISTORIES = pytest.mark.parametrize(
    "path", OF_TODAY + RELEASED, ids=lambda path: str(path.relative_to(HERE).with_suffix(""))
)


def test_histories_are_recorded() -> None:
    assert len(OF_TODAY) >= 18
    assert len(RELEASED) >= 5


def test_histories_of_a_release_are_as_they_were_recorded_then() -> None:
    sums = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in RELEASED}
    told = {
        listed.parent / name: digest
        for listed in (HERE / "released").glob("*/SHA256SUMS")
        for digest, name in map(str.split, listed.read_text().splitlines())
    }

    assert sums == told


@HISTORIES
async def test_a_recorded_history_replays(path: Path, without_the_test_servers_own: Any) -> None:
    replayer = Replayer(
        workflows=[PythonExecution],
        data_converter=data_converter,
        interceptors=[without_the_test_servers_own],
    )

    text = path.read_text()  # noqa: ASYNC240
    await replayer.replay_workflow(WorkflowHistory.from_json("execution-1", text))


@HISTORIES
def test_a_recorded_history_tells_nothing_of_the_machine(path: Path) -> None:
    text = path.read_text()

    assert str(Path(__file__).parents[2]) not in text
    assert all(
        event.get(key, {}).get("identity", "recorder") == "recorder"
        for event in json.loads(text)["events"]
        for key in event
        if key.endswith("Attributes")
    )
