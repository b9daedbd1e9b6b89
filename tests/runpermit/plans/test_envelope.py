import math
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runpermit.limits import ChannelLimitsConfig, Verification
from runpermit.models.plan import (
    MAX_PLANNED_ELEMENTS,
    Declaration,
    Plan,
    PlanKind,
    PlannedChannel,
)
from runpermit.plans import Envelope, Value
from tests.runpermit.plans.recorded import ARRAYS, KINDS, LIVE, VALUES, WRITES, recorded, unhurried

MACHINE: dict[str, Value] = {
    "A": 0.0,
    "B": 0.0,
    "MODE": "OFF",
    "STATE": 0,
    "WAVE": (0.0, 1.0),
}
TENTH = ChannelLimitsConfig(plan_tolerance=0.1)
LONG = tuple(float(n) for n in range(MAX_PLANNED_ELEMENTS + 1))
OTHER = (*LONG[:-1], 0.0)


def envelope(*writes: tuple[str, Value], **more: Any) -> Envelope:
    return Envelope(recorded(MACHINE, writes, entry=TENTH, exact=["STATE"], **more))


def forwarded(session: Envelope, *writes: tuple[str, Value]) -> list[str | None]:
    """What the session says of `writes`, each forwarded where it may be."""
    said = []
    for channel, value in writes:
        said.append(session.refusal(channel, value))
        if said[-1] is None:
            session.forwarded(channel, value)
    return said


def test_what_was_planned_may_be_written_once() -> None:
    first, second, third = forwarded(envelope(("A", 1.0), ("A", 2.0)), *[("A", 1.0)] * 3)

    assert (first, second) == (None, None)
    assert third is not None
    assert "can't be set to 1 A: the plan has 2 writes to it, and these are done" in third


@pytest.mark.parametrize("value", [-0.1, 0.0, 0.7, 2.0, 2.1])
def test_a_number_may_lie_between_what_is_and_what_is_planned_or_nearly_so(value: float) -> None:
    assert envelope(("A", 1.0), ("A", 2.0)).refusal("A", value) is None


@pytest.mark.parametrize("value", [-0.11, 2.11, -math.inf, math.nan, "1.0", (1.0,), True])
def test_a_number_may_not_lie_outside(value: Any) -> None:
    why = envelope(("A", 1.0), ("A", 2.0)).refusal("A", value)

    assert why is not None
    assert "can't be set to" in why
    assert "Rehearse again" in why


def test_the_reason_tells_what_is_planned() -> None:
    why = envelope(("A", 1.0)).refusal("A", 5.0)

    assert why is not None
    assert "can't be set to 5 A: its plan goes from 0 to 1 (tolerance 0.1 A)" in why


def test_a_channel_that_is_not_planned_may_not_be_written() -> None:
    session = envelope(("A", 1.0))

    assert "is not in the approved plan" in str(session.refusal("B", 0.0))
    assert "is not in the approved plan" in str(session.drift("B", 0.0))


def test_numbers_that_were_left_out_are_bound_by_the_channels_range_and_count() -> None:
    session = envelope(("A", 1.0), ("A", 5.0), ("A", 3.0), told=1)

    said = forwarded(session, ("A", 5.1), ("A", 5.2), ("A", 0.0), ("A", 0.0), ("A", 0.0))

    assert [why is None for why in said] == [True, False, True, True, False]


EXACTLY = [("MODE", "ON"), ("STATE", 2), ("A", 1.0), ("MODE", "USER")]


def test_what_comes_exactly_comes_in_its_order_across_channels() -> None:
    said = forwarded(
        envelope(*EXACTLY),
        ("STATE", 2),
        ("MODE", "USER"),
        ("A", 0.5),
        ("MODE", "ON"),
        ("MODE", "USER"),
        ("STATE", 1),
        ("STATE", 2),
        ("MODE", "USER"),
        ("MODE", "USER"),
    )

    admitted = [why is None for why in said]
    assert admitted == [False, False, True, True, False, False, True, True, False]
    assert "the plan has MODE set to ON before, exactly" in str(said[0])


@pytest.mark.parametrize("value", [1.05, "2", (2,), None])
def test_nothing_is_tolerated_where_values_come_exactly(value: Any) -> None:
    session = envelope(("STATE", 2))

    assert session.refusal("STATE", value) is not None
    assert session.refusal("STATE", 2) is None


@pytest.mark.parametrize(("state", "may"), [("SAFE", True), ("FULL POWER", False), ("", False)])
def test_a_state_is_the_planned_one_by_its_number_and_name(state: str, *, may: bool) -> None:
    plan = recorded(MACHINE, [("STATE", 2)], exact=["STATE"])
    (write,) = plan.writes
    session = Envelope(plan.model_copy(update={"writes": [write.model_copy(update=SAFE)]}))

    why = session.refusal("STATE", 2, state)

    assert (why is None) is may
    assert may or "and the plan has SAFE (2)" in str(why)


SAFE = {"state": "SAFE"}


@pytest.mark.parametrize("value", [(-0.1, 0.9), (2.0, 1.0), (1.0, 3.1), (2.1, 1.5)])
def test_an_array_is_judged_element_by_element(value: tuple[float, ...]) -> None:
    assert envelope(("WAVE", (2.0, 1.0)), ("WAVE", (1.0, 3.0))).refusal("WAVE", value) is None


@pytest.mark.parametrize(
    "value", [(2.2, 1.0), (0.0, 0.8), (1.0,), (1.0, 1.0, 1.0), (1.0, math.nan), (1.0, "a"), 1.0, ()]
)
def test_an_array_may_not_lie_outside_in_any_element(value: Any) -> None:
    why = envelope(("WAVE", (2.0, 1.0)), ("WAVE", (1.0, 3.0))).refusal("WAVE", value)

    assert why is not None


def test_the_present_value_counts_for_arrays_of_its_length_alone() -> None:
    session = envelope(("WAVE", (2.0, 2.0, 2.0)), ("WAVE", (1.0, 1.0, 1.0)))

    assert session.refusal("WAVE", (1.0, 2.0, 1.5)) is None
    assert session.refusal("WAVE", (0.0, 1.0)) is not None
    assert session.refusal("WAVE", (0.0, 1.0, 1.0)) is not None


def test_long_arrays_are_exactly_those_planned_in_their_order() -> None:
    writes = [("WAVE", LONG), ("WAVE", OTHER)]
    session = envelope(*writes)

    said = forwarded(session, ("WAVE", OTHER), ("WAVE", LONG), ("WAVE", LONG), ("WAVE", OTHER))

    assert [why is None for why in said] == [False, True, False, True]
    assert "another array" in str(said[0])


RANGE = Declaration(channel="A", low=-1, high=1, max_writes=2)


@pytest.mark.parametrize("value", [-1.0, 0, 1.0, (0.0, 1.0)])
def test_a_declared_channel_takes_its_range(value: Any) -> None:
    assert envelope(declared=[RANGE]).refusal("A", value) is None


@pytest.mark.parametrize("value", [-1.01, 1.01, math.nan, "0", (0.0, 1.1), (0.0, "a"), ()])
def test_nothing_is_tolerated_beyond_a_declared_range(value: Any) -> None:
    assert envelope(declared=[RANGE]).refusal("A", value) is not None


def test_a_declared_channel_takes_as_many_writes_as_are_declared_whatever_was_rehearsed() -> None:
    session = envelope(("A", 5.0), declared=[RANGE])

    said = forwarded(session, ("A", 5.0), *[("A", 0.5)] * 3)

    assert [why is None for why in said] == [False, True, True, False]
    assert "it is declared from -1 to 1" in str(said[0])
    assert "2 writes to it are declared" in str(said[3])


def test_of_two_declarations_of_a_channel_both_hold() -> None:
    narrow = Declaration(channel="A", low=0, high=5, max_writes=1)
    session = envelope(declared=[RANGE, narrow])

    said = forwarded(session, ("A", -0.5), ("A", 2.0), ("A", 0.5), ("A", 0.5))

    assert [why is None for why in said] == [False, False, True, False]


def test_beside_declared_channels_others_are_bound_by_what_was_rehearsed() -> None:
    session = envelope(("B", 1.0), declared=[RANGE], problem="it failed")

    said = forwarded(session, ("B", 2.0), ("B", 1.0), ("B", 1.0))

    assert [why is None for why in said] == [False, True, False]


def test_an_incomplete_plan_lets_nothing_be_written() -> None:
    session = envelope(("A", 1.0), problem="it failed")

    assert "incomplete" in str(session.refusal("A", 1.0))


def with_facts(**facts: Any) -> Envelope:
    channel = PlannedChannel(channel="A", **{"live": 0.0, "writes": 1, **facts})
    return Envelope(Plan(kind=PlanKind.COMPLETE, channels=[channel]))


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"low": 0.0},
        {"high": 1.0},
        {"low": 0.0, "high": 1.0, "live": None},
        {"low": 0.0, "high": 1.0, "live": "ON"},
        {"low": 0.0, "high": 1.0, "exact": True},
        {"low": 0.0, "high": 1.0, "writes": 0},
    ],
)
def test_facts_that_do_not_say_what_is_planned_let_nothing_be_written(
    facts: dict[str, Any],
) -> None:
    assert with_facts(low=0.0, high=1.0).refusal("A", 0.5) is None
    assert with_facts(**facts).refusal("A", 0.5) is not None


@pytest.mark.parametrize(
    ("channel", "live"),
    [("A", 0.1), ("A", -0.1), ("MODE", "OFF"), ("STATE", 0), ("WAVE", (0.1, 0.9))],
)
def test_a_channel_may_have_moved_within_its_tolerance(channel: str, live: Value) -> None:
    session = envelope(*((name, MACHINE[name]) for name in MACHINE))

    assert session.drift(channel, live) is None


@pytest.mark.parametrize(
    ("channel", "live"),
    [
        ("A", 0.11),
        ("A", "0"),
        ("A", (0.0,)),
        ("A", math.nan),
        ("A", None),
        ("MODE", "ON"),
        ("STATE", 1),
        ("STATE", 0.05),
        ("WAVE", (0.0, 1.2)),
        ("WAVE", (0.0,)),
        ("WAVE", (0.0, 1.0, 0.0)),
        ("WAVE", 0.0),
        ("WAVE", LONG),
    ],
)
def test_a_channel_that_moved_further_is_not_as_planned(channel: str, live: Any) -> None:
    session = envelope(*((name, MACHINE[name]) for name in MACHINE))

    assert session.drift(channel, live) is not None


def test_the_reason_tells_what_it_reads_and_read() -> None:
    why = envelope(("A", 1.0)).drift("A", 0.412)

    assert why == (
        "reads 0.412 A, and 0 A when the plan was made (tolerance 0.1 A). Rehearse again, and have "
        "the new plan approved"
    )


def test_a_long_array_is_as_planned_where_it_is_the_same() -> None:
    session = Envelope(recorded({"WAVE": LONG}, [("WAVE", OTHER)], entry=TENTH))

    assert session.drift("WAVE", LONG) is None
    assert session.drift("WAVE", OTHER) is not None


def test_a_channel_that_could_not_be_read_is_not_as_planned() -> None:
    assert "could not be read when the plan was made" in str(
        with_facts(live=None, tolerance=1.0).drift("A", 0.0)
    )


def test_without_a_tolerance_only_the_very_value_is_as_planned() -> None:
    session = with_facts(low=0.0, high=1.0)

    assert session.drift("A", 0.0) is None
    assert session.drift("A", 1e-9) is not None
    assert session.refusal("A", 1.0 + 1e-9) is not None


def test_a_long_array_that_is_not_told_may_not_be_written() -> None:
    planned = recorded({"WAVE": LONG}, [("WAVE", LONG), ("WAVE", LONG)])
    session = Envelope(planned.model_copy(update={"writes": planned.writes[:1]}))

    said = forwarded(session, ("WAVE", LONG), ("WAVE", LONG))

    assert [why is None for why in said] == [True, False]


@pytest.mark.parametrize("facts", [{}, {"exact": True, "tolerance": 0.1}])
def test_a_reason_tells_no_tolerance_where_there_is_none(facts: dict[str, Any]) -> None:
    assert "tolerance" not in str(with_facts(low=0.0, high=1.0, **facts).drift("A", 0.05))


ENTRIES = st.sampled_from(
    [
        None,
        TENTH,
        ChannelLimitsConfig(plan_tolerance=0.0),
        ChannelLimitsConfig(verification=Verification(tolerance_absolute=1e-6), max_step=1.0),
    ]
)
ATTEMPTS = st.lists(st.tuples(st.sampled_from(sorted(KINDS)), VALUES), max_size=12)


@unhurried
@given(LIVE, WRITES, ENTRIES)
def test_what_was_rehearsed_is_always_let_pass(
    live: dict[str, Any], writes: list[tuple[str, Any]], entry: ChannelLimitsConfig | None
) -> None:
    session = Envelope(recorded(live, writes, entry=entry))

    assert all(session.drift(name, live[name]) is None for name, _ in writes)
    assert not any(forwarded(session, *writes))


@unhurried
@given(LIVE, WRITES, ENTRIES, ATTEMPTS, st.randoms(), st.integers(0, 12))
def test_nothing_is_let_pass_beyond_the_plan_whatever_is_tried_in_whatever_order(
    live: dict[str, Any],
    writes: list[tuple[str, Any]],
    entry: ChannelLimitsConfig | None,
    attempts: list[tuple[str, Any]],
    random: Any,
    told: int,
) -> None:
    plan = recorded(live, writes, entry=entry, told=min(told, len(writes)))
    session = Envelope(plan)
    tried = [*writes, *writes, *attempts]
    random.shuffle(tried)

    passed = [
        write for write, why in zip(tried, forwarded(session, *tried), strict=True) if why is None
    ]

    exact = ["MODE", "NOTE"]
    planned = [write for write in writes if write[0] in exact]
    admitted = [write for write in passed if write[0] in exact]
    assert admitted == planned[: len(admitted)]
    for channel in plan.channels:
        values = [value for name, value in passed if name == channel.channel]
        assert len(values) <= channel.writes
        if channel.channel in {"A", "B", "WAVE"}:
            reference = [new for name, new in [*live.items(), *writes] if name == channel.channel]
            for value in values:
                assert lies_within(value, reference, channel.tolerance or 0.0)
    assert {name for name, _ in passed} <= {channel.channel for channel in plan.channels}


def lies_within(value: Any, reference: list[Any], tolerance: float) -> bool:
    """Whether each element lies in the span of the same element of those equally long."""
    wanted, *others = (
        item if isinstance(item, tuple) else (item,) for item in chain([value], reference)
    )
    alike = [item for item in others if len(item) == len(wanted)]
    return bool(alike) and all(
        min(column) - tolerance <= element <= max(column) + tolerance
        for element, *column in zip(wanted, *alike, strict=True)
    )


@unhurried
@given(
    st.floats(-10, 10),
    st.floats(-10, 10),
    st.integers(0, 4),
    st.lists(st.floats(-20, 20) | ARRAYS, max_size=10),
)
def test_a_declared_channel_never_leaves_its_range_nor_exceeds_its_count(
    low: float, high: float, most: int, values: list[Any]
) -> None:
    declared = Declaration(channel="A", low=low, high=high, max_writes=most)
    session = envelope(declared=[declared])

    said = forwarded(session, *(("A", value) for value in values))

    passed = [value for value, why in zip(values, said, strict=True) if why is None]
    assert len(passed) <= most
    flat = [item for value in passed for item in (value if isinstance(value, tuple) else (value,))]
    assert all(low <= item <= high for item in flat)
