"""What the pages tell of the machine once something was written, and once nothing was."""

from pathlib import Path
from typing import Any

import pytest

from runpermit.models import (
    FollowOutcome,
    LeftChange,
    RestoredChannel,
    RestoreOutcome,
    Stage,
    VerifiedChannel,
    WriteOutcome,
    WriteRecord,
    WriteReport,
)
from runpermit.page import ended, planned, progress_page, succeeded
from runpermit.text import cells
from tests.runpermit.page.conftest import (
    AT,
    HOSTILE,
    OURS,
    PAGE_BYTES,
    change,
    channel,
    hostile_plan,
    plan,
    tags,
)


def verified(name: str = "SR:HCM1:SP", **fields: Any) -> VerifiedChannel:
    plain: dict[str, Any] = {
        "written": 0.3, "reads": 0.3, "accepted": True, "device": "SR:HCM1:RB",
        "outcome": FollowOutcome.FOLLOWED,
    }  # fmt: skip
    return VerifiedChannel(channel=name, **(plain | fields))


def report(*olds: Any, name: str = "SR:HCM1:SP", forwarded: int = 0) -> WriteReport:
    writes = [
        WriteRecord(channel=name, old=old, new=0.3, outcome=WriteOutcome.CONFIRMED) for old in olds
    ]
    return WriteReport.of(writes, forwarded or len(writes), Path("/srv/x/journal.jsonl"))


def restored(outcome: RestoreOutcome, **fields: Any) -> RestoredChannel:
    plain: dict[str, Any] = {"before": 0.1, "reads": 0.1}
    return RestoredChannel(channel="SR:HCM1:SP", outcome=outcome, **(plain | fields))


def test_a_success_tells_start_and_new_value_change_unit_and_what_was_verified() -> None:
    told = succeeded(report(0.1, 0.2), [verified()], [], plan())

    assert told.words == "Written: 2 values to 1 channel. All as it should be."
    first, second = told.lines
    assert first.split() == "SR:HCM1:SP 0.1 → 0.3 A Δ +0.2 A".split()  # noqa: SIM905
    assert len(first) == 54
    assert second == "    setpoint accepted, device followed"


def test_a_state_has_no_change_in_numbers_after_a_success_either() -> None:
    of_state = plan(channels=[channel(exact=True)])

    assert "Δ" not in " ".join(succeeded(report(0.1), [verified()], [], of_state).lines)


def test_of_writes_beyond_the_first_the_plan_tells_where_they_began() -> None:
    told = succeeded(report(5, name="OTHER", forwarded=900), [verified()], [], plan())

    assert told.lines[0].startswith("SR:HCM1:SP  0.1 → 0.3 A")


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"accepted": False, "reads": 0.28}, "! setpoint DIFFERS: reads 0.28 A"),
        (
            {"outcome": FollowOutcome.NOT_FOLLOWED, "device_reads": 0.1, "expected": 0.3},
            "! device NOT followed: SR:HCM1:RB reads 0.1, expected 0.3",
        ),
        ({"outcome": FollowOutcome.UNREADABLE}, "! device UNREADABLE: SR:HCM1:RB"),
        ({"alarm": "HIHI MAJOR"}, "! alarm: HIHI MAJOR"),
        ({"earlier": {FollowOutcome.NOT_FOLLOWED: 2}}, "! earlier writes: 2 not followed"),
    ],
)
def test_what_is_not_as_it_should_be_is_marked(odd: dict[str, Any], words: str) -> None:
    told = succeeded(report(0.1), [verified(**odd), verified("SR:HCM2:SP")], [], plan())

    assert "LOOK AT 1 channel, marked with !." in told.words
    marked = " ".join(" ".join(told.lines).split())
    assert words in marked
    assert marked.count("!") == 1


def test_a_device_without_a_readback_is_said_not_to_be_checked() -> None:
    told = succeeded(report(0.1), [verified(outcome=FollowOutcome.UNCHECKED)], [], plan())

    assert "device not checked: no readback in its limits" in " ".join(told.lines)
    assert "All as it should be" in told.words


def test_where_nothing_could_be_verified_the_journal_tells() -> None:
    told = succeeded(report(0.1), [], [change()], plan(), AT)

    assert told.words.startswith("Written: 1 value. NOT VERIFIED")
    lines = [line.strip() for line in told.lines]
    assert lines[1:3] == ["before 0.1 A, written 0.3 A", "read 0.3 A at 03:12:05 UTC"]


def test_the_end_tells_what_was_put_back_and_what_stays_changed_with_units() -> None:
    other = change("SR:HCM2:SP", restorable=False, why_not="its entry says restore: false")
    channels = [channel(), channel("SR:HCM2:SP", units="T")]
    failed = restored(RestoreOutcome.FAILED, reads=0.3, reason="no answer")
    told = ended([change(), other], [failed], plan(channels=channels), AT)

    assert told.words == "Put back: 0 of 1 channel. Left changed: 2 channels."
    lines = [line.strip() for line in told.lines]
    assert lines[0].split() == ["SR:HCM1:SP", "reads", "0.3", "A", "NOT", "PUT", "BACK"]
    assert lines[1:3] == ["before 0.1 A", "no answer"]
    assert lines[3:5] == ["SR:HCM2:SP", "before 0.1 T, written 0.3 T"]
    assert lines[5] == "read 0.3 T at 03:12:05 UTC"
    assert lines[6].startswith("! can't be put back: its entry says")


def test_a_channel_that_is_back_takes_one_line() -> None:
    told = ended([], [restored(RestoreOutcome.RESTORED)], plan())

    assert told.words == "Put back: 1 of 1 channel."
    [line] = told.lines
    assert line.split() == ["SR:HCM1:SP", "reads", "0.1", "A", "restored"]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_foreign_takes_effect_and_the_page_stays_small(text: str) -> None:
    bad = LeftChange(channel=text, before=text, written=text, reads=text, why_not=text,
                     restorable=False)  # fmt: skip
    back = restored(RestoreOutcome.FAILED, reason=text, before=text, reads=text)
    other = verified(text, written=text, reads=text, accepted=False, device=text, alarm=text)
    found = hostile_plan(text)
    machines = [
        planned(text, found),
        succeeded(report(text, name=text), [other] * 40, [], found),
        ended([bad] * 40, [back] * 40, found),
    ]
    for machine in machines:
        page = progress_page(Stage.FAILED, 20, text, [text] * 20, [text] * 4, machine)
        assert len(page.encode()) < PAGE_BYTES
        assert set(tags(page).found) <= OURS
        for line in machine.lines:
            assert cells(line) <= 54
            assert line.isprintable()
