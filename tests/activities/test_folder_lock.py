import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RetryConfig, RPCError
from temporalio.testing import WorkflowEnvironment

from activities.folder_lock import Holder, free, take
from runpermit.errors import InvalidRequestError, ServiceUnavailableError

Started = tuple[WorkflowHandle, str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest_asyncio.fixture
async def running(client: Client, request: pytest.FixtureRequest) -> AsyncIterator[Started]:
    """An execution that runs: nobody works on its task queue."""
    handle = await client.start_workflow(
        "Nothing", id=f"lock-{request.node.name}", task_queue="nobody"
    )
    assert handle.first_execution_run_id
    yield handle, handle.first_execution_run_id
    with contextlib.suppress(RPCError):  # the test ended it
        await handle.terminate()


@pytest_asyncio.fixture
async def cut_off(dev_server: WorkflowEnvironment) -> Client:
    """A client that lost its server after it was connected."""
    host, _, port = dev_server.client.service_client.config.target_host.partition(":")
    connections: list[asyncio.StreamWriter] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while data := await reader.read(65536):
            writer.write(data)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(relay(reader, far_writer), relay(far_reader, writer))

    proxy = await asyncio.start_server(accept, "127.0.0.1", 0)
    address = f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    client = await Client.connect(
        address, retry_config=RetryConfig(max_retries=1, max_elapsed_time_millis=100)
    )
    proxy.close()
    for connection in connections:
        connection.close()
    return client


def stored(folder: Path, suffix: str = "") -> None:
    (folder / f"request{suffix}.json").write_text("{}")


async def test_the_first_takes_the_folder_and_keeps_it_however_often_it_asks(
    client: Client, folder: Path
) -> None:
    first = await take(folder, "a", "1", client)
    stored(folder)
    assert first.suffix == ""
    assert await take(folder, "a", "1", client) == first


async def test_a_folder_whose_holder_runs_is_refused_by_its_name(
    client: Client, folder: Path, running: Started
) -> None:
    handle, run_id = running
    held = await take(folder, handle.id, run_id, client)
    with pytest.raises(InvalidRequestError, match=handle.id) as raised:
        await take(folder, "other", "2", client)
    assert raised.value.field == "existing_execution_folder"
    assert await take(folder, handle.id, run_id, client) == held


async def test_a_folder_whose_holder_was_terminated_is_taken_over(
    client: Client, folder: Path, running: Started
) -> None:
    handle, run_id = running
    await take(folder, handle.id, run_id, client)
    stored(folder)
    await handle.terminate()
    taken = await take(folder, "other", "2", client)
    assert (taken.workflow_id, taken.suffix) == ("other", "-2")


async def test_a_lock_of_an_earlier_execution_of_the_same_name_is_taken_over(
    client: Client, folder: Path, running: Started
) -> None:
    handle, _ = running
    await take(folder, handle.id, "an-earlier-run", client)
    stored(folder)
    assert (await take(folder, "other", "2", client)).suffix == "-2"


async def test_a_holder_that_temporal_does_not_know_any_more_is_taken_over(
    client: Client, folder: Path
) -> None:
    await take(folder, "forgotten", "1", client)
    assert (await take(folder, "other", "2", client)).workflow_id == "other"


async def test_one_that_ended_before_its_request_was_stored_leaves_its_suffix(
    client: Client, folder: Path
) -> None:
    await take(folder, "a", "1", client)
    assert (await take(folder, "b", "2", client)).suffix == ""


async def test_a_free_folder_is_continued_with_the_next_suffix(
    client: Client, folder: Path
) -> None:
    for number, suffix in enumerate(["", "-2", "-3"]):
        assert (await take(folder, f"e{number}", "1", client)).suffix == suffix
        stored(folder, suffix)
        free(folder, f"e{number}", "1")


async def test_of_several_that_ask_at_once_one_gets_it(
    client: Client, folder: Path, running: Started
) -> None:
    handle, run_id = running
    await take(folder, "forgotten", "1", client)
    asked = await asyncio.gather(
        take(folder, handle.id, run_id, client),
        *(take(folder, f"other-{number}", "1", client) for number in range(8)),
        return_exceptions=True,
    )
    winners = [answer for answer in asked if isinstance(answer, Holder)]
    losers = [answer for answer in asked if isinstance(answer, ServiceUnavailableError)]
    assert len(winners) == 1
    assert len(losers) == 8
    assert Holder.model_validate_json((folder / ".lock").read_bytes()) == winners[0]


async def test_only_its_holder_frees_a_folder(client: Client, folder: Path) -> None:
    await take(folder, "a", "1", client)
    free(folder, "a", "2")
    free(folder, "b", "1")
    assert (folder / ".lock").exists()
    free(folder, "a", "1")
    assert not (folder / ".lock").exists()
    free(folder, "a", "1")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"workflow_id": 1}'])
async def test_a_lock_that_nobody_can_read_is_refused_by_file(
    client: Client, folder: Path, content: bytes
) -> None:
    (folder / ".lock").write_bytes(content)
    with pytest.raises(InvalidRequestError, match=r"\.lock"):
        await take(folder, "a", "1", client)
    assert (folder / ".lock").read_bytes() == content


async def test_while_temporal_does_not_answer_a_lock_stands(folder: Path, cut_off: Client) -> None:
    (folder / ".lock").write_text(
        Holder(workflow_id="a", first_run_id="1", suffix="").model_dump_json()
    )
    with pytest.raises(ServiceUnavailableError, match="does not tell"):
        await take(folder, "b", "2", cut_off)
    assert "a" in (folder / ".lock").read_text()
