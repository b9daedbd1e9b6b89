"""What an endpoint's failures mean for an execution: wait, mend a setting, or ask again."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import openai

from activities.generators.interface import GenerationTask
from runpermit.errors import (
    CodeGenerationError,
    ContainerConfigurationError,
    PythonExecutorException,
    ServiceUnavailableError,
)
from runpermit.text import one_line

MAX_RETRY_AFTER = 600.0  # s
# An endpoint may echo the key. What is shorter is no secret ("x" for a server that needs none).
_SECRET_LENGTH = 8
_SETTING_AT_FAULT: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "The key was refused: correct the environment variable OPENAI_API_KEY",
    HTTPStatus.FORBIDDEN: (
        "The key may not use this model: correct OPENAI_API_KEY or generation.model"
    ),
    HTTPStatus.NOT_FOUND: (
        "There is no such model or address: correct generation.model or generation.base_url "
        "(it ends in /v1 with most servers)"
    ),
}
_NO_RESPONSE_FORMAT = ("response_format", "json_schema", "structured output", "guided_json")
_ASK_AGAIN = (
    "content_filter",
    "content_policy",
    "content management policy",
    "context_length",
    "context length",
    "context size",
    "context window",
    "maximum context",
)


def without_key(text: str, key: str) -> str:
    """`text` with the key blotted out."""
    return text.replace(key, "[key]") if len(key) >= _SECRET_LENGTH else text


def refuses_structured_output(error: openai.APIStatusError) -> bool:
    """Whether the endpoint does not know `response_format`, so that plain text must do."""
    if error.status_code not in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
        return False
    return _mentions(error, _NO_RESPONSE_FORMAT)


def generation_error(reason: str, task: GenerationTask) -> CodeGenerationError:
    """The model gave no usable program, for `reason`; earlier failures are in `error_chain`."""
    return CodeGenerationError(
        f"No program from the model: {reason}.",
        task.attempt,
        [one_line(error.error_message, 500) for error in task.errors],
    )


def status_error(
    error: openai.APIStatusError, endpoint: str, key: str, task: GenerationTask
) -> PythonExecutorException:
    """An HTTP error as one of ours: its category, and the setting that mends it."""
    words = one_line(without_key(error.message, key), 500)
    status = error.status_code
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS} or status >= 500:  # noqa: PLR2004
        return ServiceUnavailableError(
            f"{endpoint} is not available for now: {words}",
            endpoint,
            retry_after(error.response.headers.get("retry-after")),
        )
    if _mentions(error, _ASK_AGAIN):
        return generation_error(f"{endpoint} refused the request: {words}", task)
    mend = _SETTING_AT_FAULT.get(
        status, "Check generation.base_url, generation.model and generation.temperature"
    )
    return ContainerConfigurationError(f"{mend}. {endpoint} answered: {words}")


def connection_error(
    error: openai.APIConnectionError, endpoint: str, timeout: float
) -> ServiceUnavailableError:
    """No connection, one that broke, or no answer in `timeout` seconds."""
    if isinstance(error, openai.APITimeoutError):
        return timeout_error(endpoint, timeout)
    kind = type(error.__cause__ or error).__name__
    return ServiceUnavailableError(
        f"{endpoint} can't be reached or broke the connection ({kind}). "
        "Check generation.base_url and the network.",
        endpoint,
    )


def timeout_error(endpoint: str, timeout: float) -> ServiceUnavailableError:
    """No whole answer in `timeout` seconds."""
    return ServiceUnavailableError(
        f"{endpoint} gave no answer in {timeout:g} s (generation.timeout).", endpoint
    )


def retry_after(header: str | None) -> float | None:
    """Seconds to wait, from a Retry-After header in seconds or as a date; 0 to MAX_RETRY_AFTER.

    None where there is no header or it can't be read.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return None
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (aware - datetime.now(UTC)).total_seconds()
    return None if math.isnan(seconds) else min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _mentions(error: openai.APIStatusError, words: tuple[str, ...]) -> bool:
    told = f"{error.message} {error.code} {error.param} {error.type}".lower()
    return any(word in told for word in words)
