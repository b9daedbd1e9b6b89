"""Conditions: they hold for what is read, or they do not; what can't be compared does not."""

import itertools
import math
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.channel_access.reading import Reading
from gate.policy.conditions import holds
from runpermit.limits import Condition, ConditionOperator

OPERATORS = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip
NUMBERS = st.one_of(st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False))


def condition(op: str, value: str | float) -> Condition:
    return Condition(channel="C", op=ConditionOperator(op), value=value)


@given(st.sampled_from(sorted(OPERATORS)), NUMBERS, NUMBERS)
def test_numbers_compare_as_numbers_do(op: str, read: float, wanted: float) -> None:
    assert holds(condition(op, wanted), Reading(read, None)) is OPERATORS[op](read, wanted)


@pytest.mark.parametrize("op", OPERATORS)
def test_nothing_holds_for_nan(op: str) -> None:
    assert not holds(condition(op, 1.0), Reading(math.nan, None))


def test_a_state_is_compared_by_its_name_or_its_number() -> None:
    user = Reading(2, "User")
    assert holds(condition("==", "User"), user)
    assert holds(condition("==", 2), user)
    assert holds(condition("!=", "Shutdown"), user)
    assert holds(condition(">=", 2), user)
    assert not holds(condition("!=", "User"), user)
    assert not holds(condition("==", "2"), user)


@pytest.mark.parametrize(
    ("op", "value", "reading"),
    [
        *((op, "x", Reading(1.0, None)) for op in ("==", "!=")),  # a text beside a number
        *((op, 1.0, Reading("x", None)) for op in OPERATORS),
        *((op, 1.0, Reading((1.0, 1.0), None)) for op in OPERATORS),
        *((op, 1.0, Reading((), None)) for op in OPERATORS),
    ],
)
def test_what_can_not_be_compared_does_not_hold(
    op: str, value: str | float, reading: Reading
) -> None:
    assert not holds(condition(op, value), reading)


def test_texts_are_equal_or_not() -> None:
    for op, text in itertools.product(("==", "!="), ("on", "off")):
        assert holds(condition(op, text), Reading("on", None)) is OPERATORS[op]("on", text)
