"""One message to an execution as it arrived, and the decision that it carries."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from runpermit.models import Assurance, Decision, DecisionWay, Verb
from runpermit.models.wire import Undecodable
from runpermit.text import one_line


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
        first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        return nothing, one_line(f"no valid Decision: {field} {first['msg']}", 300)
    except RecursionError:
        return nothing, "no valid Decision: nested too deeply"
    if decision.decision is not None and decision.decision is not message.verb:
        return nothing, f"it says {decision.decision}, but was sent as {message.verb}"
    return decision, None
