"""One question after the other, and decisions of every kind in every order, against a plain model.

The model knows what each message was truly meant for and who truly sent it. The state machine knows
the messages alone, and must come to the same.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from hypothesis import given, note, settings
from hypothesis import strategies as st

from runpermit.models import ApprovalRule, Assurance, DecisionRecord, Verb
from tests.workflows.senders import KEYS, SELDOM, Sent, by_anybody, by_somebody_known, seldom
from workflows.approval import RESTORE_VERBS, YES, Claim, Desk, Question, claim_in, decide
from workflows.incoming import Author, Incoming

AT = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
STEPS = 60
MOST = 6
DIGITS = ["7f3a9c", "a1b2c3", "0ff1ce", "c0ffee"]


class Execution:
    """A desk as the workflow moves it; what is known of it besides stands in the model."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        assurance = chance.choice([*Assurance, Assurance.SIGNED])
        persons = chance.choice([1, 2])
        approvers = chance.choice([[], ["jd", "mk", "kr"], ["kr", "agent"]])
        requesters = chance.choice([frozenset(), frozenset({"agent", "mk"})])
        claimed = assurance is Assurance.CLAIMED  # more is refused in the settings
        self.rule = ApprovalRule(assurance=assurance) if claimed else ApprovalRule(
            assurance=assurance, persons=persons, approvers=approvers
        )  # fmt: skip
        self.requesters = frozenset() if claimed else requesters
        self.first_run = chance.choice([True, False])
        # Two of them may begin alike.
        self.sha256s = [f"{chance.choice(DIGITS)}{number:058x}" for number in range(MOST)]

        self.desk = Desk()
        self.looked_at: list[tuple[Sent, Incoming, Claim, int]] = []
        self.said = 0
        self.records: list[DecisionRecord] = []

        self.asked = 0
        self.restores = 0
        self.now: int | None = None
        self.question: Question
        self.yes: list[tuple[str | None, str | None]] = []
        self.answer: DecisionRecord | None = None
        self.stop: DecisionRecord | None = None
        self.ended = False

    def goes_on(self) -> None:
        """Something happens, mostly that somebody says something."""
        what: list[Callable[[], None]] = [self._moves, self._is_told_anything]
        if self.now is not None:
            what += [self._is_answered] * 2
        if self.looked_at:
            what.append(lambda: self._knows_whose_it_is(self.chance.randrange(len(self.looked_at))))
        self.chance.choice(what)()

    def _moves(self) -> None:
        """It heeds what was decided, no longer waits, ends, or asks what comes next."""
        if self.now is not None:
            if self.answer or self.stop or self.chance.random() < SELDOM:
                self.desk, self.now, self.answer = self.desk.cleared(), None, None
        elif self.asked == MOST:
            self.ends()
        elif self.stop or self.restores:
            self._ask_what_to_put_back()
        else:
            self._ask_to_approve(seldom(self.chance, ["it never ended"], [""]))

    def _ask_to_approve(self, problem: str) -> None:
        number = self.asked + 1
        self._ask(
            Question(
                number,
                self.sha256s[self.asked],
                plain_yes=number == 1 and self.first_run,
                problem=problem,
                rule=self.rule,
                requesters=self.requesters,
            )
        )

    def _ask_what_to_put_back(self) -> None:
        if self.chance.choice([True, False]):  # or it was a restore that was stopped
            self.desk, self.stop = replace(self.desk, stop=None), None
        self.restores += 1
        self._ask(
            Question(
                self.restores,
                self.sha256s[self.asked],
                plain_yes=self.restores == 1,
                verbs=RESTORE_VERBS,
                rule=self.rule.model_copy(update={"persons": 1}),
            )
        )

    def _ask(self, question: Question) -> None:
        self.desk = self.desk.asking(question)
        self.question, self.now, self.asked = question, self.asked, self.asked + 1
        self.yes, self.answer = [], None

    def _is_told_anything(self) -> None:
        now = self.asked - 1 if self.now is None else self.now
        self._say(by_anybody(self.chance, now, MOST))

    def _is_answered(self) -> None:
        verb = Verb.RESTORE if self.question.verbs == RESTORE_VERBS else Verb.APPROVE
        self._say(by_somebody_known(self.chance, self.now or 0, verb))

    def ends(self) -> None:
        """What is still looked at is told that it is too late."""
        self.desk = self.desk.closed()
        self.now, self.answer, self.ended = None, None, True
        while self.looked_at:
            self._knows_whose_it_is(0)
        self.check()

    def _say(self, message: Sent) -> None:
        """As `ApprovalDesk.receive` takes it."""
        note(f"{message}")
        self.said += 1
        arrived = self._arriving(message)
        claim = claim_in(self.desk, arrived)
        if claim is None:
            self._decided(message, arrived, self.now)
        else:
            assert self.now is not None
            assert claim.sha256 == self.sha256s[self.now]
            self.looked_at.append((message, arrived, claim, self.now))

    def _knows_whose_it_is(self, place: int) -> None:
        message, arrived, claim, of = self.looked_at.pop(place)
        found = self._author(message, of)
        if isinstance(found, str):
            arrived = replace(arrived, unproven=found)
        else:
            name, assurance, key = found
            arrived = replace(arrived, author=Author(name, assurance, claim.sha256, key))
        self._decided(message, arrived, of)

    def _arriving(self, message: Sent) -> Incoming:
        whole = self.sha256s[message.meant]
        says: dict[str, Any] = {
            "sha256": whole[: message.sha256] or None,
            "operator": message.typed,
            "signature": repr(message.signed) if message.signed else None,
        }
        said = {field: value for field, value in says.items() if value is not None}
        arguments = message.spoiled or ((said,) if said else ())
        return Incoming(message.verb, arguments, AT, message.via, whole[: message.digits] or None)

    def _author(self, message: Sent, of: int) -> tuple[str, Assurance, str | None] | str:
        """Who truly said it, as gate or server find out for question `of`; or why nobody did."""
        signed = message.signed
        if signed is None:
            name = message.principal
            return (name, Assurance.AUTHENTICATED, None) if name else "nobody"
        names = KEYS[signed.key]
        name = message.typed or (names[0] if len(names) == 1 else None)
        if name not in names or (signed.over, signed.verb) != (of, message.verb):
            return "it does not verify"
        return name, Assurance.SIGNED, signed.key

    def _decided(self, message: Sent, arrived: Incoming, of: int | None) -> None:
        before = self.desk
        self.desk, record = decide(before, arrived)
        self.records.append(record)
        assert record.verb is message.verb
        assert record.reason
        assert record.accepted == self._counts(message, of), record.reason
        if not record.accepted:
            assert replace(self.desk, records=()) == replace(before, records=())
        elif message.verb is Verb.STOP:
            self.stop = record
        elif message.verb is Verb.APPROVE:
            self.yes.append((record.operator, record.key))
            self.answer = record if len(self.yes) == self.rule.persons else None
        else:
            self.answer = record

    def _counts(self, message: Sent, of: int | None) -> bool:
        """Whether it is to count; `of`: what waited when it came."""
        verb, now = message.verb, self.now
        restoring = now is not None and self.question.verbs == RESTORE_VERBS
        if verb is Verb.STOP:
            return not self.ended and not restoring and self.stop is None
        if verb is None or now is None or now != of or self.ended or message.spoiled is not None:
            return False
        if self.answer or (self.stop and not restoring):
            return False
        if verb not in self.question.verbs or not self._is_meant_by(message, now):
            return False
        return verb not in YES or self._may_be_said_by_its_author(message, now)

    def _is_meant_by(self, message: Sent, now: int) -> bool:
        if message.digits not in {0, 6} or message.sha256 not in {0, 64}:
            return False
        by_sha256 = message.sha256 == 64
        by_signature = message.signed is not None and message.verb in YES
        if by_sha256 and message.meant != now:
            return False
        if message.digits:
            digits = self.sha256s[message.meant][:6]
            like_it = [n for n in range(now + 1) if self.sha256s[n].startswith(digits)]
            if now not in like_it or (like_it != [now] and not by_sha256 and not by_signature):
                return False
        named = message.digits or by_sha256 or by_signature
        return bool(named) or message.verb in {Verb.REJECT, Verb.LEAVE} or self.question.plain_yes

    def _may_be_said_by_its_author(self, message: Sent, now: int) -> bool:
        if message.verb is Verb.APPROVE and self.question.problem:
            return False
        if message.signed is None and self.rule.assurance is Assurance.CLAIMED:
            return True
        found = self._author(message, now)
        if isinstance(found, str):
            return False
        name, assurance, key = found
        if self.rule.assurance is Assurance.SIGNED and assurance is not Assurance.SIGNED:
            return False
        if self.rule.approvers and name not in self.rule.approvers:
            return False
        if message.verb is Verb.APPROVE and name in self.requesters:
            return False
        names, keys = {name for name, _ in self.yes}, {key for _, key in self.yes if key}
        return name not in names and key not in keys

    def check(self) -> None:
        """What is decided is what was said to it."""
        assert list(self.desk.records) == self.records
        assert (self.desk.answer, self.desk.stop) == (self.answer, self.stop)
        if self.answer is not None and self.answer.verb is Verb.APPROVE:
            approvals = self.desk.approvals
            assert [(said.operator, said.key) for said in approvals] == self.yes
            assert len(approvals) == self.rule.persons
            assert {said.number for said in approvals} == {self.question.number}


# What hypothesis draws piece by piece is mostly the same few pieces.
@given(st.randoms(use_true_random=True))
@settings(max_examples=500, deadline=None)
def test_each_question_is_answered_by_what_was_meant_for_it_and_by_who_may(chance: Random) -> None:
    execution = Execution(chance)
    for _ in range(STEPS):
        execution.goes_on()
        execution.check()
    execution.ends()
    assert len(execution.records) == execution.said
