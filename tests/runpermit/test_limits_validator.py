import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runpermit.errors import ChannelLimitsViolationError
from runpermit.limits import CurrentValue, LimitsDatabase, LimitsValidator, ViolationType

V = ViolationType
DATABASE = LimitsDatabase.from_dict(
    {
        "A": {"min_value": 0, "max_value": 100, "units": "mm"},
        "TEN": {"min_value": 0, "max_value": 10},
        "STEP": {"min_value": 0, "max_value": 100, "max_step": 10},
        "RELATIVE": {"max_step_relative": 0.1, "max_step": 5},
        "READONLY": {"writable": False},
        "MODE": {"allowed_values": ["OFF", "ON", 7]},
        "BITS": {"min_value": 0, "max_value": 3, "allowed_values": [0, 1, 3]},
        "NOTE": {"max_length": 5},
        "WAVE": {"min_value": -1, "max_value": 1, "max_length": 3},
        "M.STOP": {"allowed_values": [1]},
        "FREE": {},
    }
)
LIMITS = LimitsValidator(DATABASE)
UNLISTED_ALLOWED = LimitsValidator(DATABASE, allow_unlisted=True)
NO_DATABASE = LimitsValidator(None, unavailable_reason="limits.json, line 3: broken")
SWITCHED_OFF = LimitsValidator(None, enabled=False)
NOT_READ = CurrentValue.NOT_READ


def refusal(
    validator: LimitsValidator, channel: str, value: Any, current: Any = NOT_READ
) -> ChannelLimitsViolationError:
    with pytest.raises(ChannelLimitsViolationError) as caught:
        validator.validate(channel, value, current)
    return caught.value


PASSES = [
    ("1", LIMITS, "A", 0.0, NOT_READ),
    ("1", LIMITS, "A", 50, NOT_READ),
    ("1", LIMITS, "A", 100.0, NOT_READ),
    ("5", UNLISTED_ALLOWED, "UNLISTED", 1e9, NOT_READ),
    ("6", LIMITS, "STEP", 55, 50),
    ("6", LIMITS, "STEP", 60, 50.0),
    ("6-array", LIMITS, "STEP", [55, 5], np.array([50.0, 0.0])),
    ("11", LIMITS, "TEN", "1e1", NOT_READ),
    ("11", LIMITS, "A.VAL", 50, NOT_READ),
    ("14", SWITCHED_OFF, "A", 150, NOT_READ),
    ("14", SWITCHED_OFF, "ANY.DRVH", [[1, 2], "text"], NOT_READ),
    ("array", LIMITS, "WAVE", (0, 1.0, "-1"), NOT_READ),
    ("numpy", LIMITS, "WAVE", np.array([0.5, -1.0]), NOT_READ),
    ("numpy", LIMITS, "A", np.int16(7), NOT_READ),
    ("enum", LIMITS, "MODE", "ON", NOT_READ),
    ("enum", LIMITS, "MODE", 7, NOT_READ),
    ("enum", LIMITS, "BITS", "3", NOT_READ),
    ("text", LIMITS, "NOTE", "hello", NOT_READ),
    ("field", LIMITS, "M.STOP", 1, NOT_READ),
    ("free", LIMITS, "FREE", True, NOT_READ),
    ("free", LIMITS, "FREE", "nancy informs", NOT_READ),
]

REFUSED = [
    ("2", LIMITS, "A", -10, NOT_READ, V.MIN_EXCEEDED),
    ("3", LIMITS, "A", 150, NOT_READ, V.MAX_EXCEEDED),
    ("3", LIMITS, "A", math.nextafter(100, 101), NOT_READ, V.MAX_EXCEEDED),
    ("4", LIMITS, "READONLY", 1, NOT_READ, V.READ_ONLY_CHANNEL),
    ("4", LIMITS, "READONLY", None, NOT_READ, V.READ_ONLY_CHANNEL),
    ("4", UNLISTED_ALLOWED, "READONLY", 1, NOT_READ, V.READ_ONLY_CHANNEL),
    ("5", LIMITS, "UNLISTED", 1, NOT_READ, V.UNLISTED_CHANNEL),
    ("6", LIMITS, "STEP", 95, 50, V.MAX_STEP_EXCEEDED),
    ("6", LIMITS, "STEP", 39.9, 50, V.MAX_STEP_EXCEEDED),
    ("6-order", LIMITS, "STEP", 150, NOT_READ, V.MAX_EXCEEDED),
    ("6-array", LIMITS, "STEP", [55, 50], [50, 0], V.MAX_STEP_EXCEEDED),
    ("6-array", LIMITS, "STEP", [55], [50, 0], V.STEP_CHECK_FAILED),
    ("7", LIMITS, "STEP", 55, CurrentValue.UNREADABLE, V.STEP_CHECK_FAILED),
    ("7", LIMITS, "STEP", 55, CurrentValue.NOT_READ, V.STEP_CHECK_FAILED),
    ("7", LIMITS, "STEP", 55, None, V.STEP_CHECK_FAILED),
    ("8", LIMITS, "STEP", 55, "50", V.STEP_CHECK_FAILED),
    ("8", LIMITS, "STEP", 1, True, V.STEP_CHECK_FAILED),
    ("8", LIMITS, "STEP", 55, math.nan, V.STEP_CHECK_FAILED),
    ("8", LIMITS, "STEP", 55, object(), V.STEP_CHECK_FAILED),
    ("9", LIMITS, "A", "ten", NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "A", None, NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "A", [1, "bad"], NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "A", [1, None], NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "A", [1, 101], NOT_READ, V.MAX_EXCEEDED),
    ("9", LIMITS, "A", [[1]], NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "A", [], NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "A", 1 + 0j, NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "A", True, NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "A", np.bool_(1), NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "A", np.zeros((1, 1)), NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "A", np.array([1, 101]), NOT_READ, V.MAX_EXCEEDED),
    ("9", LIMITS, "A", b"1", NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "A", {"value": 1}, NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "FREE", None, NOT_READ, V.INVALID_VALUE),
    ("9", LIMITS, "BITS", True, NOT_READ, V.INVALID_VALUE),
    ("9", UNLISTED_ALLOWED, "UNLISTED", None, NOT_READ, V.INVALID_VALUE),
    ("10", LIMITS, "A", math.nan, NOT_READ, V.INVALID_VALUE),
    ("10", LIMITS, "A", math.inf, NOT_READ, V.INVALID_VALUE),
    ("10", LIMITS, "A", "nan", NOT_READ, V.INVALID_VALUE),
    ("10", LIMITS, "A", [1.0, math.nan], NOT_READ, V.INVALID_VALUE),
    ("10", LIMITS, "A", np.array([math.nan]), NOT_READ, V.INVALID_VALUE),
    ("10", LIMITS, "STEP", 10**400, 1, V.INVALID_VALUE),
    ("10", LIMITS, "FREE", " -Inf", NOT_READ, V.INVALID_VALUE),
    ("10", LIMITS, "FREE", "1e999", NOT_READ, V.INVALID_VALUE),
    ("10", UNLISTED_ALLOWED, "UNLISTED", math.nan, NOT_READ, V.INVALID_VALUE),
    ("11", LIMITS, "TEN", "5e1", NOT_READ, V.MAX_EXCEEDED),
    ("11", LIMITS, "A", "0x10", NOT_READ, V.INVALID_VALUE),
    ("11", LIMITS, "A", "1_0", NOT_READ, V.INVALID_VALUE),
    ("11", LIMITS, "A", " 1", NOT_READ, V.INVALID_VALUE),
    ("11", LIMITS, "A", "1\n", NOT_READ, V.INVALID_VALUE),
    ("11", LIMITS, "A", "\u0661", NOT_READ, V.INVALID_VALUE),
    ("11", LIMITS, "A.VAL", 150, NOT_READ, V.MAX_EXCEEDED),
    ("11", LIMITS, "a", 1, NOT_READ, V.UNLISTED_CHANNEL),
    ("11", LIMITS, " A", 1, NOT_READ, V.UNLISTED_CHANNEL),
    ("11", UNLISTED_ALLOWED, " A", 1, NOT_READ, V.UNLISTED_CHANNEL),
    ("11", UNLISTED_ALLOWED, "A\n", 1, NOT_READ, V.UNLISTED_CHANNEL),
    ("11", LIMITS, "A.DRVH", 1, NOT_READ, V.FIELD_NOT_LISTED),
    ("11", UNLISTED_ALLOWED, "A.DRVH", 1, NOT_READ, V.FIELD_NOT_LISTED),
    ("11", UNLISTED_ALLOWED, "A.VAL$", 1, NOT_READ, V.FIELD_NOT_LISTED),
    ("11", UNLISTED_ALLOWED, 'A.{"arr":{}}', 1, NOT_READ, V.FIELD_NOT_LISTED),
    ("12-13", NO_DATABASE, "A", 1, NOT_READ, V.LIMITS_UNAVAILABLE),
    ("12-13", LimitsValidator(None), "A", 1, NOT_READ, V.LIMITS_UNAVAILABLE),
    (
        "12-13",
        LimitsValidator(None, allow_unlisted=True),
        "A",
        1,
        NOT_READ,
        V.LIMITS_UNAVAILABLE,
    ),
    ("14", SWITCHED_OFF, "A", math.nan, NOT_READ, V.INVALID_VALUE),
    ("14", SWITCHED_OFF, "A", [1, [math.inf]], NOT_READ, V.INVALID_VALUE),
    ("14", SWITCHED_OFF, "A", "NaN", NOT_READ, V.INVALID_VALUE),
    ("14", SWITCHED_OFF, "A", Decimal("Infinity"), NOT_READ, V.INVALID_VALUE),
    ("14", SWITCHED_OFF, "A", complex(0, math.nan), NOT_READ, V.INVALID_VALUE),
    ("14", SWITCHED_OFF, "A", b"nan", NOT_READ, V.INVALID_VALUE),
    ("relative", LIMITS, "RELATIVE", 11.5, 10, V.MAX_STEP_EXCEEDED),
    ("relative", LIMITS, "RELATIVE", 1006, 1000, V.MAX_STEP_EXCEEDED),
    ("relative", LIMITS, "RELATIVE", 0.1, 0, V.MAX_STEP_EXCEEDED),
    ("enum", LIMITS, "MODE", "off", NOT_READ, V.NOT_ALLOWED),
    ("enum", LIMITS, "MODE", "7", NOT_READ, V.NOT_ALLOWED),
    ("enum", LIMITS, "MODE", 8, NOT_READ, V.NOT_ALLOWED),
    ("enum", LIMITS, "BITS", 2, NOT_READ, V.NOT_ALLOWED),
    ("length", LIMITS, "NOTE", "longer", NOT_READ, V.NOT_ALLOWED),
    ("length", LIMITS, "WAVE", [0, 0, 0, 0], NOT_READ, V.NOT_ALLOWED),
    ("field", LIMITS, "M.VAL", 1, NOT_READ, V.UNLISTED_CHANNEL),
]


@pytest.mark.parametrize(
    ("validator", "channel", "value", "current"),
    [pytest.param(*row, id=f"case {case}: {row[1]!r} = {row[2]!r:.20}") for case, *row in PASSES],
)
def test_passes(validator: LimitsValidator, channel: str, value: Any, current: Any) -> None:
    validator.validate(channel, value, current)


@pytest.mark.parametrize(
    ("validator", "channel", "value", "current", "kind"),
    [
        pytest.param(*row, id=f"case {case}: {row[1]!r} = {row[2]!r:.20} is {row[4]}")
        for case, *row in REFUSED
    ],
)
def test_refused(
    validator: LimitsValidator, channel: str, value: Any, current: Any, kind: ViolationType
) -> None:
    assert refusal(validator, channel, value, current).violation_type is kind


def test_case_2_keeps_the_attempted_value() -> None:
    assert refusal(LIMITS, "A", -10).attempted_value == -10


def test_case_3_the_message_names_channel_value_bounds_units_and_the_way_out() -> None:
    error = refusal(LIMITS, "A", 150)
    assert str(error) == (
        "A: 150 mm is above max_value 100 mm; 0 to 100 mm is allowed. "
        "Write a value within these limits (MAX_EXCEEDED)"
    )
    assert (error.min_value, error.max_value) == (0, 100)


def test_case_6_the_error_carries_current_value_and_step() -> None:
    error = refusal(LIMITS, "STEP", 95, 50)
    assert (error.current_value, error.max_step) == (50, 10)
    assert "45 away from the current value 50" in str(error)


def test_a_step_is_not_refused_for_binary_rounding_alone() -> None:
    database = LimitsDatabase.from_dict({"X": {"max_step": 0.1}})
    LimitsValidator(database).validate("X", 0.4, 0.3)


def test_rounding_never_lets_a_larger_step_pass() -> None:
    database = LimitsDatabase.from_dict({"X": {"max_step": 1}})
    assert (
        refusal(LimitsValidator(database), "X", 1e16 + 4, 1e16).violation_type
        is V.MAX_STEP_EXCEEDED
    )


def test_case_7_the_message_says_whether_the_value_was_unreadable_or_not_read() -> None:
    assert "could not be read" in str(refusal(LIMITS, "STEP", 55, CurrentValue.UNREADABLE))
    assert "could not be read" in str(refusal(LIMITS, "STEP", 55, None))
    assert "was not read" in str(refusal(LIMITS, "STEP", 55))


def test_case_11_an_unlisted_name_is_told_the_listed_one() -> None:
    assert "names are exact; A is listed" in str(refusal(LIMITS, "a", 1))


def test_case_13_the_refusal_tells_why_there_is_no_database() -> None:
    assert "limits.json, line 3: broken" in str(refusal(NO_DATABASE, "A", 1))


def test_static_check_leaves_out_the_step_alone() -> None:
    LIMITS.static_check("STEP", 95)
    with pytest.raises(ChannelLimitsViolationError):
        LIMITS.static_check("STEP", 150)


@pytest.mark.parametrize(
    ("validator", "channel", "needed"),
    [
        (LIMITS, "STEP", True),
        (LIMITS, "STEP.VAL", True),
        (LIMITS, "RELATIVE", True),
        (LIMITS, "A", False),
        (LIMITS, "UNLISTED", False),
        (NO_DATABASE, "STEP", False),
        (LimitsValidator(DATABASE, enabled=False), "STEP", False),
    ],
)
def test_the_current_value_is_needed_where_a_step_is_bounded(
    validator: LimitsValidator, channel: str, *, needed: bool
) -> None:
    assert validator.needs_current_value(channel) is needed


def test_a_number_that_lies_about_its_order_is_judged_by_its_value() -> None:
    class Liar(float):
        def __lt__(self, other: object) -> bool:
            return False

        __gt__ = __lt__

    assert refusal(LIMITS, "A", Liar(150)).violation_type is V.MAX_EXCEEDED


def test_a_value_that_cannot_be_shown_is_refused_all_the_same() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    assert refusal(LIMITS, "A", Rude()).violation_type is V.INVALID_VALUE
    assert refusal(LIMITS, "A", 10**5000).violation_type is V.INVALID_VALUE


def test_a_list_that_holds_itself_does_not_hang_switched_off_limits() -> None:
    knot: list[Any] = [1]
    knot.append(knot)
    SWITCHED_OFF.validate("A", knot)


odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.decimals()
    | st.sampled_from(["nan", "inf", "-inf", "1e999", "0x10", "5e1", "1e3", "1_0", "\u0661"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.frozensets(st.integers(), max_size=2)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(odd)
def test_nothing_but_finite_numbers_within_the_bounds_passes_a_bounded_channel(value: Any) -> None:
    try:
        LIMITS.validate("A", value)
    except ChannelLimitsViolationError:
        return
    items = value if isinstance(value, list | tuple) else [value]
    assert items
    for item in items:
        assert type(item) in (int, float, str)
        assert 0 <= float(item) <= 100
        assert not isinstance(item, str) or set(item) <= set("0123456789+-.eE")


@given(st.floats(0, 100) | st.integers(0, 100))
def test_every_number_within_the_bounds_passes(value: float) -> None:
    LIMITS.validate("A", value)
    LIMITS.validate("A", repr(value))
    LIMITS.validate("A", [value, value])


@given(st.floats(), st.floats())
def test_no_write_passes_that_moves_further_than_a_step(value: float, current: float) -> None:
    try:
        LIMITS.validate("STEP", value, current)
    except ChannelLimitsViolationError:
        return
    assert abs(value - current) <= 10 * (1 + 1e-6)
