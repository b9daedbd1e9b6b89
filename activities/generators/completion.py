"""What is read of a chat completion; the client's own models take whatever a server sends."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator


def _or_none(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401
    try:
        return validate(value)
    except ValidationError:
        return None


# For what is nice to know: an odd value there costs nobody a program.
_IfUsual = WrapValidator(_or_none)
_Count = Annotated[int | None, Field(strict=True, ge=0, lt=2**53), _IfUsual]
_Told = Annotated[str | None, _IfUsual]


class ReplyMessage(BaseModel):
    """The model's words, or its refusal."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """One answer, and why it ended."""

    message: ReplyMessage
    finish_reason: _Told = None


class Usage(BaseModel):
    """Tokens that the call took."""

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    total_tokens: _Count = None


class Completion(BaseModel):
    """A chat completion. Servers differ in all but the choices."""

    id: _Told = None
    model: _Told = None
    choices: list[Choice]
    usage: Annotated[Usage | None, _IfUsual] = None
