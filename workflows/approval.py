"""The approval state machine, pure: decide(desk, message) → (desk, record)."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from runpermit.models import (
    ApprovalMode,
    Decision,
    DecisionRecord,
    DecisionWay,
    ExecutionMode,
    Verb,
)
from runpermit.models.approval import SHOWN_DIGITS
from runpermit.models.wire import MAX_DECISIONS, MAX_REVISIONS, Undecodable
from runpermit.text import one_line

_APPROVAL = frozenset({Verb.APPROVE, Verb.REJECT, Verb.REVISE})
# Whoever says no is not asked what to.
_NO = frozenset({Verb.REJECT, Verb.LEAVE})
RESTORE_VERBS = frozenset({Verb.RESTORE, Verb.LEAVE})


@dataclass(frozen=True)
class Question:
    """One revision that waits.

    plain_yes: whether an answer that lets something be written counts without its sha256.
    verbs: what may be answered.
    problem: why its plan can't be approved, empty where it can.
    """

    number: int
    sha256: str
    plain_yes: bool
    verbs: frozenset[Verb] = _APPROVAL
    problem: str = ""

    @property
    def revision(self) -> str:
        """The digits that people see."""
        return self.sha256[:SHOWN_DIGITS]


@dataclass(frozen=True)
class Incoming:
    """One signal or update as it arrived; `revision` comes from the name of the signal.

    `verb` is None where an update named none.
    """

    verb: Verb | None
    arguments: tuple[Any, ...]
    at: datetime
    via: DecisionWay
    revision: str | None = None


@dataclass(frozen=True)
class Desk:
    """What waits, what was answered, and all that was ever said."""

    question: Question | None = None
    answer: DecisionRecord | None = None
    stop: DecisionRecord | None = None
    ended: bool = False
    records: tuple[DecisionRecord, ...] = ()


def approval_required(approval_mode: str, execution_mode: ExecutionMode) -> bool:
    """Whether a person must be asked first; an unknown mode means yes."""
    if execution_mode is ExecutionMode.READ_ONLY:
        return approval_mode not in {ApprovalMode.DISABLED, ApprovalMode.CONTROL_WRITES}
    return True


def decide(desk: Desk, message: Incoming) -> tuple[Desk, DecisionRecord]:
    """What `message` changes. Never raises: whatever is unclear is recorded and changes nothing.

    But a stop counts with any payload: nobody who stops a machine is asked to spell. Where nothing
    runs any more it does not, or a second one would take away the question what to put back.
    """
    decision, unusable = _read(message)
    refusal = _refusal(desk, message, decision, unusable)
    question = desk.question
    record = DecisionRecord(
        verb=message.verb,
        at=message.at,
        via=message.via,
        accepted=refusal is None,
        reason=refusal or "counted",
        operator=decision.operator,
        comment=_comment(decision, refusal) or (unusable if message.verb is Verb.STOP else None),
        sha256=decision.sha256,
        revision=message.revision or (question.revision if question and not refusal else None),
        number=question.number if question else None,
    )
    desk = replace(desk, records=_kept((*desk.records, record)))
    if refusal is None:
        if message.verb is Verb.STOP:
            desk = replace(desk, stop=record)
        else:
            desk = replace(desk, answer=record)
    return desk, record


def _read(message: Incoming) -> tuple[Decision, str | None]:
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


def _comment(decision: Decision, refusal: str | None) -> str | None:
    """Whole where it counted; cut elsewhere, or strangers could outgrow Temporal's 2 MiB."""
    if not refusal or decision.comment is None:
        return decision.comment
    return one_line(decision.comment[:300], 300)


def _refusal(desk: Desk, message: Incoming, decision: Decision, unusable: str | None) -> str | None:
    """Why `message` does not count, or None."""
    if desk.ended:
        return "the execution has ended"
    question = desk.question
    if message.verb is Verb.STOP:
        if question is not None and question.verbs == RESTORE_VERBS:
            return "nothing runs any more, and the machine was left changed: say restore or leave"
        return "a stop was already received" if desk.stop else None
    if unusable:
        return unusable
    if question is None:
        return _too_late(desk)
    if desk.answer is not None:
        return f"revision {question.revision} was already decided: {desk.answer.verb}"
    return _stale(question, message, decision) or _inadmissible(question, message, decision)


def _too_late(desk: Desk) -> str:
    """Nothing waits, and what the last decision was: a late no must not be taken for heard."""
    last = next((record for record in reversed(desk.records) if record.accepted), None)
    if last is None or last.verb is not Verb.APPROVE:
        return "nothing waits for a decision"
    who = last.operator or "an unnamed operator"
    return (
        f"nothing waits for a decision: revision {last.revision} was approved by {who} at "
        f"{last.at:%H:%M:%S} UTC and may be running. To end it, send stop"
    )


def _stale(question: Question, message: Incoming, decision: Decision) -> str | None:
    named = message.revision
    if named is not None and named != question.revision:
        return f"it is for revision {named}, but {question.revision} waits"
    if decision.sha256 is not None and decision.sha256 != question.sha256:
        return f"its sha256 is not that of revision {question.revision}, which waits"
    return None


def _inadmissible(question: Question, message: Incoming, decision: Decision) -> str | None:
    named = message.revision is not None or decision.sha256 is not None
    if message.verb not in question.verbs:
        return f"the question is another one: say {' or '.join(sorted(question.verbs))}"
    if message.verb is Verb.APPROVE and question.problem:
        return f"the plan is incomplete and can't be approved ({question.problem})"
    if decision.signature is not None:
        return "signatures are not verified in this version: a decision with one is refused"
    if message.verb not in _NO and not named and not question.plain_yes:
        return (
            f"it must name what it is for: {message.verb}-{question.revision}, or sha256. "
            "Without it only the first revision of a first run can be meant"
        )
    if message.verb is Verb.REVISE and question.number >= MAX_REVISIONS:
        return f"{MAX_REVISIONS} revisions were asked for, no more are made: approve or reject"
    return None


def _kept(records: tuple[DecisionRecord, ...]) -> tuple[DecisionRecord, ...]:
    """At most MAX_DECISIONS records: the oldest that did not count go first."""
    if len(records) <= MAX_DECISIONS:
        return records
    oldest = next((i for i, record in enumerate(records) if not record.accepted), 0)
    return records[:oldest] + records[oldest + 1 :]
