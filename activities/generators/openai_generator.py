"""A program from a model behind any OpenAI-compatible endpoint."""

import asyncio
import os
from typing import Any
from urllib.parse import urlsplit

import openai
import structlog
from openai.types.chat.completion_create_params import ResponseFormat
from pydantic import ValidationError

from activities.generators import endpoint_errors
from activities.generators.answers import Answer, NoProgramError, read_answer
from activities.generators.completion import Completion
from activities.generators.endpoint_errors import generation_error, without_key
from activities.generators.interface import GeneratedCode, GenerationTask
from activities.generators.prompt import build_messages
from runpermit.config import GenerationSettings
from runpermit.errors import ContainerConfigurationError
from runpermit.text import bounded, one_line

KEY_VARIABLE = "OPENAI_API_KEY"
_URL_VARIABLE = "OPENAI_BASE_URL"
_DEFAULT_ENDPOINT = "api.openai.com"
_EXPLANATION_BYTES = 2048
# Strict schemas require every field that they name.
_RESPONSE_FORMAT: ResponseFormat = {
    "type": "json_schema",
    "json_schema": {
        "name": "program",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "description": "the whole Python program, no fences"},
                "explanation": {"type": "string", "description": "what it does, in two sentences"},
            },
            "required": ["code", "explanation"],
            "additionalProperties": False,
        },
    },
}
_log = structlog.get_logger(__name__)


class OpenAIGenerator:
    """One call of the model for each program; structured output where the endpoint has it.

    Raises ContainerConfigurationError where generation.model or the key is missing, or where
    generation.base_url is no HTTP address. Nothing is retried here: that is Temporal's part.
    """

    def __init__(self, settings: GenerationSettings) -> None:
        self._model = _required_model(settings)
        self._key = _required_key()
        self._base_url, self._endpoint = _address(settings)
        self._temperature = settings.temperature
        self._timeout = settings.timeout
        # Learnt from the endpoint; it changes the request's form, never what is asked.
        self._structured = True

    async def generate(self, task: GenerationTask) -> GeneratedCode:
        """The model's program for `task`.

        Raises ServiceUnavailableError for 408, 429, 5xx, timeouts and lost connections,
        ContainerConfigurationError for other HTTP errors, and CodeGenerationError for an answer
        that is empty, refused, cut off, filtered or no Python, or a prompt that is too long.
        """
        # A client per call: programs are minutes apart, and idle connections go stale.
        client = openai.AsyncOpenAI(
            api_key=self._key, base_url=self._base_url, timeout=self._timeout, max_retries=0
        )
        async with client:
            try:
                # The client's own timeout starts again with every piece that arrives.
                async with asyncio.timeout(self._timeout):
                    completion = await self._ask(client, task)
            # Causes are cut off: their texts are the endpoint's, and may hold the key.
            except openai.APIStatusError as error:
                raise endpoint_errors.status_error(error, self._endpoint, self._key, task) from None
            except openai.APIConnectionError as error:
                raise endpoint_errors.connection_error(
                    error, self._endpoint, self._timeout
                ) from None
            except TimeoutError:
                raise endpoint_errors.timeout_error(self._endpoint, self._timeout) from None
            except ValidationError:
                raise ContainerConfigurationError(
                    f"{self._endpoint} answered with something that is no chat completion. "
                    "Correct generation.base_url: it ends in /v1 with most servers."
                ) from None
        return self._program(completion, task)

    async def _ask(self, client: openai.AsyncOpenAI, task: GenerationTask) -> Completion:
        if self._structured:
            try:
                return await self._create(client, task, _RESPONSE_FORMAT)
            except openai.APIStatusError as error:
                if not endpoint_errors.refuses_structured_output(error):
                    raise
                self._structured = False
                _log.info("the endpoint has no structured output", endpoint=self._endpoint)
        return await self._create(client, task, openai.omit)

    async def _create(
        self,
        client: openai.AsyncOpenAI,
        task: GenerationTask,
        response_format: ResponseFormat | openai.Omit,
    ) -> Completion:
        is_structured = not isinstance(response_format, openai.Omit)
        response = await client.chat.completions.with_raw_response.create(
            model=self._model,
            messages=build_messages(task, structured=is_structured),
            temperature=openai.omit if self._temperature is None else self._temperature,
            response_format=response_format,
        )
        return Completion.model_validate_json(response.content)

    def _program(self, completion: Completion, task: GenerationTask) -> GeneratedCode:
        if not completion.choices:
            raise generation_error("the answer is empty", task)
        choice = completion.choices[0]
        message = choice.message
        if message.refusal:
            words = one_line(without_key(message.refusal, self._key), 500)
            raise generation_error(f"it refused: {words}", task)
        if choice.finish_reason == "length":
            raise generation_error(
                "the answer was cut off at the token limit; ask for a shorter program", task
            )
        if choice.finish_reason == "content_filter":
            raise generation_error("the endpoint's content filter withheld the answer", task)
        content = message.content or ""
        try:
            answer = read_answer(content)
        except NoProgramError as error:
            said = one_line(without_key(content, self._key), 200)
            quote = f". It says: {said}" if said else ""
            raise generation_error(f"{error}{quote}", task) from None
        return GeneratedCode(code=answer.code, metadata=self._metadata(completion, answer))

    def _metadata(self, completion: Completion, answer: Answer) -> dict[str, Any]:
        told = {"model": completion.model, "response_id": completion.id}
        metadata: dict[str, Any] = {
            "generator": "openai",
            "endpoint": self._endpoint,
            "structured_output": self._structured,
        }
        for name, text in told.items():
            metadata[name] = one_line(without_key(text or "", self._key), 200)
        if completion.usage is not None:
            metadata |= completion.usage.model_dump(exclude_none=True)
        if answer.explanation:
            words = without_key(answer.explanation, self._key)
            metadata["explanation"] = bounded(words, _EXPLANATION_BYTES)
        return metadata


def _required_model(settings: GenerationSettings) -> str:
    if not settings.model:
        raise ContainerConfigurationError(
            "generation.model is not set: name the model that the endpoint shall use."
        )
    return settings.model


def _required_key() -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise ContainerConfigurationError(
            f"The environment variable {KEY_VARIABLE} is not set. Set it where the worker starts; "
            "any value will do for a server that needs no key."
        )
    if not (key.isascii() and key.isprintable()):
        raise ContainerConfigurationError(
            f"The environment variable {KEY_VARIABLE} holds characters that no HTTP header can "
            "carry. Copy the key again."
        )
    return key


def _address(settings: GenerationSettings) -> tuple[str | None, str]:
    """The base URL, none for the client's own, and `host:port` as messages name it."""
    url = settings.base_url or os.environ.get(_URL_VARIABLE, "").strip() or None
    if url is None:
        return None, _DEFAULT_ENDPOINT
    name = "generation.base_url" if settings.base_url else _URL_VARIABLE
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in {"http", "https"} or parts.username is not None:
        raise ContainerConfigurationError(
            f"{name} is no address of an endpoint: expected is http://host:port/v1 or https, "
            "without a user's name or password."
        )
    return url, f"{host}:{port}" if port else host
