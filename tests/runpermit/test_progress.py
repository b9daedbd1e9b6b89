"""The tracker: successive looks become events, each once."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from runpermit.models import (
    Isolation,
    PendingApproval,
    Plan,
    PlannedChannel,
    PythonExecutionState,
    PythonExecutionSuccess,
    PythonServiceResult,
    Revision,
    RunProgress,
    Stage,
    StageChange,
    WriteOutcome,
    WriteRecord,
    WriteReport,
    WritesSoFar,
)
from runpermit.progress import ProgressEvent, ProgressKind, Tracker

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STEP = ("activity-1", 1)


def state(
    *stages: Stage, attempt: int = 1, stdout: str | None = None, writes: WriteReport | None = None
) -> PythonExecutionState:
    result = None
    if stdout is not None:
        result = PythonServiceResult(
            execution_result=PythonExecutionSuccess(
                results={},
                stdout=stdout,
                execution_time=1,
                folder_path=Path("/x"),
                notebook_path=Path("/x/n"),
                notebook_link="",
            ),
            generated_code="",
            isolation=Isolation.NONE,
            writes=writes,
        )
    return PythonExecutionState(
        stages=[StageChange(stage=s, attempt=attempt, at=NOW) for s in stages],
        current_stage=stages[-1],
        generation_attempt=attempt,
        execution_result=result,
    )


def kinds(events: list[ProgressEvent]) -> list[str]:
    return [e.stage.value if e.kind is ProgressKind.STAGE and e.stage else e.kind for e in events]


def printed(events: list[ProgressEvent]) -> str:
    return "".join(e.text for e in events if e.kind is ProgressKind.STDOUT)


def heard(tracker: Tracker, tail: str, step: tuple[str, int] = STEP) -> str:
    return printed(tracker.hear(step, RunProgress(elapsed=1, stdout_tail=tail)))


def test_each_stage_is_told_once_in_order_with_its_attempt() -> None:
    tracker = Tracker()
    first = tracker.look(state(Stage.GENERATING, Stage.ANALYSING))
    again = tracker.look(state(Stage.GENERATING, Stage.ANALYSING))
    more = tracker.look(state(Stage.GENERATING, Stage.ANALYSING, Stage.EXECUTING))
    assert kinds(first) == ["attempt", "generating", "analysing"]
    assert again == []
    assert kinds(more) == ["executing"]


def test_a_question_is_told_once_and_a_second_one_again() -> None:
    tracker = Tracker()
    asking = state(Stage.AWAITING_APPROVAL)
    assert kinds(tracker.look(asking)) == ["attempt", "awaiting_approval", "question"]
    assert tracker.look(asking) == []
    again = state(Stage.AWAITING_APPROVAL, Stage.GENERATING, Stage.AWAITING_APPROVAL)
    assert kinds(tracker.look(again)) == ["generating", "awaiting_approval", "question"]


def test_a_question_that_was_answered_meanwhile_is_not_asked() -> None:
    events = Tracker().look(state(Stage.AWAITING_APPROVAL, Stage.EXECUTING))
    assert kinds(events) == ["attempt", "awaiting_approval", "executing"]


@pytest.mark.parametrize(
    ("tails", "expected"),
    [
        (["a\n", "a\nb\n"], ["a\n", "b\n"]),
        (["abcd", "cdef"], ["abcd", "ef"]),
        (["abcd", "abcd"], ["abcd", ""]),
        (["abcd", "wxyz"], ["abcd", "\n…\nwxyz"]),
        (["", "a"], ["", "a"]),
    ],
)
def test_stdout_is_told_as_it_grows(tails: list[str], expected: list[str]) -> None:
    tracker = Tracker()
    assert [heard(tracker, tail) for tail in tails] == expected


def test_the_next_try_of_a_step_prints_anew() -> None:
    tracker = Tracker()
    assert heard(tracker, "a\n") == "a\n"
    assert heard(tracker, "a\n", ("activity-1", 2)) == "a\n"


def test_what_was_printed_after_the_last_heartbeat_is_told_before_success() -> None:
    tracker = Tracker()
    heard(tracker, "a\n")
    events = tracker.look(state(Stage.SUCCEEDED, stdout="a\nb\n"))
    assert kinds(events) == ["attempt", "stdout", "succeeded"]
    assert printed(events) == "b\n"


def test_what_a_quick_program_printed_is_told_though_no_heartbeat_told_any() -> None:
    events = Tracker().look(state(Stage.SUCCEEDED, stdout="a\nb\n"))
    assert kinds(events) == ["attempt", "stdout", "succeeded"]
    assert printed(events) == "a\nb\n"


@pytest.mark.parametrize(
    ("heard_before", "rest"), [("a\nb\n", ""), ("a\n", "b"), ("\na\nb", ""), ("\n", "a\nb")]
)
def test_what_was_heard_is_not_told_again_though_the_result_has_no_empty_lines_at_its_ends(
    heard_before: str, rest: str
) -> None:
    tracker = Tracker()
    tracker.look(state(Stage.EXECUTING))
    heard(tracker, heard_before)
    assert printed(tracker.look(state(Stage.EXECUTING, Stage.SUCCEEDED, stdout="a\nb"))) == rest


def test_what_an_earlier_attempt_printed_hides_nothing_of_the_next() -> None:
    tracker = Tracker()
    tracker.look(state(Stage.EXECUTING))
    heard(tracker, "failing\n")
    second = state(Stage.EXECUTING, Stage.SUCCEEDED, attempt=2, stdout="failing\nb\n")
    assert printed(tracker.look(second)) == "failing\nb\n"


def test_output_in_which_what_was_heard_does_not_stand_is_told_whole() -> None:
    tracker = Tracker()
    heard(tracker, "another program's\n")
    assert printed(tracker.look(state(Stage.SUCCEEDED, stdout="b\n"))) == "b\n"


def test_a_step_that_prints_nothing_makes_nothing_told_again() -> None:
    tracker = Tracker()
    tracker.look(state(Stage.APPLYING))
    heard(tracker, "a\n")
    heard(tracker, "", ("settling", 1))
    assert printed(tracker.look(state(Stage.APPLYING, Stage.SUCCEEDED, stdout="a"))) == ""


def records(count: int, outcome: WriteOutcome = WriteOutcome.CONFIRMED) -> list[WriteRecord]:
    return [WriteRecord(channel="A", old=n - 1, new=n, outcome=outcome) for n in range(count)]


def so_far(count: int, planned: int = 120) -> WritesSoFar:
    """So many writes that are all confirmed, of which a gate tells the last ones."""
    outcomes = {WriteOutcome.CONFIRMED: count} if count else {}
    return WritesSoFar.of(records(count)[-5:], outcomes, count + 1, planned)


def written(events: list[ProgressEvent]) -> list[str]:
    return [event.text for event in events if event.kind is ProgressKind.WRITES]


def hears(tracker: Tracker, wrote: WritesSoFar | None, step: tuple[str, int] = STEP) -> list[str]:
    return written(tracker.hear(step, RunProgress(elapsed=1, writes=wrote)))


def test_each_write_is_told_once_and_of_many_their_count_and_the_last_one() -> None:
    tracker = Tracker()
    tracker.look(state(Stage.APPLYING))
    assert hears(tracker, so_far(0)) == []
    assert hears(tracker, so_far(2)) == ["A: -1 → 0, confirmed", "A: 0 → 1, confirmed"]
    assert hears(tracker, so_far(2)) == []
    assert hears(tracker, so_far(3)) == ["A: 1 → 2, confirmed"]
    assert hears(tracker, so_far(40)) == ["40 of 120 writes confirmed, last A = 39"]


def test_writes_are_told_in_the_words_of_the_plan_that_was_asked_about() -> None:
    tracker = Tracker()
    plan = Plan(channels=[PlannedChannel(channel="A", units="mA")])
    asked = PendingApproval.model_construct(
        binds=Revision.model_construct(plan=plan), asked_at=NOW, approved_by=[]
    )
    asking = state(Stage.AWAITING_APPROVAL)
    asking.approval_interrupt_data = asked
    tracker.look(asking)
    tracker.look(state(Stage.AWAITING_APPROVAL, Stage.APPLYING))
    assert hears(tracker, so_far(2)) == ["A: -1 → 0 mA, confirmed", "A: 0 → 1 mA, confirmed"]
    assert hears(tracker, so_far(40)) == ["40 of 120 writes confirmed, last A = 39 mA"]


def test_writes_with_other_outcomes_are_counted_by_them() -> None:
    outcomes = {WriteOutcome.CONFIRMED: 38, WriteOutcome.NOT_VERIFIED: 2}
    wrote = WritesSoFar.of(records(5), outcomes, 41)
    assert hears(Tracker(), wrote) == ["40 of 41 writes: 38 confirmed, 2 not verified, last A = 4"]


def test_a_worker_or_gate_that_tells_no_writes_is_followed_as_before() -> None:
    tracker = Tracker()
    tracker.look(state(Stage.APPLYING))
    old = RunProgress.model_validate({"elapsed": 1.0, "stdout_tail": "a\n"})
    assert kinds(tracker.hear(STEP, old)) == ["stdout"]


def test_no_other_step_makes_writes_told_again() -> None:
    tracker = Tracker()
    hears(tracker, so_far(2))
    hears(tracker, None, ("settling", 1))
    assert hears(tracker, so_far(3)) == ["A: 1 → 2, confirmed"]


def test_what_was_written_after_the_last_heartbeat_is_told_before_success() -> None:
    tracker = Tracker()
    tracker.look(state(Stage.APPLYING))
    hears(tracker, so_far(2))
    report = WriteReport.of(records(3), 3, Path("/x/journal.jsonl"))
    events = tracker.look(state(Stage.APPLYING, Stage.SUCCEEDED, stdout="", writes=report))
    assert kinds(events) == ["writes", "succeeded"]
    assert written(events) == ["A: 1 → 2, confirmed"]
    assert events[0].writes is not None
    assert events[0].writes.forwarded == 3


def test_of_a_report_that_does_not_hold_all_writes_no_wrong_count_is_told() -> None:
    report = WriteReport.of(records(300), 300, Path("/x/journal.jsonl"))
    events = Tracker().look(state(Stage.SUCCEEDED, stdout="", writes=report))
    assert written(events) == []


def test_each_further_try_of_a_step_is_told_once() -> None:
    tracker = Tracker()
    told = [tracker.retried("3", attempt, "generate failed: 503") for attempt in (1, 2, 2, 3)]
    assert [[event.text for event in events] for events in told] == [
        [],
        ["Try 2: generate failed: 503"],
        [],
        ["Try 3: generate failed: 503"],
    ]


def test_an_event_says_what_happened_in_words() -> None:
    stage = ProgressEvent(kind=ProgressKind.STAGE, stage=Stage.EXECUTING, text="")
    assert str(stage) == "executing"
    assert str(ProgressEvent(kind=ProgressKind.ATTEMPT, attempt=2)) == "attempt 2"
    assert str(ProgressEvent(kind=ProgressKind.STDOUT, text="hello\n")) == "hello\n"
