"""The list of what waits, at the width of a terminal and in a pipe."""

from datetime import UTC, datetime, timedelta

import pytest

from runpermit.cli.waiting_list import age, counts, waiting_lines
from runpermit.models import Plan, PlanKind, PlannedChannel, PlannedWrite, Stage
from runpermit.plans import headline
from runpermit.waiting import WaitingExecution

NOW = datetime(2026, 1, 2, 3, tzinfo=UTC)
LONG = "12 writes: " + ", ".join(f"SR:HCM{number} → 0.25 A" for number in range(12))


def waiting(
    name: str, question: str = LONG, stage: Stage = Stage.AWAITING_APPROVAL
) -> WaitingExecution:
    return WaitingExecution(
        id=name,
        run_id="r",
        stage=stage,
        started_at=NOW - timedelta(hours=5),
        attempt=1,
        question=question,
        first_writes=["SR:HCM1"],
        sha256="4c0d30" + "0" * 58,
        host="host",
        requester="alice@lab",
        asked_at=NOW - timedelta(minutes=200),
    )


def lines(width: int | None, *waiting: WaitingExecution) -> list[str]:
    return [line for line, _ in waiting_lines(waiting, NOW, width)]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["scan-42", "an-id-that-is-long-" + "x" * 30])
def test_on_a_terminal_no_line_is_longer_than_it_and_a_cut_is_marked(width: int, name: str) -> None:
    told = lines(width, waiting(name))
    assert max(map(len, told)) <= width
    assert told[-1].endswith("…")
    assert any(line.startswith(name) for line in told)


def test_in_a_pipe_each_is_on_one_line_with_all_that_is_known() -> None:
    [_, line] = lines(None, waiting("scan-42", "1 write: SR:HCM1 → 0.2 A"))
    assert line.split("  ")[0] == "scan-42"
    for part in ("4c0d30", "3 h 20 min", "alice@lab", "1 write: SR:HCM1 → 0.2 A"):
        assert part in line


def test_foreign_text_stays_on_its_line() -> None:
    told = lines(None, waiting("scan-42", "a\n\x1b[2Jb"))
    assert len(told) == 2
    assert "\x1b" not in told[1]


def test_a_machine_left_changed_is_named_so() -> None:
    [(_, _), (line, style)] = waiting_lines(
        [waiting("scan-42", "The kernel died", Stage.AWAITING_RESTORE)], NOW, None
    )
    assert "MACHINE LEFT CHANGED. The kernel died" in line
    assert style == "bold red"


PLANNED = "2 setpoints, at most 10 writes, 0.9 s. HCM1 +0.500 A, SR:C01-MG:COR-7 → off (0)."


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["scan-42", "ramp-and-measure-1f2e3d4c"])
@pytest.mark.parametrize(
    ("question", "begins"),
    [
        (f"{PLANNED} Plan COMPLETE", "COMPLETE: HCM1 +0.500 A"),
        (f"{PLANNED} Plan INCOMPLETE", "INCOMPLETE: HCM1 +0.500 A"),
        ("MACHINE LEFT CHANGED: 12 channels, HCM1, HCM2", "MACHINE LEFT CHANGED: HCM1"),
        ("RESTORE WAITS while writes are inhibited: HCM1", "RESTORE WAITS: HCM1"),
    ],
)
def test_what_will_change_and_how_far_that_is_known_is_seen_at_any_width(
    width: int, name: str, question: str, begins: str
) -> None:
    *_, last = lines(width, waiting(name, question))
    assert begins in last
    assert len(last) <= width


@pytest.mark.parametrize("follows", [[], ["SR:HCM1:RB"]])
@pytest.mark.parametrize("kind", ["complete", "incomplete"])
def test_the_headline_of_a_plan_is_one_of_them(kind: str, follows: list[str]) -> None:
    planned = PlannedChannel(
        channel="SR:HCM1", units="A", live=0.1, low=0.6, high=0.6, last=0.6, writes=1,
        follows=follows,
    )  # fmt: skip
    plan = Plan(
        kind=PlanKind(kind), channels=[planned], writes=[PlannedWrite(channel="SR:HCM1", new=0.6)]
    )
    [_, line] = lines(None, waiting("scan-42", headline(plan)))
    assert f"alice@lab  {kind.upper()}: SR:HCM1 +0.500 A. 1 setpoint, 1 write, " in line


def test_a_question_of_other_words_stands_as_it_came() -> None:
    for question in ("Run this code? It only reads.", "1 setpoint. Plan COMPLETE", ""):
        assert lines(None, waiting("scan-42", question))[1].endswith(f"alice@lab  {question}")


def test_of_two_persons_it_is_told_first_how_many_said_yes() -> None:
    one_of_two = waiting("scan-42").model_copy(update={"approvals": 1, "persons": 2})
    assert "alice@lab  1 of 2 approvals. 12 writes: " in lines(None, one_of_two)[1]


def test_a_restore_that_waits_for_the_inhibit_is_named_so() -> None:
    question = "RESTORE WAITS while writes are inhibited: SR:HCM1"
    one = waiting("scan-42", question, Stage.RESTORING)
    [(_, _), (line, style)] = waiting_lines([one], NOW, None)
    assert line.endswith("alice@lab  RESTORE WAITS: SR:HCM1, while writes are inhibited")
    assert style == "bold red"


def test_counts_say_how_many_wait_for_what() -> None:
    changed = waiting("a", stage=Stage.AWAITING_RESTORE)
    lost = waiting("c", stage=Stage.FAILED).model_copy(update={"state_unknown": True})
    assert counts([changed, waiting("b")]) == (
        "2 waiting: 1 left the machine changed, 1 for approval."
    )
    assert counts([lost]) == "1 waiting: 1 of which nobody knows what was written."


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "< 1 min"), (59, "< 1 min"), (60, "1 min"), (12000, "3 h 20 min"), (180000, "2 d 2 h")],
)
def test_how_long_it_waits_is_told_in_the_two_largest_units(seconds: int, words: str) -> None:
    assert age(timedelta(seconds=seconds)) == words
