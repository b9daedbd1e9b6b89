import ast
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from demo import model_server
from demo.model_server import NO_RESPONSE_FORMAT, ModelServer, Reply

PROGRAM = "results = {'answer': 42}\n"
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "program",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "code": {"type": "string"},
                "explanation": {"type": "string"},
                "channels": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["code", "explanation", "channels"],
            "additionalProperties": False,
        },
    },
}

Ask = Callable[..., Any]


@pytest.fixture
def ask() -> Ask:
    """One request through the real client, without its own retries; returns the first choice."""

    def ask(server: ModelServer, task: str = "anything", **options: Any) -> Any:
        timeout = options.pop("timeout", 5)
        with openai.OpenAI(
            base_url=server.base_url, api_key="sk-demo", max_retries=0, timeout=timeout
        ) as client:
            completion = client.chat.completions.create(
                model="recorded-programs",
                messages=[
                    {"role": "system", "content": "You write Python about the beam current."},
                    {"role": "user", "content": task},
                ],
                **options,
            )
        return completion.choices[0]

    return ask


def code_block(content: str) -> str:
    return content.split("```python\n")[1].split("```", maxsplit=1)[0]


@pytest.mark.parametrize(
    ("task", "channel"),
    [
        ("Measure the orbit response of HCM3", "SR:HCM3:SP"),
        ("Plot the\nBeam  Current", "SR:BEAM:CURRENT"),
        ("Plot the beam current. Notes: an orbit response was measured.", "SR:BEAM:LIFETIME"),
    ],
)
def test_the_program_is_chosen_by_the_first_words_of_the_users_task(
    ask: Ask, task: str, channel: str
) -> None:
    with ModelServer() as server:
        choice = ask(server, task)
    assert choice.finish_reason == "stop"
    assert channel in code_block(choice.message.content)


def test_an_unknown_task_is_refused_with_the_tasks_it_knows(ask: Ask) -> None:
    with ModelServer() as server:
        message = ask(server, "Dump the beam into the lobby").message
    assert message.content is None
    assert "'beam current'" in message.refusal


def test_a_json_schema_is_answered_with_all_of_its_properties(ask: Ask) -> None:
    with ModelServer(replies=[PROGRAM]) as server:
        content = ask(server, response_format=SCHEMA).message.content
    answer = json.loads(content)
    assert answer.keys() == {"code", "explanation", "channels"}
    assert (answer["code"], answer["channels"]) == (PROGRAM, [])


def test_requests_are_kept_with_their_headers(ask: Ask) -> None:
    with ModelServer(replies=[PROGRAM]) as server:
        ask(server, "first", temperature=0.5)
        ask(server, "second")
    first, second = server.requests
    assert (first.body["temperature"], first.headers["authorization"]) == (0.5, "Bearer sk-demo")
    assert second.body["messages"][-1] == {"role": "user", "content": "second"}


def test_replies_come_in_turn_and_the_last_one_repeats(ask: Ask) -> None:
    with ModelServer(replies=["a = 1", "b = 2"]) as server:
        answers = [code_block(ask(server).message.content).strip() for _ in range(3)]
    assert answers == ["a = 1", "b = 2", "b = 2"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_an_http_error_arrives_as_the_clients_own_exception(
    ask: Ask, status: int, error: type[openai.APIStatusError]
) -> None:
    with (
        ModelServer(replies=[Reply(status=status, error={"message": "as told"})]) as server,
        pytest.raises(error, match="as told"),
    ):
        ask(server)


def test_a_rate_limit_carries_retry_after(ask: Ask) -> None:
    with (
        ModelServer(replies=[Reply(status=429, headers={"Retry-After": "7"}), PROGRAM]) as server,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        ask(server)
    assert caught.value.response.headers["retry-after"] == "7"


def test_an_endpoint_without_structured_output_names_response_format(ask: Ask) -> None:
    with ModelServer(replies=[PROGRAM], structured_output=False) as server:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(server, response_format=SCHEMA)
        assert code_block(ask(server).message.content) == PROGRAM
    assert caught.value.param == "response_format"
    assert "response_format" in caught.value.message


def test_the_same_refusal_can_be_sent_once(ask: Ask) -> None:
    with ModelServer(replies=[NO_RESPONSE_FORMAT, PROGRAM]) as server:
        with pytest.raises(openai.BadRequestError):
            ask(server, response_format=SCHEMA)
        assert ask(server, response_format=SCHEMA).finish_reason == "stop"


def test_a_truncated_answer_stops_in_the_middle(ask: Ask) -> None:
    with ModelServer(replies=[Reply(program=PROGRAM, finish_reason="length")]) as server:
        choice = ask(server, response_format=SCHEMA)
    assert choice.finish_reason == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(choice.message.content)


@pytest.mark.parametrize("text", ["", "I would rather talk about the weather."])
def test_raw_text_is_sent_as_it_is_whatever_was_asked_for(ask: Ask, text: str) -> None:
    with ModelServer(replies=[Reply(text=text)]) as server:
        assert ask(server, response_format=SCHEMA).message.content == text


def test_a_refusal_has_no_content(ask: Ask) -> None:
    with ModelServer(replies=[Reply(refusal="I can't do that.")]) as server:
        message = ask(server, response_format=SCHEMA).message
    assert (message.content, message.refusal) == (None, "I can't do that.")


def test_a_dropped_connection_is_a_connection_error(ask: Ask) -> None:
    with ModelServer(replies=[Reply(drop=True)]) as server:
        with pytest.raises(openai.APIConnectionError) as caught:
            ask(server)
        assert type(caught.value) is openai.APIConnectionError
        assert len(server.requests) == 1


def test_a_late_answer_is_a_timeout_and_delays_neither_others_nor_the_end(ask: Ask) -> None:
    start = time.monotonic()
    with ModelServer(replies=[Reply(program=PROGRAM, delay=60), PROGRAM]) as server:
        with pytest.raises(openai.APITimeoutError):
            ask(server, timeout=0.2)
        assert ask(server).finish_reason == "stop"
    assert time.monotonic() - start < 30  # of 60


def test_the_models_are_listed() -> None:
    with (
        ModelServer() as server,
        openai.OpenAI(base_url=server.base_url, api_key="sk-demo") as client,
    ):
        assert [model.id for model in client.models.list()] == [model_server.MODEL]


def test_a_request_that_is_no_chat_completion_is_refused_by_the_parameter(ask: Ask) -> None:
    with ModelServer() as server:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(server, stream=True)
        with (
            openai.OpenAI(base_url=server.base_url, api_key="sk-demo", max_retries=0) as client,
            pytest.raises(openai.NotFoundError, match="POST /v1/embeddings"),
        ):
            client.embeddings.create(model="m", input="text")
    assert caught.value.param == "stream"
    assert server.requests == []


def test_all_recorded_programs_are_python_but_the_syntax_error() -> None:
    programs = model_server.recorded_programs()
    assert {"beam current", "corrector ramp", "orbit response", "runtime error"} < programs.keys()
    with pytest.raises(SyntaxError):
        ast.parse(programs.pop("syntax error"))
    for program in programs.values():
        assert "results = {" in ast.unparse(ast.parse(program))


def test_as_a_process_it_says_where_it_serves_and_ends_with_its_parent() -> None:
    command = [sys.executable, "-m", "demo.model_server", "--port", "0", "--until-eof"]
    with subprocess.Popen(
        command,
        cwd=Path(model_server.__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        ready, base_url = process.stdout.readline().split()
        with openai.OpenAI(base_url=base_url, api_key="sk-demo") as client:
            assert [model.id for model in client.models.list()] == [model_server.MODEL]
        process.stdin.close()
        assert (ready, process.wait(timeout=5)) == ("ready", 0)
