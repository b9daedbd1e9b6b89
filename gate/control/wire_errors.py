"""How a refusal crosses the control socket, and comes back as the very exception."""

from typing import Any

from runpermit import errors
from runpermit.errors import PythonExecutorException, ServiceUnavailableError
from runpermit.serialization import make_json_serializable

_KINDS: dict[str, type[PythonExecutorException]] = {
    kind.__name__: kind
    for kind in (
        errors.DecisionRefusedError,
        errors.PlanOutdatedError,
        errors.ServiceUnavailableError,
        errors.ContainerConfigurationError,
        errors.WorkflowError,
        errors.CodeAnalysisError,
    )
}


def told(error: PythonExecutorException) -> dict[str, Any]:
    """`error` as the answer to a request."""
    fields = {name: getattr(error, name) for name in error.wire_fields if name != "message"}
    names = (kind.__name__ for kind in type(error).__mro__)
    return {
        "error": error.message,
        "category": error.category,
        "kind": next((name for name in names if name in _KINDS), None),
        "fields": make_json_serializable(fields),
        "technical_details": make_json_serializable(error.technical_details),
    }


def understood(answer: dict[str, Any]) -> PythonExecutorException:
    """The exception that an answer with an `error` means; without a known kind, its category's."""
    message = f"The gate refused: {answer['error']}"
    details, fields = answer.get("technical_details"), answer.get("fields")
    details = details if isinstance(details, dict) else {}
    kind = _KINDS.get(str(answer.get("kind")))
    if kind is not None and isinstance(fields, dict):
        try:
            return kind(message, **fields, technical_details=details)
        except TypeError:  # another version's fields
            pass
    match answer.get("category"):
        case "configuration":
            return errors.ContainerConfigurationError(message, details)
        case "workflow":
            return errors.WorkflowError(message, "applying", technical_details=details)
        case _:
            return ServiceUnavailableError(message, "gate", technical_details=details)
