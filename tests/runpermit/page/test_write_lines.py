"""The writes of a plan in lines of 54 characters."""

import itertools
from typing import Any

import pytest

from runpermit.models import Declaration, PlanKind
from runpermit.page import write_lines
from runpermit.plans import as_planned
from runpermit.text import cells
from tests.runpermit.page.conftest import HOSTILE, channel, hostile_plan, plan, ramp, write


def text(**fields: Any) -> str:
    return "\n".join(write_lines(plan(**fields)))


@pytest.mark.parametrize("foreign", [*HOSTILE, "a b " * 100], ids=range(len(HOSTILE) + 1))
def test_the_writes_stand_in_visible_lines_of_54_characters(foreign: str) -> None:
    for line in write_lines(hostile_plan(foreign)):
        assert cells(line) <= 54
        assert line.isprintable()
        assert line.strip()


def test_a_write_tells_channel_now_new_and_change_then_device_share_and_limits() -> None:
    first, *rest = write_lines(plan())

    assert first.split() == "SR:HCM1:SP 0.1 → 0.3 A Δ +0.2 A".split()  # noqa: SIM905
    assert first.endswith("Δ +0.2 A")
    assert len(first) == 54
    assert " ".join(" ".join(rest).split()) == (
        '"Corrector 1", 10 % of range, limits -1 … 1 A step 0.2 of at most 0.5 A'
    )


def test_what_a_record_says_of_itself_is_no_limit() -> None:
    said = channel(description='limits 0 … 1 A", safe', min_value=None, max_value=None)
    assert """"limits 0 … 1 A', safe", no limits""" in text(channels=[said])


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ([0.0, 1.0, 2.0, 5.0], "1 of 4 elements change, by at most 2"),
        ([3.0, 2.0, 1.0, 0.0], "4 of 4 elements change, by at most 3"),
        ([0.0, 1.0, 2.0], "→ [0, 1, 2]"),
        ([0.0, 1.0, 2.0, "x"], "not all numbers"),
    ],
)
def test_of_two_arrays_it_is_told_how_far_they_differ(new: list[Any], told: str) -> None:
    lines = text(writes=[write(old=[0.0, 1.0, 2.0, 3.0], new=new)])
    assert told in " ".join(lines.split())


def test_a_ramp_reads_as_one_line_and_its_device_is_told_once() -> None:
    lines = write_lines(plan(writes=ramp("SR:HCM1:SP")))

    assert " ".join(lines[0].split()) == "SR:HCM1:SP 0 → 0.4 A 40 × 0.01, 3.9 s Δ +0.4 A"
    assert len([line for line in lines if "→" in line]) == 1
    assert " ".join(lines).count("Corrector 1") == 1


def test_a_step_there_and_back_tells_its_way_its_end_and_its_largest_change() -> None:
    there_and_back = [write(new=0.5), write(new=0.1, old=0.5, after=2)]
    lines = write_lines(plan(writes=there_and_back))

    shown = " ".join(" ".join(lines).split())
    assert shown.startswith("SR:HCM1:SP 0.1 → 0.5 → 0.1 A in 2 s Δ +0 A (up to +0.4)")
    assert "20 % of range" in " ".join(lines)


def test_many_values_in_no_order_are_told_by_count_and_span() -> None:
    values = [0.5, -0.2, 0.4, 0.0, 0.3, 0.1]
    olds = [0.1, *values]
    jumps = [
        write(new=new, old=old, after=number)
        for number, (new, old) in enumerate(zip(values, olds, strict=False))
    ]
    shown = " ".join(" ".join(write_lines(plan(writes=jumps))).split())

    assert "0.1 → 0.1 A" in shown
    assert "6 writes, -0.2 … 0.5 A, 5 s" in shown
    assert "Δ +0 A (-0.3 … +0.4)" in shown


def test_a_state_has_no_change_in_numbers() -> None:
    of_state = {"writes": [write(new=1, old=0, state="ON")], "channels": [channel(exact=True)]}

    assert "0 → ON (1) A" in text(**of_state)
    assert "Δ" not in text(**of_state)
    assert "% of range" not in text(**of_state)


def test_where_devices_follow_a_time_is_the_least() -> None:
    assert "at least 3.9 s" in text(
        writes=ramp("SR:HCM1:SP"), channels=[channel(follows=["SR:HCM1:RB"])]
    )


@pytest.mark.parametrize(("new", "words"), [(1, "0 → 1 3 times, 2 s"), ("ON", "3 times, 2 s")])
def test_a_repetition_is_told_by_its_count(new: Any, words: str) -> None:
    olds = [0, new, new]
    again = [write(new=new, old=old, after=number) for number, old in enumerate(olds)]
    known = [channel(live=0, units="", exact=True)]
    [first, *_] = write_lines(plan(writes=again, channels=known))

    assert words in " ".join(first.split())


def test_a_long_channel_keeps_its_name_and_its_values_whole() -> None:
    name = "SR:C01-MG:G02A:HCM1:Current:Setpoint:SP"
    lines = write_lines(plan(writes=[write(name, 12345678901234567890, old=0)]))

    assert lines[0] == name
    assert "0 → 12345678901234567890" in lines[1]


def test_declared_ranges_come_first_and_the_rehearsal_is_its_evidence() -> None:
    declared = Declaration(channel="SR:HCM1:SP", low=-0.2, high=0.2, max_writes=10)
    lines = write_lines(plan(kind=PlanKind.DECLARED, declared=[declared]))

    assert lines[0] == "SR:HCM1:SP  -0.2 … 0.2 A, at most 10 writes"
    assert lines[1].strip() == "now 0.1 A"
    assert "limits -1 … 1 A" in " ".join(lines)
    assert lines[lines.index("In the rehearsal:") + 1].startswith("SR:HCM1:SP  0.1 → 0.3 A")


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"alarm": "MAJOR HIHI"}, "! alarm: MAJOR HIHI"),
        ({"clamped": "clamps at DRVH = 5"}, "! clamps at DRVH = 5"),
        ({"moved_by": "FB1 is on"}, "! moved by something else: FB1 is on"),
        ({"restorable": False, "why_not": "an enum"}, "! can't be put back: an enum"),
        ({"min_value": None, "max_value": None}, "no limits"),
        ({"min_value": None}, "limits -∞ … 1 A"),
        ({"largest_step": None}, "step at most 0.5 A"),
    ],
)
def test_what_is_odd_about_a_channel_stands_at_its_write(odd: dict[str, Any], words: str) -> None:
    assert words in text(channels=[channel(**odd)])


def test_a_channel_of_which_nothing_is_known_is_marked() -> None:
    assert "! nothing is known of it" in text(channels=[])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"old": 0, "new": 1, "state": "OPEN"}, "CLOSED (0) → OPEN (1)"),
        ({"old": [1, 2, 3, 4], "new": [2, 3, 4, 5]}, "4 values, 1 … 4 → 4 values, 2 … 5"),
        ({"old": None, "new": 1}, "unknown → 1"),
        ({"old": 0.1 + 0.2, "new": 1}, "0.3 → 1"),
        ({"old": 0, "new": {"_type": "array", "count": 5000, "sha256": "x", "min": 0, "max": 2.5}},
         "0 → 5000 values, 0 … 2.5"),
        ({"old": {"_type": "float", "value": "nan"}, "new": 1}, "nan → 1"),
    ],
)  # fmt: skip
def test_values_of_every_kind_are_told_in_few_characters(
    fields: dict[str, Any], words: str
) -> None:
    known = channel(live=fields["old"], state="CLOSED" if "state" in fields else "", units="")

    assert words in text(writes=[write(**fields)], channels=[known])


def test_writes_that_are_not_shown_are_counted() -> None:
    many = plan(writes=[write(f"SR:HCM{n}:SP") for n in range(100)], left_out=1000)

    assert write_lines(many)[-1] == "… and 1070 writes more, see the notebook"
    assert write_lines(many, 100)[-1] == "… and 1000 writes more, see the notebook"


def test_a_code_that_only_reads_has_no_lines() -> None:
    assert write_lines(plan(writes=[], channels=[], kind=PlanKind.READS_ONLY)) == []


def test_long_values_on_the_way_do_not_cut_off_where_it_goes() -> None:
    values = [[number + 1 / 3, number + 2 / 3, number + 1 / 7] for number in range(4)]
    lines = write_lines(plan(writes=[
        write(old=old, new=new) for old, new in itertools.pairwise(values)
    ]))  # fmt: skip
    shown = " ".join(line.strip() for line in lines)
    assert all(len(line) <= 54 for line in lines)
    assert "→ [3.333333333, 3.666666667, 3.142857143]" in shown


def test_arrays_on_the_way_are_told_by_what_they_reach() -> None:
    values: list[Any] = [[0.0, 1.0], [0.0, 900.0], as_planned((-70.0,) * 1001), [0.0, 1.0], [0, 2]]
    olds = [[0.0, 0.0], *values]
    writes = [write(old=old, new=new) for old, new in zip(olds, values, strict=False)]
    assert "5 writes, -70 … 900 A" in " ".join(text(writes=writes).split())
    writes[1] = writes[1].model_copy(update={"new": [0.0, as_planned(float("nan"))]})
    assert "5 writes, not all numbers" in " ".join(text(writes=writes).split())
