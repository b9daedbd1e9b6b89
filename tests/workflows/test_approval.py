"""Every rule of the approval state machine, as tables; everything unclear means no."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runpermit.models import Decision, DecisionRecord, DecisionWay, ExecutionMode, Verb
from runpermit.models.wire import MAX_DECISIONS, MAX_REVISIONS
from runpermit.payloads import Undecodable
from workflows.approval import RESTORE_VERBS, Desk, Question, approval_required, decide
from workflows.incoming import Incoming, with_comment

AT = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
SHA = "7f3a9c" + "0" * 58
OTHER = "a1b2c3" + "0" * 58
FIRST = Question(number=1, sha256=SHA, plain_yes=True)
SECOND = Question(number=2, sha256=SHA, plain_yes=False)
PARTLY = Question(number=1, sha256=SHA, plain_yes=True, problem="it ended with ZeroDivisionError")
LEFT = Question(number=1, sha256=SHA, plain_yes=True, verbs=RESTORE_VERBS)
LEFT_AGAIN = Question(number=2, sha256=SHA, plain_yes=False, verbs=RESTORE_VERBS)


def said(
    verb: Verb, *arguments: Any, revision: str | None = None, via: DecisionWay = DecisionWay.SIGNAL
) -> Incoming:
    return Incoming(verb, arguments, AT, via, revision)


def after(desk: Desk, messages: Iterable[Incoming]) -> Desk:
    for message in messages:
        desk, _ = decide(desk, message)
    return desk


ADMISSIBLE = [
    (FIRST, said(Verb.APPROVE)),
    (FIRST, said(Verb.APPROVE, {"operator": "jd"})),
    (FIRST, said(Verb.APPROVE, {"sha256": SHA})),
    (FIRST, said(Verb.APPROVE, {"decision": "approve"})),
    (FIRST, said(Verb.APPROVE, Decision(operator="jd"))),
    (FIRST, said(Verb.APPROVE, revision="7f3a9c")),
    (SECOND, said(Verb.APPROVE, {"sha256": SHA})),
    (SECOND, said(Verb.APPROVE, revision="7f3a9c")),
    (SECOND, said(Verb.REJECT)),
    (SECOND, said(Verb.REJECT, {"comment": "no"}, revision="7f3a9c")),
    (SECOND, said(Verb.REVISE, {"comment": "less"}, revision="7f3a9c")),
    (PARTLY, said(Verb.REJECT)),
    (PARTLY, said(Verb.REVISE, {"comment": "declare your envelope"})),
    (LEFT, said(Verb.RESTORE)),
    (LEFT, said(Verb.RESTORE, {"operator": "jd", "sha256": SHA})),
    (LEFT, said(Verb.RESTORE, revision="7f3a9c")),
    (LEFT, said(Verb.LEAVE)),
    (LEFT, said(Verb.LEAVE, {"decision": "leave"}, revision="7f3a9c")),
    (LEFT_AGAIN, said(Verb.RESTORE, {"sha256": SHA})),
    (LEFT_AGAIN, said(Verb.LEAVE)),
]


@pytest.mark.parametrize(("question", "message"), ADMISSIBLE)
def test_a_decision_on_what_waits_counts(question: Question, message: Incoming) -> None:
    desk, record = decide(Desk(question=question), message)

    assert record.accepted
    assert record.reason == "counted"
    assert desk.answer == record
    assert desk.records == (record,)
    assert (record.number, record.revision) == (question.number, "7f3a9c")


INADMISSIBLE = [
    (None, said(Verb.APPROVE), "nothing waits"),
    (None, said(Verb.REJECT), "nothing waits"),
    (None, said(Verb.REVISE), "nothing waits"),
    (FIRST, said(Verb.APPROVE, revision="a1b2c3"), "it is for revision a1b2c3"),
    (FIRST, said(Verb.REJECT, revision="a1b2c3"), "it is for revision a1b2c3"),
    (FIRST, said(Verb.APPROVE, {"sha256": OTHER}), "sha256"),
    (FIRST, said(Verb.APPROVE, {"sha256": OTHER}, revision="7f3a9c"), "sha256"),
    (FIRST, said(Verb.APPROVE, {"sha256": SHA}, revision="a1b2c3"), "a1b2c3"),
    (FIRST, said(Verb.APPROVE, {"decision": "reject"}), "it says reject"),
    (FIRST, said(Verb.APPROVE, Decision(decision=Verb.REJECT)), "it says reject"),
    (SECOND, said(Verb.REVISE), "must name what it is for"),
    (SECOND, said(Verb.REVISE, {"signature": "of a no nobody verifies it"}), "must name what"),
    (FIRST, said(Verb.APPROVE, {"sha256": SHA, "signature": "x"}), "signature was not verified"),
    (FIRST, said(Verb.APPROVE, {f"f{i}": 0 for i in range(100_000)}), "100000 fields"),
    (SECOND, said(Verb.APPROVE), "must name what it is for"),
    (SECOND, said(Verb.APPROVE, {"operator": "jd"}), "must name what it is for"),
    (PARTLY, said(Verb.APPROVE), "can't be approved (it ended with ZeroDivisionError)"),
    (PARTLY, said(Verb.APPROVE, {"sha256": SHA}), "incomplete"),
    (PARTLY, said(Verb.APPROVE, revision="7f3a9c"), "incomplete"),
    (None, said(Verb.RESTORE), "nothing waits"),
    (None, said(Verb.LEAVE), "nothing waits"),
    (FIRST, said(Verb.RESTORE), "say approve or reject or revise"),
    (FIRST, said(Verb.LEAVE, {"sha256": SHA}), "say approve or reject or revise"),
    (LEFT, said(Verb.APPROVE, revision="7f3a9c"), "say leave or restore"),
    (LEFT, said(Verb.REJECT), "say leave or restore"),
    (LEFT, said(Verb.REVISE, {"sha256": SHA}), "say leave or restore"),
    (LEFT, said(Verb.RESTORE, {"sha256": OTHER}), "sha256"),
    (LEFT, said(Verb.RESTORE, revision="a1b2c3"), "it is for revision a1b2c3"),
    (LEFT, said(Verb.RESTORE, {"decision": "leave"}), "it says leave"),
    (LEFT_AGAIN, said(Verb.RESTORE), "must name what it is for"),
]


@pytest.mark.parametrize(("question", "message", "why"), INADMISSIBLE)
def test_a_decision_on_anything_else_is_recorded_and_changes_nothing(
    question: Question | None, message: Incoming, why: str
) -> None:
    desk, record = decide(Desk(question=question), message)

    assert not record.accepted
    assert why in record.reason
    assert desk.answer is None
    assert desk.records == (record,)


LIKE_IT = "7f3a9c" + "1" * 58


@pytest.mark.parametrize("verb", [Verb.APPROVE, Verb.REJECT, Verb.REVISE])
def test_digits_that_two_questions_have_name_neither(verb: Verb) -> None:
    before = Desk().asking(Question(1, LIKE_IT, plain_yes=True)).cleared()
    desk = before.asking(SECOND)
    desk, record = decide(desk, said(verb, revision="7f3a9c"))

    assert not record.accepted
    assert f"say {verb} with all 64 of sha256 {SHA}" in record.reason
    assert desk.answer is None
    assert decide(desk, said(verb, {"sha256": SHA}, revision="7f3a9c"))[1].accepted


@pytest.mark.parametrize("verb", [Verb.APPROVE, Verb.REJECT, Verb.REVISE])
def test_once_a_stop_has_counted_no_answer_does(verb: Verb) -> None:
    stopped = after(Desk(question=FIRST), [said(Verb.STOP)])
    desk, record = decide(stopped, said(verb, {"sha256": SHA}))

    assert not record.accepted
    assert "was stopped before revision 7f3a9c was decided" in record.reason
    assert desk.answer is None
    # What a stop of a restore left is asked about anew.
    assert decide(stopped.asking(LEFT), said(Verb.RESTORE, {"sha256": SHA}))[1].accepted


def test_what_is_asked_next_begins_anew_and_keeps_what_was_said() -> None:
    desk = after(Desk().asking(FIRST), [said(Verb.APPROVE), said(Verb.REJECT)])
    for after_it in (desk.asking(LEFT), desk.cleared(), desk.closed()):
        assert after_it.answer is None
        assert after_it.approvals == ()
        assert after_it.records == desk.records
        assert after_it.asked == (SHA,)
    assert desk.cleared().question is desk.closed().question is None
    assert desk.closed().ended


# Case 23 of the reference, and more of the kind.
UNUSABLE = [
    (False,), ("no",), ("yes",), (True,), ({},), (None,), (0,), (1.5,), ([],), ([{}],),
    ({"approved": True},), ({"operator": "jd", "answer": "yes"},), ({"operator": ""},),
    ({"operator": "x" * 129},), ({"comment": "x" * 4097},), ({"sha256": "7f3a9c"},),
    ({"sha256": SHA.upper()},), ({"sha256": SHA + "\n"},), ({"decision": "launch"},),
    ({"decision": None},), ({"operator": None, "comment": None},), ({1: 2},),
    (Undecodable("no such encoding"),), ({"operator": "jd"}, {"operator": "jd"}), (None, None),
    (b"approve",), (object(),), ({"operator": "\ud800"},),
]  # fmt: skip


@pytest.mark.parametrize("arguments", UNUSABLE, ids=range(len(UNUSABLE)))
@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.STOP])
@pytest.mark.parametrize("revision", [None, "7f3a9c"])
def test_an_argument_that_is_no_decision_is_recorded_and_changes_nothing(
    verb: Verb, arguments: tuple[Any, ...], revision: str | None
) -> None:
    question = LEFT if verb in RESTORE_VERBS else FIRST
    desk, record = decide(Desk(question=question), said(verb, *arguments, revision=revision))

    assert not record.accepted
    assert desk.answer is None
    assert desk.records == (record,)


@pytest.mark.parametrize("arguments", [(), *UNUSABLE], ids=range(len(UNUSABLE) + 1))
@pytest.mark.parametrize("question", [None, FIRST, SECOND])
def test_a_stop_counts_whatever_comes_with_it(
    question: Question | None, arguments: tuple[Any, ...]
) -> None:
    desk, record = decide(Desk(question=question), said(Verb.STOP, *arguments))

    assert record.accepted
    assert desk.stop == record
    assert desk.answer is None


@pytest.mark.parametrize("question", [LEFT, LEFT_AGAIN])
def test_where_the_machine_was_left_changed_a_stop_takes_no_question_away(
    question: Question,
) -> None:
    desk, record = decide(Desk(question=question), said(Verb.STOP))

    assert not record.accepted
    assert "say restore or leave" in record.reason
    assert desk.answer is desk.stop is None
    desk, record = decide(desk, said(Verb.RESTORE, {"sha256": SHA}))
    assert record.accepted
    assert decide(Desk(), said(Verb.STOP))[1].accepted


def test_a_stop_after_an_answer_counts() -> None:
    desk = after(Desk(question=FIRST), [said(Verb.APPROVE), said(Verb.STOP)])

    assert desk.stop is not None


@pytest.mark.parametrize("second", [Verb.APPROVE, Verb.REJECT, Verb.REVISE])
@pytest.mark.parametrize("first", [Verb.APPROVE, Verb.REJECT, Verb.REVISE])
def test_the_first_answer_stands(first: Verb, second: Verb) -> None:
    desk = after(Desk(question=FIRST), [said(first), said(second, {"sha256": SHA})])

    assert desk.answer is not None
    assert desk.answer.verb is first
    assert [record.accepted for record in desk.records] == [True, False]
    assert desk.records[1].reason == f"revision 7f3a9c was already decided: {first}"


def test_a_second_stop_is_recorded() -> None:
    desk = after(Desk(), [said(Verb.STOP), said(Verb.STOP, {"operator": "jd"})])

    assert [record.accepted for record in desk.records] == [True, False]
    assert desk.stop == desk.records[0]


@pytest.mark.parametrize("verb", Verb)
def test_after_the_end_all_is_recorded_and_nothing_counts(verb: Verb) -> None:
    desk, record = decide(Desk(question=FIRST, ended=True), said(verb, {"sha256": SHA}))

    assert not record.accepted
    assert record.reason == "the execution has ended"
    assert desk.answer is desk.stop is None


def test_who_said_it_and_how_is_kept() -> None:
    message = said(Verb.REJECT, {"operator": "jd", "comment": "beam", "sha256": SHA},
                   via=DecisionWay.UPDATE)  # fmt: skip
    _, record = decide(Desk(question=FIRST), message)

    assert (record.operator, record.comment, record.sha256) == ("jd", "beam", SHA)
    assert (record.via, record.at) == (DecisionWay.UPDATE, AT)


@pytest.mark.parametrize(
    ("said_so", "told"),
    [
        ({"word": "no"}, "it has a field word, which is none of decision, sha256, operator, "),
        ({"comment": "a", "reason": "b"}, "it has a field reason, which is none of decision, "),
        ({}, "an empty object decides nothing"),
        ({"comment": "x" * 4097}, "comment has over 4096 characters"),
        ({"operator": ""}, "operator is empty"),
        ({"sha256": "7f3a9c"}, "sha256 is not 64 digits of 0-9 and a-f"),
        ({"decision": "launch"}, "decision is none of approve, reject, "),
        ({"comment": 5}, 'comment is no text; expected is such as {"comment": "smaller steps"}'),
        ("no", 'it is no object; expected is such as {"comment": "smaller steps"}'),
        ({1: 2}, "it is no object"),
    ],
)
def test_what_is_no_decision_is_told_in_words_of_people(said_so: Any, told: str) -> None:
    _, record = decide(Desk(question=FIRST), said(Verb.REJECT, said_so))

    assert record.reason.startswith(f"no valid Decision: {told}")
    assert len(record.reason) <= 300


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (({"reason": "beam", "operator": "jd"},), ({"comment": "beam", "operator": "jd"},)),
        (({"reason": "a", "comment": "b"},), None),
        (({"comment": "b"},), None),
        (({"reason": "a"}, {"reason": "b"}), None),
        (({"reason": "a"} | {f"f{i}": 0 for i in range(9)},), None),
        (("reason",), None),
        ((), None),
    ],
)
def test_a_reason_is_a_comment(arguments: tuple[Any, ...], read: Any) -> None:
    assert with_comment(arguments) == read


def test_after_twenty_revisions_only_yes_or_no_is_left() -> None:
    last = Question(number=MAX_REVISIONS, sha256=SHA, plain_yes=False)
    before = Question(number=MAX_REVISIONS - 1, sha256=SHA, plain_yes=False)

    named = said(Verb.REVISE, revision="7f3a9c")
    assert decide(Desk(question=before), named)[1].accepted
    _, record = decide(Desk(question=last), named)
    assert not record.accepted
    assert "approve or reject" in record.reason
    assert decide(Desk(question=last), said(Verb.REJECT))[1].accepted
    assert decide(Desk(question=last), said(Verb.APPROVE, revision="7f3a9c"))[1].accepted


def test_a_flood_keeps_what_counted_and_the_latest_of_the_rest() -> None:
    desk = after(Desk(question=SECOND), [said(Verb.APPROVE)] * 50)
    desk = after(desk, [said(Verb.REJECT, {"operator": "jd"})])
    desk = after(desk, [said(Verb.APPROVE, {"operator": str(n)}) for n in range(500)])
    desk = after(desk, [said(Verb.STOP)])

    assert len(desk.records) == MAX_DECISIONS
    counted = [record.verb for record in desk.records if record.accepted]
    assert counted == [Verb.REJECT, Verb.STOP]
    assert desk.records[-2].operator == "499"


def test_the_comment_of_what_did_not_count_is_cut() -> None:
    long = {"comment": "\x01" * 4096}
    desk = after(Desk(question=FIRST), [said(Verb.REJECT, long), said(Verb.REJECT, long)])

    counted, refused = desk.records
    assert counted.comment == "\x01" * 4096
    assert refused.comment is not None
    assert len(refused.comment) <= 300


@pytest.mark.parametrize(
    ("mode", "reads", "writes"),
    [
        ("disabled", False, True),
        ("control_writes", False, True),
        ("all_code", True, True),
        ("no such mode", True, True),
        ("", True, True),
        ("Disabled", True, True),
    ],
)
def test_who_must_be_asked(mode: str, *, reads: bool, writes: bool) -> None:
    assert approval_required(mode, ExecutionMode.READ_ONLY) is reads
    assert approval_required(mode, ExecutionMode.WRITE_ACCESS) is writes


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(SHA),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["decision", "sha256", "operator", "comment"]) | st.text(), inner
        )
    ),
    max_leaves=8,
)
decisions = st.fixed_dictionaries(
    {},
    optional={
        "decision": st.sampled_from([*Verb, "", "yes"]),
        "sha256": st.sampled_from([SHA, OTHER, "", "7f3a9c"]),
        "operator": st.text(max_size=3),
        "comment": st.none() | st.text(max_size=3),
    },
)
messages = st.builds(
    lambda verb, arguments, revision: said(verb, *arguments, revision=revision),
    st.sampled_from(Verb),
    st.lists(json_values | decisions, max_size=2),
    st.sampled_from([None, "7f3a9c", "a1b2c3"]),
)
desks = st.sampled_from(
    [
        Desk(),
        *(Desk(question=question) for question in (FIRST, SECOND, PARTLY, LEFT, LEFT_AGAIN)),
        Desk(ended=True, question=FIRST),
        Desk(ended=True, question=LEFT),
    ]
)


def names_it(record: DecisionRecord, message: Incoming) -> bool:
    return message.revision == "7f3a9c" or record.sha256 == SHA


@given(desks, st.lists(messages, max_size=6))
def test_no_message_raises_and_a_yes_names_what_waits_or_is_allowed_plain(
    desk: Desk, arriving: list[Incoming]
) -> None:
    question = desk.question
    for number, message in enumerate(arriving, 1):
        before = desk
        desk, record = decide(desk, message)
        assert len(desk.records) == number
        if record.accepted and record.verb in {Verb.APPROVE, Verb.RESTORE}:
            assert question is not None
            assert record.verb in question.verbs
            assert record.verb is not Verb.APPROVE or not question.problem
            assert not before.ended
            assert before.answer is None
            assert message.revision in {None, "7f3a9c"}
            assert record.sha256 in {None, SHA}
            assert names_it(record, message) or question.plain_yes
        if not record.accepted:
            assert (desk.answer, desk.stop) == (before.answer, before.stop)
