"""Whatever a stranger sends to the server: a typed end, never a stuck workflow task."""
# ruff: noqa: ASYNC240  (a test may wait for its own disk)

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.converter import DataConverter, PayloadConverter

from runpermit.models import Stage

REQUEST = {
    "user_query": "q",
    "task_objective": "t",
    "execution_folder_name": "bad_input",
    "approved_code": "results = {}",
}
STEP = 'write_channel("SR:HCM6:SP", 0.1)\nresults = {}'


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ([], "request"),
        ([REQUEST, REQUEST], "request"),
        ([None], "request"),
        (["a text"], "request"),
        ([[REQUEST]], "request"),
        ([{}], "user_query"),
        ([REQUEST | {"surprise": 1}], "surprise"),
        ([REQUEST | {"retries": 0}], "retries"),
        ([REQUEST | {"timeout_seconds": -1}], "timeout_seconds"),
        ([REQUEST | {"execution_folder_name": "../escape"}], "execution_folder_name"),
        ([REQUEST | {"execution_folder_name": "a/b"}], "execution_folder_name"),
        ([REQUEST | {"execution_folder_name": ".."}], "execution_folder_name"),
        ([REQUEST | {"execution_folder_name": "a\x00b"}], "execution_folder_name"),
        ([REQUEST | {"execution_folder_path": "/etc"}], "execution_folder_path"),
        ([REQUEST | {"existing_execution_folder": "../.."}], "existing_execution_folder"),
        ([REQUEST | {"existing_execution_folder": "/etc"}], "existing_execution_folder"),
        ([REQUEST | {"existing_execution_folder": "."}], "existing_execution_folder"),
        ([REQUEST | {"existing_execution_folder": "no/such"}], "existing_execution_folder"),
        ([REQUEST | {"existing_execution_folder": "a\x00b"}], "existing_execution_folder"),
        ([REQUEST | {"capability_context_data": {"x": "y" * 600_000}}], "capability_context_data"),
        ([REQUEST | {"approved_code": "#" * 300_000}], "approved_code"),
    ],
)
async def test_a_request_that_is_not_acceptable_fails_and_names_the_field(
    house: Any, inputs: list[Any], field: str
) -> None:
    handle = await house.start_raw(inputs)
    error = await asyncio.wait_for(house.failure(handle), 20)
    assert type(error).__name__ == "InvalidRequestError"
    assert error.field == field
    assert (await house.state(handle)).current_stage is Stage.FAILED


async def test_a_payload_that_nobody_can_decode_fails_the_execution(house: Any) -> None:
    client = await _with_rubbish(house.stack.address)
    handle = await client.start_workflow(
        "PythonExecution", "anything", id="undecodable", task_queue="runpermit"
    )
    error = await asyncio.wait_for(house.failure(house.client.get_workflow_handle(handle.id)), 20)
    assert type(error).__name__ == "InvalidRequestError"


async def test_signals_with_any_payload_are_recorded_and_harmless(house: Any) -> None:
    handle = await house.start(STEP)
    pending = await house.question(handle)
    rubbish = (await _with_rubbish(house.stack.address)).get_workflow_handle(handle.id)
    for name in ("approve", "reject", "revise", f"approve-{pending.revision}"):
        await rubbish.signal(name, "anything")
        await handle.signal(name, args=[1, 2, 3])
        await handle.signal(name, {"decision": "approve", "colour": "blue"})
        await handle.signal(name, {})
    await handle.signal("no-such-signal", {"decision": "approve"})
    state = await house.state(handle)
    assert state.current_stage is Stage.AWAITING_APPROVAL
    assert len(state.decisions) == 16
    assert not any(record.accepted for record in state.decisions)
    await handle.signal("reject")
    assert (await house.failure(handle)).stage == Stage.REJECTED


async def test_a_request_of_5_mb_is_refused_by_the_server(house: Any) -> None:
    request = REQUEST | {"capability_context_data": {"x": "y" * 5_000_000}}
    with pytest.raises(Exception, match=r"(?i)size|larger|too large|exceed"):
        await house.start_raw([request], id="too-large")
    listed = [w.id async for w in house.client.list_workflows("WorkflowId = 'too-large'")]
    assert listed == []


async def test_a_caller_may_not_have_an_execution_repeated(house: Any) -> None:
    handle = await house.client.start_workflow(
        "PythonExecution",
        REQUEST,
        id="with-retries",
        task_queue="runpermit",
        retry_policy=RetryPolicy(maximum_attempts=3),
    )
    error = await house.failure(handle)
    assert error.field == "retry_policy"
    assert len([w async for w in house.client.list_workflows("WorkflowId = 'with-retries'")]) == 1


async def test_a_folder_that_links_out_of_the_root_is_refused(house: Any, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    house.stack.executions.mkdir(exist_ok=True)
    link = house.stack.executions / "link-out"
    link.symlink_to(outside)
    error = await house.run_to_failure("results = {}", existing_execution_folder="link-out")
    assert error.field == "existing_execution_folder"
    assert "executions.root" in str(error)
    assert list(outside.iterdir()) == []


async def test_a_folder_in_use_is_refused_and_its_holder_named(house: Any) -> None:
    holder = await house.start(STEP)
    pending = await house.question(holder)
    error = await house.run_to_failure(
        "results = {}", existing_execution_folder=pending.folder_path
    )
    assert error.field == "existing_execution_folder"
    assert f"in use by execution {holder.id}" in str(error)
    assert sorted(path.name for path in Path(pending.folder_path).glob("request*")) == [
        "request.json"
    ]
    await holder.signal("reject")
    await house.failure(holder)
    again = await house.run("results = {}", existing_execution_folder=pending.folder_path)
    assert again.execution_result.folder_path == Path(pending.folder_path)


async def test_the_folder_of_a_terminated_execution_is_free_again(house: Any) -> None:
    holder = await house.start(STEP)
    pending = await house.question(holder)
    await holder.terminate()
    again = await house.run("results = {}", existing_execution_folder=pending.folder_path)
    assert again.execution_result.notebook_path.name == "notebook-2.ipynb"


async def _with_rubbish(address: str) -> Client:
    class Rubbish(PayloadConverter):
        def to_payloads(self, values: Any) -> list[Payload]:
            return [
                Payload(metadata={"encoding": b"json/plain"}, data=b"{\xff not json")
                for _ in values
            ]

        def from_payloads(self, payloads: Any, _hints: Any = None) -> list[Any]:
            return [None for _ in payloads]

    return await Client.connect(
        address, data_converter=DataConverter(payload_converter_class=Rubbish)
    )
