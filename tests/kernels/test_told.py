"""What the host makes of what a rehearsing kernel tells, true or forged."""

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.inside.clock import Clock
from kernels.inside.declaring import MAX_DECLARATIONS, Declared, checked
from kernels.inside.rehearsal import MAX_WAITS, Rehearsal
from kernels.told import Told
from runpermit.models.plan import Declaration

FIELDS: dict[str, Any] = {"channel": "A", "low": 0, "high": 1, "max_writes": 1}
DECLARATION = Declaration(**FIELDS)


def told(*messages: Any) -> Told:
    found = Told()
    for message in messages:
        assert found.take(message if isinstance(message, bytes) else json.dumps(message).encode())
    return found


@pytest.mark.parametrize(
    ("numbers", "given_as"),
    [
        ((0, 1.5, 3), (0.0, 1.5, 3)),
        ((np.float32(0.5), np.float64(1), np.int16(3)), (0.5, 1.0, 3)),
        ((Fraction(1, 4), Fraction(1, 2), 100_000), (0.25, 0.5, 100_000)),
        ((2, 2, 1), (2.0, 2.0, 1)),
    ],
)
def test_any_kind_of_number_can_be_declared(numbers: Any, given_as: Any) -> None:
    assert checked("A", *numbers) == Declared("A", *given_as)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((b"A", 0, 1, 1), TypeError, "channel must be text, not bytes"),
        (("A\n", 0, 1, 1), ValueError, r"not 'A\\n'"),
        (("A" * 257, 0, 1, 1), ValueError, "1 to 256 characters"),
        (("\ud800", 0, 1, 1), ValueError, "that can be printed"),
        (("A", "0", 1, 1), TypeError, "A: low must be a number, not str"),
        (("A", True, 1, 1), TypeError, "A: low must be a number, not bool"),
        (("A", np.bool_(1), 1, 1), TypeError, "A: low must be a number"),
        (("A", 0, None, 1), TypeError, "A: high must be a number, not NoneType"),
        (("A", math.nan, 1, 1), ValueError, "A: low must be a finite number"),
        (("A", 0, math.inf, 1), ValueError, "A: high must be a finite number"),
        (("A", 0, 10**400, 1), ValueError, "A: high must be a finite number"),
        (("A", 1, 0, 1), ValueError, "A: low = 1 is above high = 0"),
        (("A", 0, 1, 1.0), TypeError, "A: max_writes must be a whole number, not float"),
        (("A", 0, 1, True), TypeError, "A: max_writes must be a whole number, not bool"),
        (("A", 0, 1, 0), ValueError, "A: max_writes must be from 1 to 100000"),
        (("A", 0, 1, 100_001), ValueError, "A: max_writes must be from 1 to 100000"),
    ],
)
def test_what_cannot_be_declared_is_told_by_argument_and_rule(
    arguments: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        checked(*arguments)


def test_what_the_kernel_tells_is_understood() -> None:
    found = Told()
    clock = Clock()
    rehearsal = Rehearsal(lambda message: found.take(json.dumps(message).encode()), clock)
    rehearsal.declared(Declared("A", 0, 1, 1))
    rehearsal.written()
    clock.ahead = 2.5
    rehearsal.written()
    assert found.waited == 2.5
    clock.ahead = 4.0
    rehearsal.ended()
    assert found.declared == (DECLARATION,)
    assert found.waits == (0.0, 2.5)
    assert found.waited == 4.0


@pytest.mark.parametrize(
    "message",
    [
        b"\xff",
        b"[" * 4096,
        b"1" * 4096,
        b'{"waited": NaN}',
        b'{"waited": 1e999}',
        b'{"declared": {"channel": "A", "low": -Infinity, "high": 1, "max_writes": 1}}',
        [],
        {},
        {"waited": None},
        {"waited": True},
        {"waited": -0.5},
        {"waited": "1.0"},
        {"waited_in_all": "9.0"},
        b'{"waited_in_all": Infinity}',
        {"declared": [*FIELDS.values()]},
        {"declared": FIELDS | {"high": True}},
        {"declared": FIELDS | {"low": 2}},
        {"declared": FIELDS | {"max_writes": 1e5}},
        {"declared": FIELDS | {"approved": True}},
        {"declared": {"channel": "A"}},
    ],
)
def test_what_is_malformed_is_dropped(message: Any) -> None:
    found = told({"declared": FIELDS}, {"waited": 1.5}, message, {"waited": 2.5})
    assert found.declared == (DECLARATION,)
    assert found.waits == (1.5, 2.5)
    assert found.waited == 2.5


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["declared", "waited", *FIELDS]), inner
    ),
))  # fmt: skip
def test_whatever_comes_nothing_is_raised_and_all_that_is_kept_is_valid(message: Any) -> None:
    found = told(message)
    for declaration in found.declared:
        assert declaration.low <= declaration.high
        assert 1 <= declaration.max_writes <= 100_000
    assert all(math.isfinite(wait) and wait >= 0 for wait in (*found.waits, found.waited))


def test_declarations_are_bounded_but_the_last_of_a_channel_still_counts() -> None:
    found = told(*({"declared": FIELDS | {"channel": f"A{n}"}} for n in range(150)))
    assert len(found.declared) == MAX_DECLARATIONS
    assert found.take(json.dumps({"declared": FIELDS | {"channel": "A7", "high": 9}}).encode())
    assert len(found.declared) == MAX_DECLARATIONS
    assert [d.channel for d in found.declared if d.high == 9] == ["A7"]


def test_waits_are_bounded_and_then_nothing_more_is_wanted() -> None:
    found = Told()
    wanted = [found.take(b'{"waited": 1.0}') for _ in range(MAX_WAITS + MAX_DECLARATIONS + 1)]
    assert len(found.waits) == MAX_WAITS
    assert all(wanted[:-1])
    assert not wanted[-1]


def test_the_kernel_stops_to_tell_its_waits_where_the_host_would_stop_to_listen() -> None:
    messages: list[Any] = []
    rehearsal = Rehearsal(messages.append, Clock())
    for _ in range(MAX_WAITS + 5):
        rehearsal.written()
    assert len(messages) == MAX_WAITS
