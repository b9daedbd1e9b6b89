import logging
import socket
import time
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import structlog

from activities.generators import CodeGenerator, GeneratedCode, GenerationTask, create_generator
from demo.model_server import PROGRAMS, ModelServer, Reply
from runpermit.config import GenerationSettings
from runpermit.errors import (
    CodeGenerationError,
    ContainerConfigurationError,
    PythonExecutorException,
    ServiceUnavailableError,
)
from runpermit.limits import LimitsDatabase
from runpermit.models import ExecutionError

PROGRAM = 'results = {"mean": 1.5}\n'

Serve = Callable[..., ModelServer]
Connect = Callable[..., CodeGenerator]
ServeBytes = Callable[..., Awaitable[str]]


async def test_a_program_comes_as_structured_output(
    serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    server = serve(PROGRAM)

    generated = await connect(server, temperature=0.2).generate(task)

    assert generated.code == PROGRAM
    body = server.requests[0].body
    assert body["model"] == "a-model"
    assert body["temperature"] == 0.2
    schema = body["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["required"] == ["code", "explanation"]


@pytest.mark.parametrize("structured_output", [True, False])
async def test_the_recorded_programs_of_the_demo_are_found_by_the_prompt(
    structured_output: bool,  # noqa: FBT001
    serve: Serve,
    connect: Connect,
    make_task: Callable[..., GenerationTask],
) -> None:
    server = serve(structured_output=structured_output)
    limits = LimitsDatabase.load(PROGRAMS.parent / "limits.json")
    failed = ExecutionError(error_type="execution", error_message="a runtime error")
    task = make_task(
        user_query="Measure the orbit response", channels=limits.channels, errors=[failed]
    )

    generated = await connect(server).generate(task)

    assert generated.code == (PROGRAMS / "orbit_response.py").read_text()


async def test_metadata_tells_where_the_program_came_from_and_survives_the_wire(
    serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    server = serve(PROGRAM)

    generated = await connect(server).generate(task)

    assert generated.metadata == {
        "generator": "openai",
        "endpoint": server.base_url.split("/")[2],
        "model": "a-model",
        "response_id": "chatcmpl-0",
        "structured_output": True,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "total_tokens": 0,
        "explanation": "From a recorded program.",
    }
    assert GeneratedCode.model_validate_json(generated.model_dump_json()) == generated


async def test_no_temperature_is_sent_where_none_is_set(
    serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    server = serve(PROGRAM)

    await connect(server).generate(task)

    assert "temperature" not in server.requests[0].body


async def test_an_endpoint_without_structured_output_is_asked_for_plain_text_from_then_on(
    serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    server = serve(PROGRAM, structured_output=False)
    generator = connect(server)

    first = await generator.generate(task)
    second = await generator.generate(task)

    assert first.code == second.code == PROGRAM
    assert first.metadata["structured_output"] is False
    asked = ["response_format" in request.body for request in server.requests]
    assert asked == [True, False, False]
    assert "```python" in server.requests[1].body["messages"][1]["content"]
    assert "```python" not in server.requests[0].body["messages"][1]["content"]


async def test_an_endpoint_that_ignores_the_schema_is_understood_all_the_same(
    serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    server = serve(Reply(text=f"Here you are:\n```python\n{PROGRAM}```\nAnything else?"))

    assert (await connect(server).generate(task)).code == PROGRAM


async def test_the_base_url_may_come_from_the_environment(
    serve: Serve, key: str, monkeypatch: pytest.MonkeyPatch, task: GenerationTask
) -> None:
    server = serve(PROGRAM)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)

    generated = await create_generator(GenerationSettings(model="m")).generate(task)

    assert generated.code == PROGRAM
    assert server.requests[0].headers["authorization"] == f"Bearer {key}"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_an_endpoint_in_trouble_is_an_outage_that_is_tried_once(
    status: int, serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    server = serve(Reply(status=status, error={"message": "come back later"}))

    with pytest.raises(ServiceUnavailableError, match="come back later") as caught:
        await connect(server).generate(task)

    assert caught.value.service == server.base_url.split("/")[2]
    assert caught.value.retry_after is None
    assert len(server.requests) == 1, "retries are Temporal's"


@pytest.mark.parametrize(
    ("header", "expected"),
    [("7", 7), ("1.5", 1.5), ("-3", 0), ("999999", 600), ("inf", 600), ("nan", None), ("?", None)],
)
async def test_retry_after_in_seconds_is_passed_on_within_bounds(
    header: str, expected: float | None, serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    server = serve(Reply(status=429, headers={"Retry-After": header}))

    with pytest.raises(ServiceUnavailableError) as caught:
        await connect(server).generate(task)

    assert caught.value.retry_after == expected


async def test_retry_after_may_be_a_date(
    serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    server = serve(Reply(status=503, headers={"Retry-After": date}))

    with pytest.raises(ServiceUnavailableError) as caught:
        await connect(server).generate(task)

    assert caught.value.retry_after == pytest.approx(59, abs=2)


async def test_a_silent_endpoint_is_an_outage_after_the_timeout(
    serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    server = serve(Reply(program=PROGRAM, delay=5))

    with pytest.raises(ServiceUnavailableError, match=r"0\.2 s \(generation\.timeout\)"):
        await connect(server, timeout=0.2).generate(task)


async def test_an_answer_that_trickles_in_is_bounded_by_the_same_timeout(
    serve_bytes: ServeBytes, connect: Connect, task: GenerationTask
) -> None:
    url = await serve_bytes("{" + " " * 1000, pause=0.05)
    started = time.monotonic()

    with pytest.raises(ServiceUnavailableError, match=r"generation\.timeout"):
        await connect(url, timeout=0.4).generate(task)

    assert time.monotonic() - started < 10


async def test_a_connection_that_is_dropped_is_an_outage(
    serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    with pytest.raises(ServiceUnavailableError, match="broke the connection"):
        await connect(serve(Reply(drop=True))).generate(task)


async def test_an_endpoint_that_is_not_there_is_an_outage(
    connect: Connect, task: GenerationTask
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    with pytest.raises(ServiceUnavailableError, match=r"generation\.base_url") as caught:
        await connect(f"http://127.0.0.1:{port}/v1").generate(task)

    assert caught.value.service == f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("status", "named"),
    [
        (401, "OPENAI_API_KEY"),
        (403, "OPENAI_API_KEY or generation.model"),
        (404, "generation.model or generation.base_url"),
        (400, "generation.temperature"),
        (418, "generation.base_url"),
        (499, "generation.base_url"),
    ],
)
async def test_a_refused_request_names_the_setting_to_mend(
    status: int, named: str, serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    server = serve(Reply(status=status, error={"message": "no such thing"}))

    with pytest.raises(ContainerConfigurationError, match="no such thing") as caught:
        await connect(server).generate(task)

    assert named in caught.value.message
    assert len(server.requests) == 1


async def test_a_wrong_path_names_the_base_url(
    serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    url = serve(PROGRAM).base_url.removesuffix("/v1")

    with pytest.raises(ContainerConfigurationError, match=r"generation\.base_url \(it ends in /v1"):
        await connect(url).generate(task)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<html>Welcome</html>", "text/html"),
        ("not json", "application/json"),
        ("[]", "application/json"),
        ('{"status": "ok"}', "application/json"),
        ('{"choices": [7]}', "application/json"),
        ('{"choices": [{"message": {"content": 3}}]}', "application/json"),
    ],
)
async def test_a_server_that_is_no_model_endpoint_is_a_wrong_base_url(
    body: str, content_type: str, serve_bytes: ServeBytes, connect: Connect, task: GenerationTask
) -> None:
    url = await serve_bytes(body, content_type)

    with pytest.raises(ContainerConfigurationError, match="no chat completion"):
        await connect(url).generate(task)


async def test_a_completion_without_choices_is_no_program(
    serve_bytes: ServeBytes, connect: Connect, task: GenerationTask
) -> None:
    url = await serve_bytes('{"choices": []}')

    with pytest.raises(CodeGenerationError, match="empty"):
        await connect(url).generate(task)


async def test_only_the_choices_of_a_completion_must_be_as_usual(
    serve_bytes: ServeBytes, connect: Connect, task: GenerationTask
) -> None:
    choices = '[{"message": {"content": "results = {}"}}]'
    usage = '{"prompt_tokens": "many", "completion_tokens": -1, "total_tokens": 7, "cost": 0.1}'
    odd = await serve_bytes(f'{{"id": 3, "choices": {choices}, "usage": {usage}, "x": NaN}}')
    free = await serve_bytes(f'{{"model": [], "choices": {choices}, "usage": "free"}}')

    generated = await connect(odd).generate(task)

    assert generated.code == (await connect(free).generate(task)).code == "results = {}\n"
    assert generated.metadata["total_tokens"] == 7
    assert {"prompt_tokens", "completion_tokens"}.isdisjoint(generated.metadata)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(text=""), "the answer is empty"),
        (Reply(text=None), "the answer is empty"),
        (Reply(text=" \n"), "the answer is empty"),
        (Reply(program=""), "no Python code"),
        (Reply(refusal="I can't help with that"), "it refused: I can't help with that"),
        (Reply(program=PROGRAM, finish_reason="length"), "cut off at the token limit"),
        (Reply(program=PROGRAM, finish_reason="content_filter"), "content filter"),
        (Reply(text="First tell me which ring you mean."), "which ring you mean"),
        (Reply(text='{"program": "x = 1"}'), 'its field "code"'),
        (Reply(program="x = 1\n" * 50_000), "256 KB"),
        (Reply(status=400, error={"code": "content_filter"}), "refused the request"),
        (Reply(status=400, error={"code": "context_length_exceeded"}), "refused the request"),
    ],
)
async def test_an_answer_that_is_no_program_asks_for_another_attempt(
    reply: Reply,
    reason: str,
    serve: Serve,
    connect: Connect,
    make_task: Callable[..., GenerationTask],
) -> None:
    failed = ExecutionError(error_type="execution", error_message="division by zero")
    task = make_task(attempt=2, errors=[failed])

    with pytest.raises(CodeGenerationError) as caught:
        await connect(serve(reply)).generate(task)

    assert reason in caught.value.message
    assert caught.value.generation_attempt == 2
    assert caught.value.error_chain == ["division by zero"]


async def test_a_program_with_a_syntax_error_is_left_to_the_analysis(
    serve: Serve, connect: Connect, task: GenerationTask
) -> None:
    generated = await connect(serve("results = {'a': (1}\n")).generate(task)

    assert generated.code == "results = {'a': (1}\n"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_names_its_variable(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("OPENAI_API_KEY", value)

    with pytest.raises(ContainerConfigurationError, match=r"OPENAI_API_KEY is not set.*any value"):
        create_generator(GenerationSettings(model="m"))


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-schlüssel-0123")

    with pytest.raises(ContainerConfigurationError, match="OPENAI_API_KEY") as caught:
        create_generator(GenerationSettings(model="m"))

    assert "0123" not in _everything(caught.value)


@pytest.mark.usefixtures("key")
def test_a_missing_model_names_its_setting() -> None:
    with pytest.raises(ContainerConfigurationError, match=r"generation\.model"):
        create_generator(GenerationSettings())


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host/v1", "http://", "http://[::1/v1", "http://me:pw9@host/v1"]
)
def test_a_base_url_that_is_no_http_address_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ContainerConfigurationError, match=r"generation\.base_url") as caught:
        create_generator(GenerationSettings(model="m", base_url=url))
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ContainerConfigurationError, match="OPENAI_BASE_URL is no address"):
        create_generator(GenerationSettings(model="m"))

    assert "pw9" not in _everything(caught.value)


@pytest.mark.parametrize(
    "make_reply",
    [
        lambda key: Reply(status=401, error={"message": f"Incorrect API key provided: {key}."}),
        lambda key: Reply(status=500, error={"message": f"{'x' * 480} {key}"}),
        lambda key: Reply(status=400, error={"message": f"context length of {key}"}),
        lambda key: Reply(refusal=f"Your key is {key}"),
        lambda key: Reply(text=f"Your key is {key}"),
        lambda _: Reply(drop=True),
        lambda _: Reply(program=PROGRAM, delay=2),
    ],
)
async def test_the_key_is_in_no_error_log_or_prompt_even_where_the_endpoint_echoes_it(
    make_reply: Callable[[str], Reply],
    key: str,
    serve: Serve,
    connect: Connect,
    task: GenerationTask,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = serve(make_reply(key))
    caplog.set_level(logging.DEBUG)

    with (
        structlog.testing.capture_logs() as logs,
        pytest.raises(PythonExecutorException) as caught,
    ):
        await connect(server, timeout=0.5).generate(task)

    secret = key[:16]
    assert secret not in _everything(caught.value)
    assert secret not in caplog.text
    assert secret not in repr(logs)
    assert server.requests[0].headers["authorization"] == f"Bearer {key}"
    assert secret not in repr(server.requests[0].body)


async def test_the_key_is_in_no_metadata(
    key: str, serve_bytes: ServeBytes, connect: Connect, task: GenerationTask
) -> None:
    content = '{\\"code\\": \\"x = 1\\", \\"explanation\\": \\"' + key + '\\"}'
    choices = f'[{{"message": {{"content": "{content}"}}}}]'
    url = await serve_bytes(f'{{"id": "{key}", "model": "{key}", "choices": {choices}}}')

    generated = await connect(url).generate(task)

    assert generated.code == "x = 1\n"
    assert key not in repr(generated)
    assert generated.metadata["explanation"] == "[key]"


def _everything(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(getattr(error, "__dict__", {}))
