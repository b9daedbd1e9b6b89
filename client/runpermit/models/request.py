"""What an agent asks for."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import FailFast, Field, StringConstraints, ValidationError

from runpermit.errors import InvalidRequestError
from runpermit.limits.entry import Condition
from runpermit.models.restore import RestorePolicy
from runpermit.models.wire import (
    CODE_BYTES,
    REQUEST_BYTES,
    Message,
    Undecodable,
    canonical_sha256,
    not_json,
)
from runpermit.text import one_line

Name = Annotated[
    str, StringConstraints(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}\z", max_length=64)
]
Text = Annotated[str, StringConstraints(min_length=1)]
Person = Annotated[str, StringConstraints(min_length=1, max_length=128)]

MAX_GUARDS = 50


class PlanningMode(StrEnum):
    """Who plans the code: its generator, or the capability that asks for it."""

    GENERATOR_DRIVEN = "generator_driven"
    CAPABILITY_DRIVEN = "capability_driven"


class AnalysisPhase(Message):
    """One phase of a structured plan."""

    phase: str
    subtasks: Annotated[list[str], FailFast()]
    output_state: str


class StructuredPlan(Message):
    """How a capability wants the task done; not the plan that an operator approves."""

    phases: Annotated[list[AnalysisPhase], FailFast()]
    result_schema: dict[str, Any]
    domain_guidance: str | None = None


class PythonExecutionRequest(Message):
    """One task for Runpermit.

    `retries` is the number of programs tried, 1 to 20. `approved_code` skips generation and earns
    no permit by its name. `execution_folder_path` is set by the service and refused in a request.
    `timeout_seconds` bounds the run of the code; the deployment's own limit caps it. `guards` must
    hold while the code writes, beside the facility's. `restore`: whether a person is asked to put
    back what a failed run left changed.
    """

    user_query: Text
    task_objective: Text
    expected_results: dict[str, Any] = {}
    capability_prompts: Annotated[list[str], FailFast()] = []
    execution_folder_name: Name
    retries: int = Field(default=3, ge=1, le=20, strict=True)
    planning_mode: PlanningMode = PlanningMode.GENERATOR_DRIVEN
    structured_plan: StructuredPlan | None = None
    capability_context_data: dict[str, Any] | None = None
    approved_code: Text | None = None
    existing_execution_folder: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    session_context: dict[str, Any] | None = None
    execution_folder_path: str | None = None
    requester: Person | None = None
    guards: Annotated[list[Condition], Field(max_length=MAX_GUARDS), FailFast()] = []
    restore: RestorePolicy = RestorePolicy.ASK
    timeout_seconds: Annotated[float, Field(gt=0, strict=True)] | None = None

    @property
    def sha256(self) -> str:
        """What makes two requests the same."""
        return canonical_sha256(self)


def accept_request(value: Any) -> PythonExecutionRequest:  # noqa: ANN401
    """The request in `value`, whatever its shape: the one check of client and workflow.

    Raises InvalidRequestError that names the field, the reason and what to do.
    """
    if isinstance(value, PythonExecutionRequest):
        value = value.model_dump()
    if not isinstance(value, dict):
        raise InvalidRequestError(
            "The input is no request: one JSON object with the fields of PythonExecutionRequest "
            f"is expected, this is {_kind(value)}.",
            "request",
        )
    unknown = [str(name) for name in value if name not in PythonExecutionRequest.model_fields]
    if unknown:
        raise _unknown(unknown)
    if (found := not_json(value)) is not None:
        place, reason = found
        raise InvalidRequestError(f"{one_line(place, 200)}: {reason}.", place)
    try:
        request = PythonExecutionRequest.model_validate(value)
        size = len(request.model_dump_json().encode())
    except ValidationError as invalid:
        raise _named(invalid) from None
    except ValueError as unencodable:
        raise InvalidRequestError(f"The request is no UTF-8: {unencodable}", "request") from None
    _check_sizes(request, size)
    if request.execution_folder_path is not None:
        raise InvalidRequestError(
            "execution_folder_path is set by the service. Leave it out; to continue in a folder, "
            "name it in existing_execution_folder.",
            "execution_folder_path",
        )
    return request


def _unknown(names: list[str]) -> InvalidRequestError:
    shown = ", ".join(one_line(name, 100) for name in names[:10])
    return InvalidRequestError(
        f"{shown}: no such field in PythonExecutionRequest. Remove it or correct its name.",
        one_line(names[0], 100),
    )


def _check_sizes(request: PythonExecutionRequest, size: int) -> None:
    if request.approved_code is not None and len(request.approved_code.encode()) > CODE_BYTES:
        raise InvalidRequestError(
            f"approved_code is over {CODE_BYTES // 1024} KB. Put data into a file of the "
            "execution folder instead of into the code.",
            "approved_code",
        )
    if size > REQUEST_BYTES:
        largest = max(
            type(request).model_fields,
            key=lambda name: len(request.model_dump_json(include={name}).encode()),
        )
        raise InvalidRequestError(
            f"The request has {size // 1024} KB, {REQUEST_BYTES // 1024} KB are allowed; the "
            f"largest field is {largest}. Put the data into a folder under the executions root "
            "and name that folder as existing_execution_folder.",
            largest,
        )


def _named(invalid: ValidationError) -> InvalidRequestError:
    errors = invalid.errors(include_url=False, include_context=False, include_input=False)
    fields = [".".join(str(part) for part in error["loc"]) or "request" for error in errors]
    lines = [
        f"{one_line(field, 100)}: {one_line(_hint(error['type'], error['msg']), 300)}"
        for field, error in list(zip(fields, errors, strict=True))[:10]
    ]
    return InvalidRequestError("The request is refused. " + "; ".join(lines), fields[0])


def _hint(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "no such field in PythonExecutionRequest. Remove it or correct its name."
    if kind == "missing":
        return "is required."
    if kind == "string_pattern_mismatch":
        return (
            "only letters, digits, '_', '-' and '.' are allowed, at most 64, and the first is "
            "a letter, a digit or '_'."
        )
    return message


def _kind(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, Undecodable):
        return f"not readable: {value.reason}"
    return "nothing" if value is None else f"a {type(value).__name__}"
