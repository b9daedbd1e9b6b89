from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from runpermit.limits import ChannelLimitsConfig
from runpermit.models.plan import Declaration, MachineState, Plan, PlannedChannel
from runpermit.plans import Value, changes
from tests.runpermit.plans.recorded import LIVE, WRITES, recorded, unhurried

MACHINE: dict[str, Value] = {"A": 0.35, "B": 0.0, "MODE": "OFF", "NOTE": "", "WAVE": (0.0, 1.0)}
TENTH = ChannelLimitsConfig(plan_tolerance=0.1)
WRITTEN: list[tuple[str, Value]] = [
    ("A", 1.0),
    ("B", 1.0),
    ("MODE", "ON"),
    ("NOTE", "x"),
    ("WAVE", (1.0, 1.0)),
    ("A", 2.0),
]
RANGE = Declaration(channel="A", low=-1, high=1, max_writes=5)
LONG = tuple(float(n) for n in range(1001))


def plan(*writes: tuple[str, Value], live: dict[str, Value] | None = None, **more: Any) -> Plan:
    return recorded(MACHINE | (live or {}), writes or WRITTEN, entry=TENTH, **more)


def with_facts(planned: Plan, **facts: Any) -> Plan:
    first, *others = planned.channels
    return planned.model_copy(update={"channels": [first.model_copy(update=facts), *others]})


def condition(*, holds: bool, reads: str = "USER") -> MachineState:
    return MachineState(channel="MODE", op="==", value="USER", reads=reads, holds=holds)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (plan(live={"A": 0.462}), "A now reads 0.462 A, was 0.35 A"),
        (plan(live={"MODE": "ON"}), "MODE now reads ON A, was OFF A"),
        (plan(live={"WAVE": (0.0, 1.2)}), "WAVE now reads [0, 1.2] A, was [0, 1] A"),
        (plan(live={"WAVE": (0.0,)}), "WAVE now reads [0] A, was [0, 1] A"),
        (plan(live={"A": 0}), "A now reads 0 A, was 0.35 A"),
        (plan(*WRITTEN, ("A", 2.0)), "A is written 3 times now, was 2"),
        (plan(*WRITTEN[:-1], ("A", 2.11)), "A, write 2: now 2.11 A, was 2 A"),
        (plan(*WRITTEN[:-1], ("A", 1.89)), "A, write 2: now 1.89 A, was 2 A"),
        (plan(*WRITTEN[:-1], ("A", "2.0")), "A, write 2: now 2.0 A, was 2 A"),
    ],
)
def test_each_change_is_told_in_words(now: Plan, expected: str) -> None:
    assert changes(plan(), now) == [expected]


@pytest.mark.parametrize("field", ["live", "written"])
def test_a_number_that_names_another_state_is_another_plan(field: str) -> None:
    before, now = (
        named(plan(("MODE", 1), live={"MODE": 0}), name, written=field == "written")
        for name in ("SAFE", "FULL POWER")
    )
    told = {"live": "MODE reads FULL POWER (0), which was SAFE (0)"}
    written = "MODE, write 1: FULL POWER (1), which was SAFE (1)"
    assert changes(before, now) == [told.get(field, written)]
    assert changes(before, before) == []


def named(planned: Plan, state: str, *, written: bool) -> Plan:
    """`planned` with the name of the state that is written, or of that which it reads."""
    if not written:
        return with_facts(planned, state=state)
    (write,) = planned.writes
    return planned.model_copy(update={"writes": [write.model_copy(update={"state": state})]})


@pytest.mark.parametrize(
    "now",
    [
        plan(live={"A": 0.44, "B": 0.1, "WAVE": (0.1, 0.9)}),
        plan(*WRITTEN[:-1], ("A", 2.09)),
        plan(("A", 1.0), ("B", 1.0), ("A", 2.0), *WRITTEN[2:-1]),
        plan(waits=[0, 1, 2, 3, 4, 5]),
    ],
)
def test_what_stays_within_tolerance_and_is_no_part_of_the_plan_is_no_change(now: Plan) -> None:
    assert changes(plan(), now) == []


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (plan(("A", 1.0)), plan(("A", 1.0), ("B", 1.0)), ["B is in the plan now"]),
        (plan(("A", 1.0), ("B", 1.0)), plan(("A", 1.0)), ["B was in the plan"]),
        (
            plan(("A", 1.0), ("B", 1.0)),
            plan(("B", 1.0), ("A", 1.0)),
            ["The channels come in another order: B, A"],
        ),
        (
            plan(("MODE", "ON"), ("NOTE", "x"), ("MODE", "USER")),
            plan(("MODE", "ON"), ("MODE", "USER"), ("NOTE", "x")),
            ["What must come exactly comes in another order: MODE, MODE, NOTE"],
        ),
        (
            plan(("MODE", "ON"), ("MODE", "USER")),
            plan(("MODE", "ON"), ("MODE", "USER2")),
            ["MODE, write 2: now USER2 A, was USER A"],
        ),
        (
            plan(("WAVE", LONG)),
            plan(("WAVE", (*LONG[:-1], 0.0))),
            ["WAVE, write 1: now 1001 values, 0 … 999 A, was 1001 values, 0 … 1000 A"],
        ),
        (
            plan(("A", 1.0), problem=""),
            plan(("A", 1.0), problem="it failed"),
            ["The plan is now INCOMPLETE, was COMPLETE: it failed"],
        ),
        (
            plan(("A", 1.0)),
            plan(("A", 1.0), upstream="model:5064"),
            ["It was rehearsed with the model model:5064 now, and with the machine alone then"],
        ),
        (
            plan(("A", 1.0), declared=[RANGE]),
            plan(("A", 1.0), declared=[RANGE.model_copy(update={"max_writes": 6})]),
            [
                "A from -1 to 1, at most 6 writes, is declared now",
                "A from -1 to 1, at most 5 writes, was declared then",
            ],
        ),
        (
            plan(("A", 1.0), machine=[condition(holds=True)]),
            plan(("A", 1.0), machine=[condition(holds=False, reads="OFF")]),
            ["The condition MODE == USER does not hold (OFF) now, and holds (USER) then"],
        ),
        (
            plan(("A", 1.0)),
            plan(("A", 1.0), machine=[condition(holds=True)]),
            ["The condition MODE == USER is new, and holds (USER)"],
        ),
        (
            plan(("A", 1.0), machine=[condition(holds=True)]),
            plan(("A", 1.0)),
            ["The condition MODE == USER is asked for no more"],
        ),
    ],
)
def test_what_the_plan_as_a_whole_changed(before: Plan, now: Plan, expected: list[str]) -> None:
    assert changes(before, now) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"alarm": "MAJOR"}, "A has the alarm MAJOR now, was none"),
        ({"units": "mA"}, "A is in mA now, was in A"),
        ({"moved_by": "a loop"}, "What else moves A: now a loop, was none"),
        ({"clamped": "at 5"}, "Beyond drive limits A: now at 5, was none"),
        ({"restorable": False}, "A can no longer be put back"),
        ({"exact": True}, "A must come exactly as planned now"),
    ],
)
def test_what_changed_of_what_is_known_of_a_channel(facts: dict[str, Any], expected: str) -> None:
    before = plan(("A", 1.0))

    assert changes(before, with_facts(before, **facts)) == [expected]


def test_how_often_and_what_a_declared_channel_was_set_to_is_no_part_of_its_plan() -> None:
    before = plan(("A", 1.0), ("B", 1.0), declared=[RANGE])
    now = plan(("B", 1.0), ("A", -1.0), ("A", 0.5), declared=[RANGE])

    assert changes(before, now) == []


def test_a_declared_channel_that_moved_is_told() -> None:
    before, now = plan(declared=[RANGE]), plan(live={"A": 0.5}, declared=[RANGE])

    assert changes(before, now) == ["A now reads 0.5 A, was 0.35 A"]


@pytest.mark.parametrize(
    ("last", "what"), [(30.0, "its highest value"), (-30.0, "its lowest value"), (0.5, "its last")]
)
def test_of_writes_that_are_left_out_the_extremes_tell(last: float, what: str) -> None:
    before = plan(("A", 0.0), ("A", 9.0), ("A", 1.0), told=2)
    found = changes(before, plan(("A", 0.0), ("A", 9.0), ("A", last), told=2))

    assert len(found) >= 1
    assert what in " ".join(found)


def test_as_many_writes_of_which_fewer_are_told_are_no_change() -> None:
    assert changes(plan(("A", 0.0), ("A", 9.0)), plan(("A", 0.0), ("A", 9.0), told=1)) == []


def test_the_smaller_of_both_tolerances_counts() -> None:
    before = plan(("A", 1.0))
    now = with_facts(plan(("A", 1.0), live={"A": 0.42}), tolerance=0.05)

    assert changes(before, now) == ["A now reads 0.42 A, was 0.35 A"]
    assert changes(now, before) == ["A now reads 0.35 A, was 0.42 A"]


def test_there_are_never_too_many_changes_to_be_read() -> None:
    channels = [PlannedChannel(channel=f"C{n}", live=0.0) for n in range(200)]
    found = changes(Plan(), Plan(channels=channels))

    assert len(found) == 51
    assert found[-1] == "150 more changes"


def test_foreign_text_stays_on_one_visible_line() -> None:
    before = Plan(channels=[PlannedChannel(channel="A", live="x", exact=True)])
    told = changes(before, with_facts(before, live="\n\u202e" + "y" * 500, units="\x1b[31m"))

    assert all(line.isprintable() and len(line) < 300 for line in told)


@unhurried
@given(LIVE, WRITES)
def test_a_plan_stands_against_itself(live: dict[str, Any], writes: list[tuple[str, Any]]) -> None:
    planned = recorded(live, writes)

    assert changes(planned, planned) == []


@unhurried
@given(LIVE, WRITES, LIVE, WRITES)
def test_a_change_is_one_in_both_directions(
    live: dict[str, Any],
    writes: list[tuple[str, Any]],
    other_live: dict[str, Any],
    other_writes: list[tuple[str, Any]],
) -> None:
    one, other = recorded(live, writes), recorded(other_live, other_writes)

    assert bool(changes(one, other)) is bool(changes(other, one))


MUTATIONS: list[Callable[[Plan], Plan]] = [
    lambda planned: planned.model_copy(update={"channels": planned.channels[1:]}),
    lambda planned: with_facts(planned, writes=planned.channels[0].writes + 1),
    lambda planned: with_facts(planned, live="another"),
    lambda planned: planned.model_copy(update={"declared": [RANGE]}),
    lambda planned: planned.model_copy(update={"machine": [condition(holds=True)]}),
]


@unhurried
@given(LIVE, WRITES.filter(bool))
def test_nothing_of_a_plan_changes_unseen(
    live: dict[str, Any], writes: list[tuple[str, Any]]
) -> None:
    planned = recorded(live, writes)

    assert all(changes(planned, mutated(planned)) for mutated in MUTATIONS)
