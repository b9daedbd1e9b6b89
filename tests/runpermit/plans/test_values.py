import hashlib
import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.policy.attempt import recorded as journalled
from runpermit.models.plan import MAX_PLANNED_ELEMENTS
from runpermit.plans import as_planned, same
from tests.runpermit.plans.recorded import VALUES, unhurried

MANY = MAX_PLANNED_ELEMENTS + 1
SCALARS = (
    st.floats() | st.integers(-(2**31), 2**31) | st.text() | st.text("\udc80\\udc80", max_size=8)
)
ANY_VALUE = SCALARS | st.lists(SCALARS, max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("value", "planned"),
    [
        (1, 1),
        (0.5, 0.5),
        ("ON", "ON"),
        ((1, 2.5), [1, 2.5]),
        (("a", "b"), ["a", "b"]),
        (math.nan, {"_type": "float", "value": "nan"}),
    ],
)
def test_a_value_is_planned_as_json(value: object, planned: object) -> None:
    assert as_planned(value) == planned  # type: ignore[arg-type]


def test_a_long_array_is_planned_by_its_sha256() -> None:
    value = tuple(float(n) for n in range(MANY))
    digest = hashlib.sha256(struct.pack(f"<{MANY}d", *value)).hexdigest()

    assert as_planned(value) == {
        "_type": "array",
        "count": MANY,
        "sha256": digest,
        "first": list(value[:20]),
        "min": 0.0,
        "max": MANY - 1.0,
    }


def test_an_array_of_as_many_elements_as_are_planned_is_planned_one_by_one() -> None:
    assert as_planned((1.0,) * MAX_PLANNED_ELEMENTS) == [1.0] * MAX_PLANNED_ELEMENTS


@pytest.mark.parametrize(
    "value", [tuple(n / 7 for n in range(10_001)), tuple(f"µ{n}" for n in range(10_001))]
)
def test_the_sha256_is_the_journals(value: tuple[float, ...]) -> None:
    told = journalled(value)
    assert isinstance(told, dict)
    assert as_planned(value)["sha256"] == told["sha256"]
    assert same(told, value)


@unhurried
@given(ANY_VALUE)
def test_what_is_planned_is_json_and_the_same(value: object) -> None:
    planned = as_planned(value)  # type: ignore[arg-type]

    assert same(json.loads(json.dumps(planned, allow_nan=False)), value)  # type: ignore[arg-type]
    json.dumps(planned, ensure_ascii=False).encode()


@unhurried
@given(ANY_VALUE, ANY_VALUE)
def test_only_equal_values_are_the_same(one: object, other: object) -> None:
    # NaN is planned as NaN, so that its repr is what tells.
    equal = one == other or repr(one) == repr(other)
    assert same(as_planned(one), other) is equal  # type: ignore[arg-type]


@unhurried
@given(VALUES, VALUES)
def test_a_long_array_is_the_same_as_itself_alone(one: object, other: object) -> None:
    array = (one,) * MANY
    changed = (*array[:-1], other)
    equal = one == other

    if not isinstance(one, tuple) and not isinstance(other, tuple):
        if isinstance(one, str) is isinstance(other, str):
            assert same(as_planned(array), changed) is equal  # type: ignore[arg-type]
        assert not same(as_planned(array), array[:-1])  # type: ignore[arg-type]
        assert not same(as_planned(array), one)  # type: ignore[arg-type]


def test_bytes_that_are_no_text_are_not_the_text_that_shows_them() -> None:
    assert not same(as_planned("\\udcff"), "\udcff")
    assert same(as_planned("\udcff"), "\udcff")


def test_a_text_that_goes_on_unseen_is_another_one() -> None:
    assert same(as_planned("x" * 20_000), "x" * 20_000)
    assert not same(as_planned("x" * 20_000), "x" * 19_999 + "y")


@pytest.mark.parametrize("told", [{"_type": "array", "count": 2}, {"_type": "array"}, {}, None])
def test_what_can_not_be_told_is_never_the_same(told: object) -> None:
    assert not same(told, (1.0, 2.0))
    assert not same(told, 1.0)
    assert not same(told, None)  # type: ignore[arg-type]


def test_a_truth_value_is_no_number() -> None:
    assert not same(1, True)  # noqa: FBT003
    assert not same(True, 1)  # noqa: FBT003
