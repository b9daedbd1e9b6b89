"""A write in the words of its plan."""

import pytest

from runpermit.models import Plan, PlannedChannel, PlannedWrite, WriteOutcome, WriteRecord
from runpermit.plans.telling import Telling

PLAN = Plan(
    writes=[PlannedWrite(channel="T:MODE", old=0, new=2, state="Standby")],
    channels=[
        PlannedChannel(channel="SR:HCM1", units="A", live=0.1, last=0.3),
        PlannedChannel(channel="T:MODE", live=0, state="Off", last=1, last_state="On"),
    ],
)


@pytest.mark.parametrize(
    ("channel", "old", "new", "outcome", "told"),
    [
        ("SR:HCM1", 0.1, 0.2, "confirmed", "SR:HCM1: 0.1 → 0.2 A, confirmed"),
        ("SR:HCM1", 0.1, 0.2, "differs", "SR:HCM1: 0.1 → 0.2 A, differs, reads 9 A"),
        ("SR:HCM1", 0.1, 0.2, "unreadable", "SR:HCM1: 0.1 → 0.2 A, unreadable"),
        ("T:MODE", 0, 2, "confirmed", "T:MODE: Off (0) → Standby (2), confirmed"),
        ("T:MODE", 2, 1, "confirmed", "T:MODE: Standby (2) → On (1), confirmed"),
        ("T:MODE", 2, 7, "confirmed", "T:MODE: Standby (2) → 7, confirmed"),
        ("T:OTHER", None, 1, "confirmed", "T:OTHER: unknown → 1, confirmed"),
    ],
)
def test_units_and_states_are_those_of_the_plan(
    channel: str, old: object, new: object, outcome: str, told: str
) -> None:
    record = WriteRecord(
        channel=channel, old=old, new=new, outcome=WriteOutcome(outcome), read_back=9
    )
    assert Telling(PLAN).write(record) == told


def test_a_name_and_a_state_that_somebody_made_up_stay_on_their_line() -> None:
    plan = Plan(channels=[PlannedChannel(channel="a\n\x1b[2J", live=0, state="x\n→ 9")])
    record = WriteRecord(channel="a\n\x1b[2J", old=0, new=1, outcome=WriteOutcome.CONFIRMED)
    assert Telling(plan).write(record) == r'a \x1b[2J: "x\x0a→ 9" (0) → 1, confirmed'
