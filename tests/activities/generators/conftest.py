import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest

from activities.generators import CodeGenerator, GenerationTask, create_generator
from demo.model_server import ModelServer, Reply
from runpermit.config import GenerationSettings
from runpermit.models import PythonExecutionRequest

KEY = "sk-test-0123456789abcdef"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    return KEY


@pytest.fixture
def make_task() -> Callable[..., GenerationTask]:
    """Make a task; what is no field of it is one of its request."""

    def make(**fields: Any) -> GenerationTask:
        own = {name: fields.pop(name) for name in GenerationTask.__match_args__ if name in fields}
        request = PythonExecutionRequest(
            **{
                "user_query": "Plot the beam current",
                "task_objective": "Twenty readings and their mean",
                "execution_folder_name": "test",
            }
            | fields
        )
        return GenerationTask(request=request, **own)

    return make


@pytest.fixture
def task(make_task: Callable[..., GenerationTask]) -> GenerationTask:
    return make_task()


@pytest.fixture
def serve() -> Iterator[Callable[..., ModelServer]]:
    """Start a model server that answers with these replies in turn."""
    with ExitStack() as servers:

        def start(*replies: str | Reply, structured_output: bool = True) -> ModelServer:
            server = ModelServer(replies=replies, structured_output=structured_output)
            return servers.enter_context(server)

        yield start


@pytest.fixture
def connect(key: str) -> Callable[..., CodeGenerator]:
    """Make the openai generator for a server, or for a base URL."""
    assert key

    def make(server: ModelServer | str, **settings: Any) -> CodeGenerator:
        url = server if isinstance(server, str) else server.base_url
        return create_generator(
            GenerationSettings(**{"base_url": url, "model": "a-model", "timeout": 10} | settings)
        )

    return make


@pytest.fixture
async def serve_bytes() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Serve the same HTTP answer to every request: for what no OpenAI server sends."""
    async with AsyncExitStack() as servers:

        async def start(body: str, content_type: str = "application/json", pause: float = 0) -> str:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n"
            head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"

            async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                try:
                    writer.write(head.encode())
                    for char in body:
                        writer.write(char.encode())
                        if pause:
                            await writer.drain()
                            await asyncio.sleep(pause)
                    await writer.drain()
                except ConnectionError:
                    pass
                finally:
                    writer.close()

            server = await servers.enter_async_context(
                await asyncio.start_server(answer, "127.0.0.1", 0)
            )
            return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

        yield start
