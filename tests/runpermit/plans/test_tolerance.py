import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runpermit.limits import ChannelLimitsConfig, Verification
from runpermit.models.plan import MAX_PLANNED_ELEMENTS
from runpermit.plans import plan_tolerance
from tests.runpermit.plans.recorded import ARRAYS, NUMBERS, unhurried

EXACTLY = Verification(tolerance_absolute=0.0)

MOST = (0.0,) * MAX_PLANNED_ELEMENTS


def entry(**fields: object) -> ChannelLimitsConfig:
    return ChannelLimitsConfig.model_validate(fields)


@pytest.mark.parametrize(
    ("limits", "live", "values", "expected"),
    [
        (entry(plan_tolerance=0.3), 1.0, (2.0,), 0.3),
        (entry(plan_tolerance=0.0), 1.0, (2.0,), 0.0),
        (entry(verification=EXACTLY), 1.0, (2.0,), 0.1),
        (entry(verification=EXACTLY), 1.0, (2.0, -4.0, 1.0), 0.5),
        (entry(verification=Verification(tolerance_absolute=0.4)), 1.0, (2.0,), 0.4),
        (entry(verification=Verification(tolerance_percent=10)), 1.0, (2.0, 3.0), 0.3),
        (entry(), 1000.0, (1000.0,), 1.0),
        (None, 1000.0, (1000.0,), 1.0),
        (None, 1000, (1000,), 0.0),
        (entry(plan_tolerance=0.3, max_step=0.2), 1.0, (2.0,), 0.2),
        (entry(verification=EXACTLY, max_step=0.2), 1.0, (11.0,), 0.2),
        (entry(verification=EXACTLY), (0.0, 1.0), ((0.5, 1.0), (0.0, 3.0)), 0.2),
        (entry(verification=EXACTLY), (), ((),), 0.0),
        (entry(plan_tolerance=0.3), MOST, (MOST,), 0.3),
    ],
)
def test_the_tolerance(
    limits: ChannelLimitsConfig | None, live: object, values: tuple[object, ...], expected: float
) -> None:
    assert plan_tolerance(limits, live, values) == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("live", "values"),
    [
        ("ON", (1.0,)),
        (1.0, ("ON",)),
        (None, (1.0,)),
        (math.nan, (1.0,)),
        (1.0, (math.inf,)),
        ((1.0, "a"), ((1.0, 2.0),)),
        ((0.0,) * (MAX_PLANNED_ELEMENTS + 1), ()),
        (0.0, ((0.0,) * (MAX_PLANNED_ELEMENTS + 1),)),
    ],
)
def test_there_is_none_for_what_is_not_about_numbers(
    live: object, values: tuple[object, ...]
) -> None:
    assert plan_tolerance(entry(plan_tolerance=0.3), live, values) is None  # type: ignore[arg-type]


@unhurried
@given(
    NUMBERS | ARRAYS,
    st.lists(NUMBERS | ARRAYS),
    st.none() | st.floats(0, 10),
    st.none() | st.floats(1e-9, 10),
)
def test_it_is_never_negative_and_at_most_a_step(
    live: object, values: list[object], tolerance: float | None, step: float | None
) -> None:
    limits = entry(plan_tolerance=tolerance, max_step=step)
    found = plan_tolerance(limits, live, values)  # type: ignore[arg-type]

    assert found is not None
    assert 0 <= found <= (math.inf if step is None else step)
