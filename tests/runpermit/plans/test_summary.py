from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runpermit.models.plan import Declaration, Plan, PlanKind, PlannedChannel
from runpermit.plans import Value, headline
from tests.runpermit.plans.recorded import LIVE, WRITES, recorded, unhurried

MACHINE: dict[str, Value] = {
    "SR:HCM1:SP": 0.35,
    "SR:HCM2:SP": 0.35,
    "SR:MODE": "OFF",
    "SR:WAVE": (0.0,),
}
UP, DOWN = ("SR:HCM1:SP", 0.55), ("SR:HCM2:SP", 0.15)


def line(*writes: tuple[str, Value], **more: Any) -> str:
    return headline(recorded(MACHINE, writes, **more))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            line(UP, DOWN, after=[0, 12]),
            "2 setpoints, 2 writes, 12 s. HCM1 +0.200 A, HCM2 -0.200 A. Plan COMPLETE",
        ),
        (line(UP), "1 setpoint, 1 write, 0 s. SR:HCM1:SP +0.200 A. Plan COMPLETE"),
        (
            line(UP, ("SR:MODE", "ON"), after=[0, 1.25]),
            "2 setpoints, 2 writes, 1.2 s. HCM1:SP +0.200 A, MODE → ON A. Plan COMPLETE",
        ),
        (
            line(UP, ("SR:HCM1:SP", 0.35), after=[0, 3]),
            "1 setpoint, 2 writes, 3 s. SR:HCM1:SP +0.000 A (up to +0.200). Plan COMPLETE",
        ),
        (
            line(("SR:HCM1:SP", 0.35125)),
            "1 setpoint, 1 write, 0 s. SR:HCM1:SP +0.00125 A. Plan COMPLETE",
        ),
        (
            line(("SR:WAVE", (1.0, 2.0))),
            "1 setpoint, 1 write, 0 s. SR:WAVE → [1, 2] A. Plan COMPLETE",
        ),
        (
            line(("SR:MODE", "FIRE"), ("SR:MODE", "OFF")),
            "1 setpoint, 2 writes, 1 s. SR:MODE 2 × … → OFF A. Plan COMPLETE",
        ),
        (
            line(UP, problem="it failed"),
            "1 setpoint, 1 write, 0 s. SR:HCM1:SP +0.200 A. Plan INCOMPLETE",
        ),
        (
            line(UP, declared=[Declaration(channel="SR:HCM2:SP", low=0, high=2.5, max_writes=9)]),
            "2 setpoints, at most 10 writes, 0 s. HCM1 +0.200 A, HCM2 0 … 2.5 A. Plan DECLARED",
        ),
        (line(), "No writes, 1 channel read. Plan READS_ONLY"),
    ],
)
def test_a_plan_on_one_line(told: str, expected: str) -> None:
    assert told == expected


def test_what_does_not_fit_is_counted() -> None:
    channels = [
        PlannedChannel(channel=f"SR:CORRECTOR{n}:SP", units="A", live=0.0, last=1.0, writes=1)
        for n in range(100)
    ]
    told = headline(Plan(kind=PlanKind.COMPLETE, channels=channels))

    assert len(told) <= 200
    assert told.startswith("100 setpoints, 0 writes, 0 s. CORRECTOR0 +1.000 A, CORRECTOR1")
    assert told.endswith(" more. Plan COMPLETE")


@unhurried
@given(
    st.lists(
        st.builds(
            PlannedChannel,
            channel=st.text(max_size=300),
            units=st.text(max_size=30),
            live=st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
            last=st.text(max_size=300) | st.floats(-1e300, 1e300),
            last_state=st.text(max_size=30),
            exact=st.booleans(),
        ),
        max_size=5,
    )
)
def test_whatever_channels_are_called_it_is_one_short_visible_line(
    channels: list[PlannedChannel],
) -> None:
    told = headline(Plan(kind=PlanKind.INCOMPLETE, channels=channels))

    assert len(told) <= 200
    assert told.isprintable()
    assert told.endswith("Plan INCOMPLETE")


@unhurried
@given(LIVE, WRITES)
def test_every_plan_has_a_headline(live: dict[str, Any], writes: list[tuple[str, Any]]) -> None:
    told = headline(recorded(live, writes))

    assert len(told) <= 200
    assert told.endswith("Plan COMPLETE" if writes else "Plan READS_ONLY")


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.01, "as long as its devices take"), (2.0, "at least 2 s")]
)
def test_where_devices_follow_a_time_is_the_least(seconds: float, told: str) -> None:
    plan = recorded(MACHINE, [UP], after=[0])
    follows = [plan.channels[0].model_copy(update={"follows": ["SR:HCM1:RB"]})]

    changed = {"channels": follows, "seconds": seconds}
    assert f", {told}. " in headline(plan.model_copy(update=changed))
