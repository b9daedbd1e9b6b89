"""The line to Temporal breaks and comes back: who waits or follows goes on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runpermit import ProgressEvent, ProgressKind, RunpermitClient, Stage

# Longer than the SDK's own retries last.
OUTAGE_SECONDS = 13


class Line:
    """A TCP line to the server that can be cut and mended."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = host, int(port)
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        while self._writers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        mine = {writer, there_writer}
        self._writers |= mine
        try:
            await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))
        except OSError:
            pass
        finally:
            for one in mine:
                one.transport.abort()
            self._writers -= mine


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError


@pytest.fixture
async def line(server: Any) -> AsyncIterator[Line]:
    line = Line(server.address)
    await line.mend()
    yield line
    await line.cut()


async def collect(events: list[ProgressEvent], source: AsyncIterator[ProgressEvent]) -> None:
    async for event in source:
        events.append(event)  # noqa: PERF401  (what was told so far is looked at meanwhile)


@pytest.mark.slow
async def test_result_and_progress_outlive_an_outage_and_tell_it(server: Any, line: Line) -> None:
    far = await RunpermitClient.connect(line.address)
    near = await RunpermitClient.connect(server.address)
    fields = {"user_query": "q", "task_objective": "ask", "execution_folder_name": "scan"}
    execution = await far.start(fields)
    events: list[ProgressEvent] = []
    following = asyncio.create_task(collect(events, execution.progress()))
    waiting = asyncio.create_task(execution.result())
    async with asyncio.timeout(90):
        while not any(event.kind is ProgressKind.QUESTION for event in events):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await line.cut()
        await asyncio.sleep(OUTAGE_SECONDS)
        assert not following.done()
        assert not waiting.done()
        same = near.handle(execution.id)
        pending = await same.pending_approval()
        assert pending is not None
        await same.approve("jd", pending.sha256)
        await line.mend()
        await following
        assert (await waiting).execution_result.results["value"] == 42
    told = [event.stage for event in events if event.kind is ProgressKind.STAGE]
    assert len(told) == len(set(told))
    assert told[-1] is Stage.SUCCEEDED
    assert ProgressKind.NOTICE in {event.kind for event in events}
