from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runpermit.models.permit import Verdict
from runpermit.plans import verdict
from tests.runpermit.plans.recorded import unhurried

Event = dict[str, Any]

CONSUMED: Event = {"event": "permit_consumed", "seq": 1}
VOID: Event = {"event": "permit_void", "seq": 1}
OPENED: Event = {"event": "session_opened", "seq": 2}
WRITE: Event = {"event": "write", "seq": 3, "channel": "A"}
CONFIRMED: Event = {"event": "confirmed", "seq": 4, "of": 3}
NOT_FORWARDED: Event = {"event": "not_forwarded", "seq": 4, "of": 3}


def closed(*, completed: Any, **more: Any) -> Event:
    return {"event": "session_closed", "seq": 9, "completed": completed, **more}


DONE, BROKEN = closed(completed=True), closed(completed=False)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], Verdict.NOT_OPENED),
        ([VOID], Verdict.NOT_OPENED),
        ([CONSUMED], Verdict.NOTHING_FORWARDED),
        ([CONSUMED, OPENED], Verdict.NOTHING_FORWARDED),
        ([CONSUMED, OPENED, BROKEN], Verdict.NOTHING_FORWARDED),
        ([CONSUMED, OPENED, WRITE, NOT_FORWARDED, BROKEN], Verdict.NOTHING_FORWARDED),
        ([CONSUMED, OPENED, DONE], Verdict.COMPLETED),
        ([CONSUMED, OPENED, WRITE], Verdict.PARTIAL),
        ([CONSUMED, OPENED, WRITE, CONFIRMED], Verdict.PARTIAL),
        ([CONSUMED, OPENED, WRITE, CONFIRMED, BROKEN], Verdict.PARTIAL),
        ([CONSUMED, OPENED, WRITE, BROKEN], Verdict.PARTIAL),
        ([CONSUMED, OPENED, WRITE, CONFIRMED, DONE], Verdict.COMPLETED),
        ([CONSUMED, OPENED, WRITE, DONE], Verdict.COMPLETED),
    ],
)
def test_the_verdict(events: list[Event], expected: Verdict) -> None:
    assert verdict(events) is expected


@pytest.mark.parametrize(
    "events",
    [
        [WRITE],
        [VOID, WRITE],
        [CONSUMED, WRITE | {"seq": None}],
        [CONSUMED, WRITE | {"seq": []}, NOT_FORWARDED],
        [CONSUMED, WRITE, NOT_FORWARDED | {"of": "3"}],
        [CONSUMED, WRITE, {"event": "not_forwarded"}],
        [CONSUMED, WRITE, NOT_FORWARDED, CONFIRMED],
        [CONSUMED, CONFIRMED],
        [CONSUMED, WRITE, NOT_FORWARDED, WRITE | {"seq": 5}],
        [CONSUMED, closed(completed=False, forwarded=1)],
        [CONSUMED, closed(completed=False, forwarded=None)],
        [CONSUMED, WRITE, closed(completed="true")],
    ],
)
def test_what_is_not_proven_to_be_withheld_counts_as_forwarded(events: list[Event]) -> None:
    assert verdict(events) is Verdict.PARTIAL


def test_the_same_from_a_stream() -> None:
    assert verdict(iter([CONSUMED, WRITE, DONE])) is Verdict.COMPLETED


ANYTHING = st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=2) | st.just([])
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "event": st.sampled_from(
                [
                    "permit_consumed",
                    "permit_void",
                    "session_opened",
                    "session_closed",
                    "write",
                    "confirmed",
                    "not_forwarded",
                    "another",
                ]
            )
            | ANYTHING
        },
        optional={
            "seq": st.integers(1, 9) | ANYTHING,
            "of": st.integers(1, 9) | ANYTHING,
            "completed": ANYTHING,
            "forwarded": ANYTHING,
        },
    ),
    max_size=12,
)


@unhurried
@given(EVENTS)
def test_a_write_that_may_have_left_is_never_said_not_to_have(events: list[Event]) -> None:
    withheld = [event.get("of") for event in events if event["event"] == "not_forwarded"]
    may_have_left = [
        event
        for event in events
        if event["event"] == "write"
        and not any(event.get("seq") == of and type(of) is int for of in withheld)
    ]

    if may_have_left:
        assert not verdict(events).may_apply_again


@unhurried
@given(EVENTS)
def test_completed_is_said_where_the_gate_wrote_it_down_alone(events: list[Event]) -> None:
    if verdict(events) is Verdict.COMPLETED:
        assert any(
            event["event"] == "session_closed" and event.get("completed") is True
            for event in events
        )
