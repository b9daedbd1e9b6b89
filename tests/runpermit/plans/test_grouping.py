import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runpermit.plans import Group, Value, groups
from tests.runpermit.plans.recorded import LIVE, WRITES, recorded, unhurried

MACHINE: dict[str, Value] = {
    **dict.fromkeys("ABCDE", 0.0),
    "MODE": "OFF",
    "STATE": 0,
    "WAVE": (0.0,),
}


def grouped(*writes: tuple[str, Value], **more: Any) -> list[Group]:
    return groups(recorded(MACHINE, writes, exact=["STATE"], **more))


def ramp(channel: str, start: float, step: float, count: int) -> list[tuple[str, Value]]:
    return [(channel, start + step * n) for n in range(1, count + 1)]


def counts(found: list[Group]) -> list[tuple[str, int]]:
    return [(group.channel, group.count) for group in found]


def test_a_hundred_steps_of_one_channel_are_one_line() -> None:
    (group,) = grouped(*ramp("A", 0.0, 0.1, 100))

    assert (group.channel, group.count, group.first) == ("A", 100, 0.0)
    assert group.last == pytest.approx(10)
    assert group.step == pytest.approx(0.1)
    assert (group.start, group.seconds, group.values) == (0, 99, ())


def test_steps_that_a_record_rounds_are_equal() -> None:
    (group,) = grouped(*[("A", round(value, 6)) for _, value in ramp("A", 0.0, 1 / 300, 50)])

    assert group.count == 50
    assert group.step == pytest.approx(1 / 300, rel=1e-3)


def test_steps_of_another_size_are_no_ramp_however_large_the_value_is() -> None:
    values = [499.6e6, 499.6e6 + 10, 499.6e6 + 60, 499.6e6 + 40]
    plan = recorded({"A": values[0]}, [("A", value) for value in values[1:]])

    (group,) = groups(plan)
    assert (group.step, group.values) == (None, tuple(values[1:]))


def test_ramps_of_several_channels_in_turn_are_a_group_each() -> None:
    steps = [
        ramp(name, 0.0, size, 40) for name, size in zip("ABCDE", (1, 2, -1, 0.5, 3), strict=True)
    ]
    found = grouped(*[write for together in zip(*steps, strict=True) for write in together])

    assert counts(found) == [(name, 40) for name in "ABCDE"]
    assert [group.start for group in found] == [0, 1, 2, 3, 4]
    assert [group.step for group in found] == [1, 2, -1, 0.5, 3]


def test_ramps_up_and_down_are_two_groups() -> None:
    found = grouped(*ramp("A", 0.0, 1.0, 20), *ramp("A", 20.0, -1.0, 20))

    assert counts(found) == [("A", 20), ("A", 20)]
    assert [(group.first, group.last, group.step) for group in found] == [(0, 20, 1), (20, 0, -1)]


def test_a_ramp_is_not_told_across_another_one() -> None:
    found = grouped(*ramp("A", 0.0, 1.0, 5), *ramp("B", 0.0, 1.0, 5), *ramp("A", 5.0, 1.0, 5))

    assert counts(found) == [("A", 5), ("B", 5), ("A", 5)]


def test_a_ramp_is_not_told_across_what_comes_exactly() -> None:
    found = grouped(*ramp("A", 0.0, 1.0, 5), ("MODE", "ON"), *ramp("A", 5.0, 1.0, 5))

    assert counts(found) == [("A", 5), ("MODE", 1), ("A", 5)]


def test_values_without_equal_steps_that_follow_each_other_are_one_group() -> None:
    (group,) = grouped(("A", 0.1), ("A", 0.5), ("A", -1.0), ("A", -2.5))

    assert (group.count, group.step) == (4, None)
    assert (group.first, group.last) == (0.0, -2.5)
    assert group.values == (0.1, 0.5, -1.0, -2.5)


def test_a_ramp_stays_one_beside_values_without_equal_steps() -> None:
    found = grouped(("A", 7.0), ("A", 1.0), *ramp("A", 1.0, 0.5, 10), ("A", 0.0))

    assert counts(found) == [("A", 2), ("A", 10), ("A", 1)]


def test_a_single_write_tells_its_step() -> None:
    (group,) = grouped(("A", 0.2))

    assert (group.count, group.step, group.values, group.seconds) == (1, 0.2, (), 0)


def test_a_value_that_was_no_number_before_is_no_step() -> None:
    (group,) = groups(recorded({"A": math.nan}, [("A", 1.0), ("A", 2.0)]))

    assert (group.step, group.values) == (None, (1.0, 2.0))


def test_what_comes_exactly_stands_alone_but_for_repetitions() -> None:
    found = grouped(
        ("MODE", "ON"), ("MODE", "USER"), ("STATE", 1), ("STATE", 2), *[("STATE", 3)] * 4
    )

    assert counts(found) == [("MODE", 1), ("MODE", 1), ("STATE", 1), ("STATE", 1), ("STATE", 4)]
    assert found[0] == Group("MODE", 1, "OFF", "ON", None, 0, 0, ("ON",))
    assert found[-1].step is None


def test_what_comes_exactly_in_turn_keeps_its_order() -> None:
    found = grouped(("MODE", "ON"), ("STATE", 1), ("MODE", "ON"), ("STATE", 1))

    assert counts(found) == [("MODE", 1), ("STATE", 1)] * 2


def test_arrays_that_follow_each_other_are_one_group() -> None:
    (group,) = grouped(("WAVE", (1.0,)), ("WAVE", (2.0,)), ("WAVE", (3.0,)))

    assert (group.count, group.step) == (3, None)
    assert group.values == ([1.0], [2.0], [3.0])


def test_the_state_is_that_of_the_last_value() -> None:
    plan = recorded({"S": 0}, [("S", 1)], exact=["S"])
    write = plan.writes[0].model_copy(update={"state": "ON"})

    assert groups(plan.model_copy(update={"writes": [write]}))[0].state == "ON"


def told(found: list[Group]) -> Counter[str]:
    counter: Counter[str] = Counter()
    for group in found:
        counter[group.channel] += group.count
    return counter


RAMPS = st.lists(
    st.tuples(
        st.sampled_from("ABC"), st.floats(-9, 9), st.sampled_from([0, 0.5, 1]), st.integers(1, 5)
    ),
    max_size=5,
).map(lambda ramps: [write for each in ramps for write in ramp(*each)])


@unhurried
@given(LIVE, WRITES, RAMPS, st.randoms())
def test_no_write_is_lost_and_each_group_tells_where_it_leads(
    live: dict[str, Any], writes: list[tuple[str, Any]], ramps: list[tuple[str, Any]], random: Any
) -> None:
    done = [*writes, *ramps]
    if random.random() < 0.5:
        random.shuffle(done)
    plan = recorded({**MACHINE, **live}, done)
    found = groups(plan)

    assert told(found) == Counter(name for name, _ in done)
    assert [group.start for group in found] == sorted(group.start for group in found)
    now = {channel.channel: channel.live for channel in plan.channels}
    for group in found:
        assert group.first == now[group.channel]
        now[group.channel] = group.last
        assert group.step is not None or len(group.values) == group.count
        if group.step is not None:
            end = group.first + group.step * group.count
            assert end == pytest.approx(group.last, rel=1e-6, abs=1e-6)
    assert now == {channel.channel: channel.last for channel in plan.channels}
