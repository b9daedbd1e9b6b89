import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runpermit.limits import ChannelLimitsConfig
from runpermit.models.plan import Declaration, Plan, PlanKind, PlannedChannel, PlannedWrite
from runpermit.plans import build_plan
from tests.runpermit.plans.recorded import AT, LIVE, WRITES, recorded, unhurried

MACHINE = {"A": 0.0, "B": 0.0, "MODE": "OFF", "WAVE": (0.0, 0.0)}
SLOW = ChannelLimitsConfig(min_interval=2.0)
RANGE = Declaration(channel="A", low=-1, high=1, max_writes=5)


def times(plan: Plan) -> list[float]:
    return [write.after for write in plan.writes]


@pytest.mark.parametrize(
    ("writes", "declared", "problem", "kind"),
    [
        ([], (), "", PlanKind.READS_ONLY),
        ([], (), "it failed", PlanKind.INCOMPLETE),
        ([("A", 1.0)], (), "", PlanKind.COMPLETE),
        ([("A", 1.0)], (), "it failed", PlanKind.INCOMPLETE),
        ([("A", 1.0)], (RANGE,), "", PlanKind.DECLARED),
        ([("A", 1.0)], (RANGE,), "it failed", PlanKind.DECLARED),
        ([], (RANGE,), "it failed", PlanKind.DECLARED),
    ],
)
def test_the_kind_of_a_plan(
    writes: list[tuple[str, float]],
    declared: tuple[Declaration, ...],
    problem: str,
    kind: PlanKind,
) -> None:
    plan = recorded(MACHINE, writes, declared=declared, problem=problem)

    assert (plan.kind, plan.problem) == (kind, problem)


def test_a_plan_tells_what_was_recorded() -> None:
    plan = recorded(MACHINE, [("B", 1.0), ("A", 2.0)], upstream="model", declared=[RANGE])

    assert [(write.channel, write.old, write.new) for write in plan.writes] == [
        ("B", 0.0, 1.0),
        ("A", 0.0, 2.0),
    ]
    assert [channel.channel for channel in plan.channels] == ["B", "A"]
    assert (plan.reads, plan.upstream, plan.declared) == (["R"], "model", [RANGE])
    assert plan.rehearsed_at == AT


@pytest.mark.parametrize("channel", ["MODE", "WAVE"])
def test_what_must_be_told_one_by_one_and_is_not_makes_a_plan_incomplete(channel: str) -> None:
    plan = recorded(MACHINE, [(channel, MACHINE[channel])] * 3, told=2)

    assert plan.kind is PlanKind.INCOMPLETE
    assert f"{channel} is written 3 times" in plan.problem
    assert "only 2 of them" in plan.problem


def test_numbers_that_are_left_out_are_told_by_their_range() -> None:
    plan = recorded(MACHINE, [("MODE", "ON"), ("A", 1.0), ("A", 2.0)], told=2)

    assert plan.kind is PlanKind.COMPLETE
    assert (plan.left_out, plan.count) == (1, 3)


def test_extremes_do_not_tell_of_arrays() -> None:
    plan = recorded(MACHINE, [("WAVE", (1.0, 2.0))])
    facts = {"low": 0.0, "high": 2.0, "last": 1.0, "writes": 2}
    channel = plan.channels[0].model_copy(update=facts)

    assert built([], [channel], list(plan.writes), "").kind is PlanKind.INCOMPLETE


def test_a_range_can_not_be_declared_for_what_comes_exactly() -> None:
    declared = Declaration(channel="MODE", low=0, high=3, max_writes=5)
    plan = recorded(MACHINE, [], declared=[declared])

    assert plan.kind is PlanKind.INCOMPLETE
    assert "MODE is declared as a range" in plan.problem


def built(
    declared: list[Declaration],
    channels: list[PlannedChannel],
    writes: Sequence[PlannedWrite] = (),
    problem: str = "it failed.",
) -> Plan:
    return build_plan(
        writes=writes,
        left_out=sum(channel.writes for channel in channels) - len(writes),
        channels=channels,
        reads=[],
        unknown=[],
        machine=[],
        upstream="",
        declared=declared,
        problem=problem,
        waits=None,
        at=None,
    )


def test_a_declared_channel_of_which_nothing_is_known_makes_a_plan_incomplete() -> None:
    plan = built([RANGE], [])

    assert plan.kind is PlanKind.INCOMPLETE
    assert plan.problem.startswith("it failed. A is declared")


def test_a_channel_that_can_not_be_read_makes_a_plan_incomplete() -> None:
    plan = built([RANGE], [PlannedChannel(channel="A", live=None)])

    assert plan.kind is PlanKind.INCOMPLETE
    assert "A can't be read" in plan.problem


@pytest.mark.parametrize("waits", [[3, 8, 8], [0, 5, 5], (0.0, 5.0, 5.0)])
def test_the_waits_that_were_shortened_are_told_in_full(waits: list[float]) -> None:
    plan = recorded(MACHINE, [("A", 1.0), ("B", 1.0), ("A", 2.0)], after=[0, 1, 2], waits=waits)

    assert times(plan) == [0, 6, 7]
    assert plan.seconds == 7


@pytest.mark.parametrize(
    "waits",
    [
        None,
        [],
        [0, 5],
        [0, 5, 5, 5],
        [0, math.nan, 5],
        [0, math.inf, math.inf],
        [-1, 0, 5],
        [0, 5, 4],
        [0, "5", 6],
        [0, True, 6],
        [0, 5, 1e300],
        {"0": 0},
        "abc",
    ],
)
def test_waits_that_can_not_be_believed_are_ignored_wholly(waits: Any) -> None:
    plan = recorded(MACHINE, [("A", 1.0), ("B", 1.0), ("A", 2.0)], after=[0, 1, 2], waits=waits)

    assert times(plan) == [0, 1, 2]


def test_a_write_waits_for_its_channel_and_what_follows_waits_with_it() -> None:
    writes = [("A", 1.0), ("A", 2.0), ("B", 1.0), ("A", 3.0)]
    plan = recorded(MACHINE, writes, after=[0, 0.5, 1, 4], entry=SLOW)

    assert times(plan) == [0, 2, 2.5, 5.5]
    assert plan.seconds == 5.5


def test_writes_that_are_left_out_take_at_least_their_intervals() -> None:
    writes = [("B", 1.0), *(("A", float(n)) for n in range(10))]
    plan = recorded(MACHINE, writes, told=3, entry=SLOW)

    assert times(plan) == [0, 1, 3]
    assert plan.seconds == 3 + 8 * 2


def test_writes_that_are_left_out_take_at_least_their_waits() -> None:
    waits = [0, 0, 0, 50, 100]
    plan = recorded(MACHINE, [("A", float(n)) for n in range(5)], told=3, waits=waits)

    assert plan.seconds == 2 + 100


@unhurried
@given(
    LIVE,
    WRITES,
    st.lists(st.floats(0, 100), min_size=12, max_size=12),
    st.lists(st.floats(0, 100), min_size=12, max_size=12),
    st.floats(0, 10),
)
def test_writes_come_in_their_order_and_not_before_their_channels_interval(
    live: dict[str, Any],
    writes: list[tuple[str, Any]],
    after: list[float],
    waits: list[float],
    interval: float,
) -> None:
    entry = ChannelLimitsConfig(min_interval=interval)
    count = len(writes)
    plan = recorded(live, writes, entry=entry, after=sorted(after), waits=sorted(waits)[:count])

    assert times(plan) == sorted(times(plan))
    assert plan.seconds == (times(plan)[-1] if count else 0)
    for name in live:
        own = [write.after for write in plan.writes if write.channel == name]
        assert all(later - earlier >= interval - 1e-9 for earlier, later in pairwise(own))
    without = recorded(live, writes, entry=entry, after=sorted(after))
    assert plan.seconds >= without.seconds - 1e-9
