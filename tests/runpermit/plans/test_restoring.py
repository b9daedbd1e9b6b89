import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runpermit.limits import LimitsDatabase, LimitsValidator
from runpermit.models.plan import MAX_PLANNED_ELEMENTS
from runpermit.plans import as_planned, next_value
from runpermit.plans.restoring import MAX_STEPS
from tests.runpermit.plans.recorded import unhurried

LONG = tuple(float(n) for n in range(MAX_PLANNED_ELEMENTS + 1))
NUMBERS = st.floats(-1e3, 1e3) | st.integers(-1000, 1000)
STEPS = st.none() | st.floats(1, 1e4)
RELATIVE = st.none() | st.floats(0.01, 10)


def way(now: Any, target: Any, step: float | None, relative: float | None = None) -> list[Any]:
    """The setpoints from `now` to `target`, None behind the last where the way ends."""
    found: list[Any] = []
    while now != target and len(found) <= MAX_STEPS:
        now = next_value(now, target, step, relative)
        found.append(now)
        if now is None:
            break
    return found


@pytest.mark.parametrize(
    ("now", "target", "step", "relative", "expected"),
    [
        (1.0, 0.0, None, None, [0.0]),
        (1.0, 0.0, 1.0, None, [0.0]),
        (1.0, 0.0, 0.5, None, [0.5, 0.0]),
        (0.0, 1.5, 0.6, None, [0.5, 1.0, 1.5]),
        (0.4, 0.3, 0.1, None, [0.3]),
        (10, 3, 3, None, [8, 6, 3]),
        (10, 7, 1.9, None, [9, 8, 7]),
        (1.0, 4.0, None, 1.0, [2.0, 4.0]),
        (8.0, 2.0, None, 0.5, [5.0, 3.5, 2.0]),
        (1.0, 4.0, 1.0, 1.0, [2.0, 3.0, 4.0]),
        (1.0, -1.0, 1.0, 5.0, [None]),
        (1.0, 0.0, None, 0.5, [None]),
        (1.0, 0.0, None, 1.0, [0.0]),
        (0.0, 1.0, None, 0.5, [None]),
        (5, 0, 0.5, None, [None]),
        (0.0, 1e9, 1e-3, None, [None]),
        (1.0, 2.0, None, 1e-7, [None]),
        (1.0, 2.0, 1e-7, 1.0, [None]),
        ((0.0, 5.0), (1.0, 5.0), 0.5, None, [(0.5, 5.0), (1.0, 5.0)]),
        ((0.0, 5.0), (3.0, 4.0), 1.0, None, [(1.0, 4.0), (2.0, 4.0), (3.0, 4.0)]),
        ((1.0, 0.0), (2.0, 1.0), None, 1.0, [None]),
    ],
)
def test_the_way_back(
    now: Any, target: Any, step: float | None, relative: float | None, expected: list[Any]
) -> None:
    assert way(now, target, step, relative) == expected


def test_a_short_way_in_small_fractions_of_a_large_value_is_found() -> None:
    found = way(1000.0, 1001.0, None, 1e-4)

    assert len(found) == 10
    assert found[-1] == 1001.0


@pytest.mark.parametrize(
    ("now", "target"),
    [
        (1.0, "ON"),
        ("ON", 1.0),
        (None, 1.0),
        (math.nan, 1.0),
        (1.0, math.nan),
        ((1.0,), 1.0),
        (1.0, (1.0,)),
        ((1.0, 2.0), (1.0,)),
        (1.0, None),
        (LONG, as_planned(LONG)),
    ],
)
def test_no_way_leads_to_what_can_not_be_compared(now: Any, target: Any) -> None:
    assert next_value(now, target, 100.0, None) is None


@pytest.mark.parametrize("target", ["ON", 2, (1.0, 2.0), LONG])
def test_without_limits_of_steps_the_way_is_one_step(target: Any) -> None:
    assert next_value("OFF", target, None, None) == target
    if isinstance(target, tuple):
        assert next_value("OFF", list(target), None, None) == target


@pytest.mark.parametrize("target", [None, as_planned(LONG), {"_type": "float", "value": "nan"}])
def test_what_is_known_by_its_sha256_alone_or_is_no_value_is_not_written(target: Any) -> None:
    assert next_value("OFF", target, None, None) is None


@unhurried
@given(NUMBERS, NUMBERS, STEPS, RELATIVE)
@example(0.1, 0.7, 0.1, None)
@example(4, 1, None, 0.25)
@example(8, 3, None, 0.25)
@example(3.0, -3.0, 1.0, 2.0)
@example(100.0, 1e-4, 0.1, 0.5)
@example(1e-300, 1e-4, None, 0.01)
@example(-5e-324, -1.0, None, 1.0)
@example(5e-324, 1.0, None, 0.01)
def test_the_way_back_ends_and_the_limits_let_each_step_pass(
    now: float, target: float, step: float | None, relative: float | None
) -> None:
    limits = LimitsValidator(
        LimitsDatabase.from_dict({"A": {"max_step": step, "max_step_relative": relative}})
    )
    found = way(now, target, step, relative)

    assert len(found) <= MAX_STEPS
    for before, new in zip([now, *found], found, strict=False):
        if new is None:
            continue
        limits.validate("A", new, before)
        assert min(before, target) <= new <= max(before, target)
    assert found in ([], [None]) or found[-1] == target


@unhurried
@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(1, 1e3))
def test_a_way_within_absolute_steps_is_always_found_and_the_shortest(
    now: float, target: float, step: float
) -> None:
    found = way(now, target, step)

    assert now == target or found[-1] == target
    assert len(found) <= math.ceil(abs(target - now) / step) + 1


@unhurried
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4), st.floats(1, 1e3))
def test_an_array_arrives_in_all_its_elements(
    pairs: list[tuple[float, float]], step: float
) -> None:
    now, target = (tuple(column) for column in zip(*pairs, strict=True))
    found = way(now, target, step)

    assert now == target or found[-1] == target
