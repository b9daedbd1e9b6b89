"""One message to an execution as it arrived, and the decision that it carries."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from runpermit.models import Assurance, Decision, DecisionWay, Verb
from runpermit.models.wire import Undecodable
from runpermit.text import one_line

_FIELDS = tuple(Decision.model_fields)
_EXAMPLE = '{"comment": "smaller steps"}'


@dataclass(frozen=True)
class Author:
    """Who answered the question with this `sha256`: a name that was proven.

    `key`: the fingerprint of what signed, where it was signed.
    """

    name: str
    assurance: Assurance
    sha256: str
    key: str | None = None


@dataclass(frozen=True)
class Incoming:
    """One signal or update as it arrived; `revision` comes from the name of the signal.

    `verb` is None where an update named none. `author` was proven to have sent it; `unproven` says
    why nobody was.
    """

    verb: Verb | None
    arguments: tuple[Any, ...]
    at: datetime
    via: DecisionWay
    revision: str | None = None
    author: Author | None = None
    unproven: str = ""


def with_comment(arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """`arguments` with the `reason` that somebody gave as their comment; None where there is none.

    Whoever refuses has a reason, and `runpermit reject` asks for one.
    """
    said = arguments[0] if len(arguments) == 1 else None
    if not isinstance(said, dict) or len(said) > len(Decision.model_fields):
        return None
    if "reason" not in said or "comment" in said:
        return None
    return ({"comment" if field == "reason" else field: said[field] for field in said},)


def read(message: Incoming) -> tuple[Decision, str | None]:
    """The decision in the arguments, and why there is none that can be used."""
    nothing = Decision.model_construct()
    if message.verb is None:
        return nothing, f"it names no decision: say one of {', '.join(Verb)}"
    if not message.arguments:
        return nothing, None
    if len(message.arguments) > 1:
        return nothing, f"{len(message.arguments)} arguments, one Decision is expected"
    argument = message.arguments[0]
    # Before anything looks at all of it: a stranger chose its size.
    if isinstance(argument, dict) and len(argument) > len(Decision.model_fields):
        argument = Undecodable(f"it has {len(argument)} fields")
    if isinstance(argument, Undecodable):
        return nothing, one_line(f"no valid Decision: {argument.reason}", 300)
    try:
        # Strict, but JSON has no enum: validate what JSON can say.
        decision = argument if isinstance(argument, Decision) else Decision.model_validate(argument)
    except ValidationError as invalid:
        return nothing, one_line(f"no valid Decision: {_fault(invalid)}", 300)
    except RecursionError:
        return nothing, "no valid Decision: nested too deeply"
    if decision.decision is not None and decision.decision is not message.verb:
        return nothing, f"it says {decision.decision}, but was sent as {message.verb}"
    return decision, None


def _fault(invalid: ValidationError) -> str:
    """What is wrong with it, for whoever typed it."""
    first = invalid.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "extra_forbidden":
            return f"it has a field {one_line(field, 60)}, which is none of {', '.join(_FIELDS)}"
        case "value_error":
            return str(first["ctx"]["error"])
        case "string_too_long":
            return f"{field} has over {first['ctx']['max_length']} characters"
        case "string_too_short":
            return f"{field} is empty"
        case "string_pattern_mismatch":
            return f"{field} is not 64 digits of 0-9 and a-f"
        case "enum":
            return f"{field} is none of {', '.join(Verb)}"
        case _:
            what = f"{field} is no text" if field in _FIELDS else "it is no object"
            return f"{what}; expected is such as {_EXAMPLE}"
