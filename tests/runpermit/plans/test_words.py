"""Values in few words: what differs reads differently, and a cut is seen."""

from typing import Any

import pytest

from runpermit.plans import as_planned
from runpermit.plans.words import change_text, unit_text, value_text


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "unknown"),
        (0.1 + 0.2, "0.3"),
        (2**62, "4611686018427387904"),
        ([1, 2.5, 3], "[1, 2.5, 3]"),
        ([1, 2, 3, 4], "4 values, 1 … 4"),
        ([1, 2, 3, float("nan")], "4 values, not all numbers"),
        (as_planned(tuple(range(2000))), "2000 values, 0 … 1999"),
        (as_planned(("a",) * 2000), "2000 values"),
        (as_planned(float("nan")), "nan"),
        (as_planned("x" * 20_000), "xxxxxxxxxxxxxxxxxxxx… (20000 characters)"),
        ("x" * 40, "x" * 40),
        ("x" * 41, f'"{"x" * 40}…" (41 characters)'),
    ],
)
def test_a_value_in_few_words(value: Any, told: str) -> None:
    assert value_text(value, "A", "") == f"{told} A"


def test_a_state_stands_before_its_number() -> None:
    assert value_text(2, "A", "OPEN") == "OPEN (2) A"
    assert value_text(2, state="OPEN\x1b") == r'"OPEN\x1b" (2)'


@pytest.mark.parametrize("units", ["mA", "%", "1/s", "°C", "W/m^2", ""])
def test_a_unit_stands_as_it_is(units: str) -> None:
    assert unit_text(units) == units


@pytest.mark.parametrize("units", ["A → 2 A", "A, -1 A", "0", "-3", "…", "A Δ", '" 2'])
def test_what_could_be_taken_for_more_of_the_plan_is_no_unit(units: str) -> None:
    assert unit_text(units) == f'"{units.replace(chr(34), chr(39))}"'


@pytest.mark.parametrize("text", ["idle → safe", "5 … 6", "Δ 0"])
def test_nor_is_a_text_or_a_state_another_value(text: str) -> None:
    assert value_text(text) == f'"{text}"'
    assert value_text(1, state=text) == f'"{text}" (1)'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a b", "a  b"),
        ("ab", "ab "),
        ("", " "),
        ("\x1b", r"\x1b"),
        ('"', '" '),
        ("x" * 41, "x" * 42),
    ],
)
def test_texts_that_differ_read_differently(one: str, other: str) -> None:
    assert value_text(one) != value_text(other)
    assert "" not in {value_text(one), value_text(other)}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([0.2], "+0.2 A"),
        ([0.1, 0.2], "+0.2 A"),
        ([0.1, 0.05], "+0.05 A (up to +0.1)"),
        ([-0.1, 0.05], "+0.05 A (down to -0.1)"),
        ([-0.1, 0.2, 0.05], "+0.05 A (-0.1 … +0.2)"),
        ([-1e-12, 0.2], "+0.2 A"),
    ],
)
def test_a_change_tells_its_end_and_how_far_it_went_beyond(changes: list[float], told: str) -> None:
    assert change_text(changes, "A", "{:+.6g}".format) == told
