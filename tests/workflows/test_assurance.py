"""Whose yes counts: every rule of assurance, as pure decisions in every order."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runpermit.models import ApprovalRule, Assurance, DecisionWay, Verb
from workflows.approval import RESTORE_VERBS, YES, Claim, Desk, Question, claim_in, decide
from workflows.incoming import Author, Incoming

AT = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
SHA = "7f3a9c" + "0" * 58
OTHER = "a1b2c3" + "0" * 58
SIGNED = ApprovalRule(assurance=Assurance.SIGNED)
TWO = ApprovalRule(assurance=Assurance.SIGNED, persons=2)
AUTHENTICATED = ApprovalRule(assurance=Assurance.AUTHENTICATED)


def asked(rule: ApprovalRule, **fields: Any) -> Desk:
    return Desk(question=Question(1, SHA, plain_yes=True, rule=rule, **fields))


def said(
    verb: Verb, by: str | None = None, assurance: Assurance = Assurance.SIGNED, **fields: Any
) -> Incoming:
    arguments = ({"sha256": SHA, "signature": "s"},) if assurance is Assurance.SIGNED else ()
    author = Author(by, assurance, SHA) if by else None
    message = Incoming(verb, arguments, AT, DecisionWay.SIGNAL, author=author)
    return replace(message, **fields)


def test_an_unsigned_yes_does_not_count_where_it_must_be_signed() -> None:
    bare = Incoming(Verb.APPROVE, (), AT, DecisionWay.SIGNAL, "7f3a9c")
    desk, record = decide(asked(SIGNED), bare)
    assert not record.accepted
    assert "must be signed" in record.reason
    assert "runpermit approve ID --sign" in record.reason
    assert desk.answer is None


@pytest.mark.parametrize("verb", [Verb.REJECT, Verb.REVISE, Verb.STOP])
def test_a_no_counts_from_anyone_at_once(verb: Verb) -> None:
    no = Incoming(verb, (), AT, DecisionWay.SIGNAL, "7f3a9c")
    assert claim_in(asked(TWO), no) is None
    assert decide(asked(TWO), no)[1].accepted


def test_a_restore_needs_what_an_approval_needs_and_leaving_does_not() -> None:
    desk = asked(SIGNED, verbs=RESTORE_VERBS)
    assert not decide(desk, Incoming(Verb.RESTORE, (), AT, DecisionWay.SIGNAL))[1].accepted
    assert decide(desk, Incoming(Verb.LEAVE, (), AT, DecisionWay.SIGNAL))[1].accepted
    answered, record = decide(desk, said(Verb.RESTORE, "jd"))
    assert answered.answer == record
    assert (record.operator, record.assurance, record.signature) == ("jd", "signed", "s")


@pytest.mark.parametrize("rule", [ApprovalRule(), AUTHENTICATED, SIGNED])
def test_a_signature_that_nobody_verified_counts_nowhere(rule: ApprovalRule) -> None:
    assert not decide(asked(rule), said(Verb.APPROVE))[1].accepted
    wrong = said(Verb.APPROVE, unproven="its key may not sign")
    assert decide(asked(rule), wrong)[1].reason == "its key may not sign"


def test_a_signature_is_more_than_a_principal_and_not_the_other_way_round() -> None:
    assert decide(asked(AUTHENTICATED), said(Verb.APPROVE, "jd"))[1].accepted
    principal = said(Verb.APPROVE, "jwt:jd", Assurance.AUTHENTICATED)
    assert decide(asked(AUTHENTICATED), principal)[1].accepted
    assert not decide(asked(SIGNED), principal)[1].accepted
    claimed = said(Verb.APPROVE, None, Assurance.CLAIMED)
    assert "Temporal must name its author" in decide(asked(AUTHENTICATED), claimed)[1].reason


def test_what_was_proven_for_another_revision_does_not_count() -> None:
    old = said(
        Verb.APPROVE, author=Author("jd", Assurance.SIGNED, OTHER), arguments=({"signature": "s"},)
    )
    assert "another revision" in decide(asked(SIGNED), old)[1].reason


def test_two_persons_are_two_names() -> None:
    desk, first = decide(asked(TWO), said(Verb.APPROVE, "jd"))
    assert first.accepted
    assert "1 of 2" in first.reason
    assert desk.answer is None
    desk, again = decide(desk, said(Verb.APPROVE, "jd"))
    assert not again.accepted
    assert "jd has approved it already" in again.reason
    desk, second = decide(desk, said(Verb.APPROVE, "mk"))
    assert desk.answer == second
    assert [record.operator for record in desk.approvals] == ["jd", "mk"]


def test_two_persons_are_two_keys_where_keys_are_known() -> None:
    def by(name: str, key: str | None) -> Incoming:
        return said(Verb.APPROVE, author=Author(name, Assurance.SIGNED, SHA, key))

    half, _ = decide(asked(TWO), by("jd", "SHA256:a"))
    same, record = decide(half, by("jo", "SHA256:a"))
    assert not record.accepted
    assert "by the key SHA256:a, which has approved it already as jd" in record.reason
    assert (record.operator, record.key) == ("jo", "SHA256:a")
    assert same.answer is None
    assert decide(half, by("jo", "SHA256:b"))[0].answer is not None
    # Histories of workers that did not tell keys.
    half, _ = decide(asked(TWO), by("jd", None))
    assert decide(half, by("jo", None))[0].answer is not None


def test_after_one_of_two_a_no_ends_it() -> None:
    desk, _ = decide(asked(TWO), said(Verb.APPROVE, "jd"))
    desk, no = decide(desk, Incoming(Verb.REJECT, (), AT, DecisionWay.SIGNAL))
    assert desk.answer == no


def test_approvers_and_requesters() -> None:
    named = SIGNED.model_copy(update={"approvers": ["mk"]})
    assert "approval.approvers" in decide(asked(named), said(Verb.APPROVE, "jd"))[1].reason
    assert decide(asked(named), said(Verb.APPROVE, "mk"))[1].accepted
    own = asked(SIGNED, requesters=frozenset({"jd"}))
    assert "jd asked for it" in decide(own, said(Verb.APPROVE, "jd"))[1].reason
    assert decide(own, said(Verb.APPROVE, "mk"))[1].accepted


@pytest.mark.parametrize(
    ("desk", "message", "claim"),
    [
        (asked(SIGNED), said(Verb.APPROVE), Claim(SHA, Verb.APPROVE, None, "s")),
        (asked(ApprovalRule()), said(Verb.APPROVE), Claim(SHA, Verb.APPROVE, None, "s")),
        (asked(AUTHENTICATED), Incoming(Verb.APPROVE, (), AT, DecisionWay.SIGNAL),
         Claim(SHA, Verb.APPROVE, None, None)),
        # What does not count in any case is not looked at: strangers would have us work.
        (Desk(), said(Verb.APPROVE), None),
        (asked(SIGNED), said(Verb.RESTORE), None),
        (asked(SIGNED), said(Verb.APPROVE, revision="a1b2c3"), None),
        (asked(SIGNED), said(Verb.APPROVE, arguments=({"sha256": OTHER, "signature": "s"},)), None),
        (asked(SIGNED, problem="it never ended"), said(Verb.APPROVE), None),
        (asked(SIGNED), Incoming(Verb.APPROVE, (), AT, DecisionWay.SIGNAL), None),
        (asked(SIGNED), said(Verb.APPROVE, arguments=({"signature": "s" * 5000},)), None),
    ],
)  # fmt: skip
def test_what_is_to_be_proven(desk: Desk, message: Incoming, claim: Claim | None) -> None:
    assert claim_in(desk, message) == claim


rules = st.builds(
    ApprovalRule,
    assurance=st.sampled_from(Assurance),
    persons=st.sampled_from([1, 2]),
    approvers=st.sampled_from([[], ["jd"], ["jd", "mk"]]),
)
authors = st.none() | st.builds(
    Author,
    st.sampled_from(["jd", "mk", "agent"]),
    st.sampled_from([Assurance.AUTHENTICATED, Assurance.SIGNED]),
    st.sampled_from([SHA, OTHER]),
)
messages = st.builds(
    Incoming,
    st.sampled_from(Verb),
    st.sampled_from(
        [(), ({"sha256": SHA},), ({"sha256": OTHER},), ({"sha256": SHA, "signature": "s"},),
         ({"operator": "mk"},), ({"operator": "mk", "signature": "s"},), ("yes",), ({}, {})]
    ),
    st.just(AT),
    st.sampled_from(DecisionWay),
    st.sampled_from([None, "7f3a9c", "a1b2c3"]),
    authors,
    st.sampled_from(["", "", "its signature does not verify"]),
)  # fmt: skip


@given(rules, st.frozensets(st.sampled_from(["jd", "agent"])), st.lists(messages, max_size=8))
def test_in_every_order_a_yes_is_of_those_who_may_say_it(
    rule: ApprovalRule, requesters: frozenset[str], arriving: list[Incoming]
) -> None:
    desk = asked(rule, requesters=requesters)
    for message in arriving:
        before = desk
        desk, record = decide(desk, message)
        if before.answer is not None:
            assert desk.answer == before.answer
        if not record.accepted:
            assert (desk.answer, desk.approvals, desk.stop) == (
                before.answer, before.approvals, before.stop
            )  # fmt: skip
            continue
        if record.verb in YES:
            author = message.author
            assert not message.unproven
            assert rule.assurance is Assurance.CLAIMED or author is not None
            if author is not None:
                assert author.sha256 == SHA
                assert author.assurance.reaches(rule.assurance)
                assert not rule.approvers or author.name in rule.approvers
                assert author.name not in requesters
                assert record.operator == author.name
    if desk.answer is not None and desk.answer.verb is Verb.APPROVE:
        assert len(desk.approvals) == rule.persons
        proven = [one.operator for one in desk.approvals if one.assurance is not Assurance.CLAIMED]
        assert len(set(proven)) == len(proven)
        assert rule.assurance is Assurance.CLAIMED or len(proven) == rule.persons
