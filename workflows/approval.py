"""The approval state machine, pure: decide(desk, message) → (desk, record)."""

from dataclasses import dataclass, replace

from runpermit.models import (
    ApprovalMode,
    ApprovalRule,
    Assurance,
    Decision,
    DecisionRecord,
    ExecutionMode,
    Verb,
)
from runpermit.models.approval import SHOWN_DIGITS
from runpermit.models.wire import MAX_DECISIONS, MAX_REVISIONS
from runpermit.text import one_line
from workflows.incoming import Author, Incoming, read

_APPROVAL = frozenset({Verb.APPROVE, Verb.REJECT, Verb.REVISE})
# Whoever says no is not asked what to.
_NO = frozenset({Verb.REJECT, Verb.LEAVE})
RESTORE_VERBS = frozenset({Verb.RESTORE, Verb.LEAVE})
YES = frozenset({Verb.APPROVE, Verb.RESTORE})
"""The answers that let something be written: whose they are must be proven as the rule says."""

_ANYBODY = ApprovalRule()
_NEEDED = {
    Assurance.AUTHENTICATED: "Temporal must name its author (approval.assurance = authenticated)",
    Assurance.SIGNED: "it must be signed (approval.assurance = signed): runpermit {verb} ID --sign",
}


@dataclass(frozen=True)
class Question:
    """One revision that waits.

    plain_yes: whether an answer that lets something be written counts without its sha256.
    verbs: what may be answered.
    problem: why its plan can't be approved, empty where it can.
    rule: whose yes counts, and how many of them.
    requesters: who asked for it, and may not approve it.
    """

    number: int
    sha256: str
    plain_yes: bool
    verbs: frozenset[Verb] = _APPROVAL
    problem: str = ""
    rule: ApprovalRule = _ANYBODY
    requesters: frozenset[str] = frozenset()

    @property
    def revision(self) -> str:
        """The digits that people see."""
        return self.sha256[:SHOWN_DIGITS]

    @property
    def is_of_restore(self) -> bool:
        """Whether it asks what becomes of a machine that was left changed."""
        return self.verbs == RESTORE_VERBS


@dataclass(frozen=True)
class Claim:
    """What must be proven before a yes to the question with this `sha256` can count.

    Without a `signature` the server itself must name the author.
    """

    sha256: str
    verb: Verb
    operator: str | None
    signature: str | None


@dataclass(frozen=True)
class Desk:
    """What waits, what was answered, and all that was ever said.

    `approvals` are those that the answer needs: one for each person. `asked`: the sha256 of each
    question before.
    """

    question: Question | None = None
    approvals: tuple[DecisionRecord, ...] = ()
    answer: DecisionRecord | None = None
    stop: DecisionRecord | None = None
    ended: bool = False
    records: tuple[DecisionRecord, ...] = ()
    asked: tuple[str, ...] = ()

    def asking(self, question: Question) -> "Desk":
        """From now on `question` waits: nothing that was said before answers it."""
        return replace(self.cleared(), question=question)

    def cleared(self) -> "Desk":
        """Nothing waits any more."""
        asked = self.asked if self.question is None else (*self.asked, self.question.sha256)
        return Desk(stop=self.stop, records=self.records, asked=asked)

    def closed(self) -> "Desk":
        """All is recorded from now on, and changes nothing."""
        return replace(self.cleared(), ended=True)


def approval_required(approval_mode: str, execution_mode: ExecutionMode) -> bool:
    """Whether a person must be asked first; an unknown mode means yes."""
    if execution_mode is ExecutionMode.READ_ONLY:
        return approval_mode not in {ApprovalMode.DISABLED, ApprovalMode.CONTROL_WRITES}
    return True


def claim_in(desk: Desk, message: Incoming) -> Claim | None:
    """What must be proven of `message` first; None where `decide` can judge it as it is."""
    decision, unusable = read(message)
    question = desk.question
    if question is None or message.verb not in YES:
        return None
    if _refused_anyway(desk, message, decision, unusable) is not None:
        return None
    by_server = question.rule.assurance is Assurance.AUTHENTICATED
    if decision.signature is None and not by_server:
        return None
    return Claim(question.sha256, message.verb, decision.operator, decision.signature)


def decide(desk: Desk, message: Incoming) -> tuple[Desk, DecisionRecord]:
    """What `message` changes. Never raises: whatever is unclear is recorded and changes nothing.

    But a stop counts with any payload: nobody who stops a machine is asked to spell. Where nothing
    runs any more it does not, or a second one would take away the question what to put back.
    """
    decision, unusable = read(message)
    refusal = (
        _refused_anyway(desk, message, decision, unusable)
        or _stopped(desk, message)
        or _unproven(desk, message, decision)
    )
    question, author = desk.question, message.author
    record = DecisionRecord(
        verb=message.verb,
        at=message.at,
        via=message.via,
        accepted=refusal is None,
        reason=refusal or _counted(desk, message.verb),
        operator=author.name if author else decision.operator,
        comment=_comment(decision, refusal) or (unusable if message.verb is Verb.STOP else None),
        sha256=decision.sha256,
        revision=message.revision or (question.revision if question and not refusal else None),
        number=question.number if question else None,
        assurance=author.assurance if author else Assurance.CLAIMED,
        signature=decision.signature if author and refusal is None else None,
        key=author.key if author else None,
    )
    desk = replace(desk, records=_kept((*desk.records, record)))
    if refusal is None:
        if message.verb is Verb.STOP:
            desk = replace(desk, stop=record)
        elif message.verb is Verb.APPROVE and _missing(desk):
            desk = replace(desk, approvals=(*desk.approvals, record))
        else:
            desk = replace(desk, answer=record, approvals=(*desk.approvals, record))
    return desk, record


def _comment(decision: Decision, refusal: str | None) -> str | None:
    """Whole where it counted; cut elsewhere, or strangers could outgrow Temporal's 2 MiB."""
    if not refusal or decision.comment is None:
        return decision.comment
    return one_line(decision.comment[:300], 300)


def _refused_anyway(
    desk: Desk, message: Incoming, decision: Decision, unusable: str | None
) -> str | None:
    """Why `message` does not count, whoever sent it; or None."""
    if desk.ended:
        return "the execution has ended"
    question = desk.question
    if message.verb is Verb.STOP:
        if question is not None and question.is_of_restore:
            return "nothing runs any more, and the machine was left changed: say restore or leave"
        return "a stop was already received" if desk.stop else None
    if unusable:
        return unusable
    if question is None:
        return _too_late(desk)
    if desk.answer is not None:
        return f"revision {question.revision} was already decided: {desk.answer.verb}"
    return (
        _stale(question, message, decision)
        or _ambiguous(desk, question, message, decision)
        or _inadmissible(question, message, decision)
    )


def _stopped(desk: Desk, message: Incoming) -> str | None:
    """Why a stop that came first leaves nothing to answer, or None.

    A claim is proven all the same: so do histories of before.
    """
    question = desk.question
    if question is None or question.is_of_restore or desk.stop is None:
        return None
    if message.verb is Verb.STOP:
        return None
    return f"the execution was stopped before revision {question.revision} was decided"


def _too_late(desk: Desk) -> str:
    """Nothing waits, and what the last decision was: a late no must not be taken for heard."""
    last = next((record for record in reversed(desk.records) if record.accepted), None)
    if last is None or last.verb is not Verb.APPROVE:
        return "nothing waits for a decision"
    who = last.who
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


def _ambiguous(desk: Desk, question: Question, message: Incoming, decision: Decision) -> str | None:
    """Why the digits in the name of its signal may mean a question before, or None."""
    if message.revision is None or _named(message, decision):
        return None
    if not any(sha256.startswith(message.revision) for sha256 in desk.asked):
        return None
    return (
        f"two of its questions have the digits {question.revision}: say {message.verb} with all "
        f"64 of sha256 {question.sha256}"
    )


def _named(message: Incoming, decision: Decision) -> str | None:
    """What names the whole sha256: a signature that lets something be written is over it."""
    return decision.sha256 or (decision.signature if message.verb in YES else None)


def _inadmissible(question: Question, message: Incoming, decision: Decision) -> str | None:
    named = message.revision or _named(message, decision)
    if message.verb not in question.verbs:
        return f"the question is another one: say {' or '.join(sorted(question.verbs))}"
    if message.verb is Verb.APPROVE and question.problem:
        return f"the plan is incomplete and can't be approved ({question.problem})"
    if message.verb not in _NO and not named and not question.plain_yes:
        return (
            f"it must name what it is for: {message.verb}-{question.revision}, or sha256. "
            "Without it only the first revision of a first run can be meant"
        )
    if message.verb is Verb.REVISE and question.number >= MAX_REVISIONS:
        return f"{MAX_REVISIONS} revisions were asked for, no more are made: approve or reject"
    return None


def _unproven(desk: Desk, message: Incoming, decision: Decision) -> str | None:
    """Why a yes is not of somebody whose yes counts, or None."""
    question, author = desk.question, message.author
    if question is None or message.verb not in YES:
        return None
    if message.unproven:
        return message.unproven
    rule = question.rule
    if author is None and decision.signature is not None:
        return "its signature was not verified"
    if author is None:
        needed = _NEEDED.get(rule.assurance)
        return needed and needed.format(verb=message.verb)
    if author.sha256 != question.sha256:
        return f"it was proven for another revision than {question.revision}, which waits"
    if not author.assurance.reaches(rule.assurance):
        return _NEEDED[rule.assurance].format(verb=message.verb)
    return _not_theirs(desk, question, author)


def _not_theirs(desk: Desk, question: Question, author: Author) -> str | None:
    """Why a yes does not count, though it is that of `author`; or None."""
    name = author.name
    if question.rule.approvers and name not in question.rule.approvers:
        return f"{name} may not say it: approval.approvers names others"
    if name in question.requesters:
        return (
            f"{name} asked for it, and another person must approve it "
            "(approval.requester_may_approve = false)"
        )
    for said in desk.approvals:
        if name == said.operator:
            return f"{name} has approved it already, and another person must (approval.persons)"
        if author.key is not None and author.key == said.key:
            return (
                f"it is by the key {author.key}, which has approved it already as {said.who}, and "
                "another person must (approval.persons)"
            )
    return None


def _missing(desk: Desk) -> int:
    """How many more approvals than one are needed."""
    persons = desk.question.rule.persons if desk.question else 1
    return persons - len(desk.approvals) - 1


def _counted(desk: Desk, verb: Verb | None) -> str:
    if verb is not Verb.APPROVE or not _missing(desk):
        return "counted"
    persons = _missing(desk) + len(desk.approvals) + 1
    return (
        f"counted: {len(desk.approvals) + 1} of {persons} approvals, another person must approve it"
    )


def _kept(records: tuple[DecisionRecord, ...]) -> tuple[DecisionRecord, ...]:
    """At most MAX_DECISIONS records: the oldest that did not count go first."""
    if len(records) <= MAX_DECISIONS:
        return records
    oldest = next((i for i, record in enumerate(records) if not record.accepted), 0)
    return records[:oldest] + records[oldest + 1 :]
