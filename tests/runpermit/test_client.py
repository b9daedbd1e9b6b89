"""The client against a dev server."""

import asyncio
import math
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from runpermit import (
    ContainerConfigurationError,
    InvalidRequestError,
    MaxAttemptsExceededError,
    PythonExecutionRequest,
    RunpermitClient,
    ServiceUnavailableError,
    Stage,
)


def request(task: str, **fields: Any) -> PythonExecutionRequest:
    return PythonExecutionRequest(
        user_query="q", task_objective=task, execution_folder_name="scan", **fields
    )


async def until_pending(client: RunpermitClient, id: str) -> Any:  # noqa: A002
    async with asyncio.timeout(10):
        while True:
            for waiting in await client.pending():
                if waiting.id == id:
                    return waiting
            await asyncio.sleep(0.1)


async def test_execute_returns_the_typed_result(server: Any) -> None:
    client = await RunpermitClient.connect(server.address)
    result = await client.execute(request("succeed"))
    assert result.execution_result.results["value"] == 42


async def test_a_plain_mapping_is_a_request_too(server: Any) -> None:
    client = await RunpermitClient.connect(server.address)
    execution = await client.start(request("succeed").model_dump())
    assert (await execution.result()).generation_attempt == 1


async def test_the_generated_id_begins_with_the_folders_name(server: Any) -> None:
    client = await RunpermitClient.connect(server.address)
    execution = await client.start(request("succeed"))
    assert execution.id.startswith("scan-")
    assert len(execution.id) == len("scan-") + 8


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"execution_folder_name": "../x"}, "execution_folder_name"),
        ({"expected_results": {"x": math.nan}}, "expected_results.x"),
        ({"execution_folder_path": "/x"}, "execution_folder_path"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
async def test_a_bad_request_is_refused_before_a_workflow_starts(
    server: Any, change: dict[str, Any], field: str
) -> None:
    client = await RunpermitClient.connect(server.address)
    name = f"refused-{field}"
    with pytest.raises(InvalidRequestError) as refused:
        await client.start({**request("succeed").model_dump(), **change}, id=name)
    assert refused.value.field == field
    with pytest.raises(InvalidRequestError, match="there is no execution"):
        await client.handle(name).describe()


async def test_the_same_id_and_request_return_the_running_execution(server: Any) -> None:
    client = await RunpermitClient.connect(server.address)
    first = await client.start(request("ask"), id="same-running")
    run_id = (await first.describe()).run_id
    second = await client.start(request("ask"), id="same-running")
    assert (await second.describe()).run_id == run_id


async def test_the_same_id_and_request_never_run_a_closed_execution_again(server: Any) -> None:
    client = await RunpermitClient.connect(server.address)
    first = await client.start(request("succeed"), id="same-closed")
    await first.result()
    second = await client.start(request("succeed"), id="same-closed")
    assert (await second.describe()).run_id == (await first.describe()).run_id
    assert (await second.result()).generated_code


@pytest.mark.parametrize("task", ["ask", "succeed"])
async def test_an_id_of_another_request_is_refused(server: Any, task: str) -> None:
    client = await RunpermitClient.connect(server.address)
    name = f"other-{task}"
    await client.start(request(task), id=name)
    with pytest.raises(InvalidRequestError, match="belongs to another request") as refused:
        await client.start(request(task, retries=4), id=name)
    assert refused.value.field == "id"


@pytest.mark.parametrize("name", ["", "a\nb", "a\u202eb", "x" * 201])
async def test_an_id_that_people_can_not_read_is_refused(server: Any, name: str) -> None:
    client = await RunpermitClient.connect(server.address)
    with pytest.raises(InvalidRequestError, match="visible text"):
        client.handle(name)


async def test_pending_lists_what_waits_without_a_worker(server: Any) -> None:
    client = await RunpermitClient.connect(server.address)
    asking = await client.start(request("ask"))
    done = await client.start(request("succeed"))
    await until_pending(client, asking.id)
    await asyncio.to_thread(server.stop_worker)
    waiting = await client.pending()
    [mine] = [one for one in waiting if one.id == asking.id]
    assert mine.question == "1 write: SR:HCM1 → 0.2 A"
    assert mine.first_writes == ["SR:HCM1"]
    assert len(mine.revision) == 6
    assert done.id not in [one.id for one in waiting]
    approvals = [one for one in waiting if one.stage is Stage.AWAITING_APPROVAL]
    assert approvals == sorted(approvals, key=lambda one: one.started_at)


async def test_machines_left_changed_are_listed_first(server: Any) -> None:
    client = await RunpermitClient.connect(server.address)
    asking = await client.start(request("ask"))
    await until_pending(client, asking.id)
    left = await client.start(request("leave changed"))
    first = await until_pending(client, left.id)
    assert first.left_changed
    assert first.stage is Stage.AWAITING_RESTORE
    order = [one.left_changed for one in await client.pending()]
    assert order == sorted(order, reverse=True)


async def test_what_nobody_could_ask_about_is_listed_after_its_end(server: Any) -> None:
    client = await RunpermitClient.connect(server.address)
    lost = await client.start(request("lose a-host"))
    found = await until_pending(client, lost.id)
    assert (found.stage, found.host, found.state_unknown) == (Stage.FAILED, "a-host", True)
    assert found.question.startswith("MACHINE STATE UNKNOWN: host a-host")
    failed = await client.start(request("fail"))
    with pytest.raises(MaxAttemptsExceededError):
        await failed.result()
    order = [(one.left_changed, one.state_unknown) for one in await client.pending()]
    assert order == sorted(order, reverse=True)
    assert failed.id not in [one.id for one in await client.pending()]


async def test_running_lists_all_that_has_not_ended(server: Any) -> None:
    client = await RunpermitClient.connect(server.address)
    asking = await client.start(request("ask"))
    await until_pending(client, asking.id)
    done = await client.start(request("succeed"))
    await done.result()
    async with asyncio.timeout(10):
        while True:
            ids = [execution.id for execution in await client.running()]
            if done.id not in ids:
                break
            await asyncio.sleep(0.1)
    assert asking.id in ids


async def test_no_server_is_told_soon_with_address_and_remedy() -> None:
    before = time.monotonic()
    with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:1\b.*TEMPORAL_ADDRESS"):
        await RunpermitClient.connect("127.0.0.1:1")
    assert time.monotonic() - before < 20


async def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = time.monotonic()
        with pytest.raises(ServiceUnavailableError, match="no answer in 1 s"):
            await RunpermitClient.connect(f"127.0.0.1:{silent.getsockname()[1]}", timeout=1)
        assert time.monotonic() - before < 10


async def test_the_address_comes_from_temporals_own_settings(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text(f'[profile.ring]\naddress = "{server.address}"\n')
    client = await RunpermitClient.connect(profile="ring", config_file=file)
    assert client.address == server.address
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
    assert (await RunpermitClient.connect()).address == server.address


async def test_broken_temporal_settings_are_a_configuration_error(tmp_path: Path) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text("[profile.ring\n")
    with pytest.raises(ContainerConfigurationError, match=r"temporal\.toml"):
        await RunpermitClient.connect(config_file=file)


async def test_a_namespace_that_does_not_exist_is_a_configuration_error(server: Any) -> None:
    client = await RunpermitClient.connect(server.address, namespace="nowhere")
    with pytest.raises(ContainerConfigurationError, match="nowhere"):
        await client.start(request("succeed"))
