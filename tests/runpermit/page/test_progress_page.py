"""The page while nothing waits."""

import html

import pytest

from runpermit.models import Plan, PlanKind, PlannedChannel, Stage
from runpermit.page import Machine, progress_page, unknown_words
from tests.runpermit.page.conftest import HOSTILE, OURS, PAGE_BYTES, tags


def test_it_tells_stage_attempt_note_facts_and_the_last_failures() -> None:
    failures = [f"failure {n}" for n in range(7)]
    page = html.unescape(progress_page(Stage.AWAITING_RESTORE, 7, "a note", failures, ["a fact"]))

    assert page.startswith("## awaiting restore")
    assert "Attempt 7\n" in page
    assert "a note" in page
    assert "a fact" in page
    assert "failure 1" not in page
    assert "Attempt 3 failed: failure 2" in page
    assert "Attempt 7 failed: failure 6" in page


def test_that_nothing_was_written_is_told_once() -> None:
    machine = Machine("Nothing was written to the machine.")
    page = progress_page(Stage.FAILED, 0, "Nothing was written. T:AO: why.", [], [], machine)

    assert html.unescape(page) == "## failed\n\nT:AO: why.\n\nNothing was written to the machine."
    assert "Nothing was written" in progress_page(Stage.FAILED, 0, "Nothing was written.", [], [])


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_it_stays_below_eight_kilobytes_and_nothing_foreign_takes_effect(text: str) -> None:
    page = progress_page(Stage.FAILED, 20, text, [text] * 20, [text] * 2)

    assert len(page.encode()) < PAGE_BYTES
    assert set(tags(page).found) <= OURS


def test_a_fact_is_told_to_its_end_however_much_else_there_is() -> None:
    fact = f"approve of revision abcdef by {'x' * 40} (not verified)"
    page = progress_page(Stage.FAILED, 1, "`" * 2000, ["`" * 2000] * 9, [fact] * 5)

    assert html.unescape(page).count(fact) == 5
    assert len(page.encode()) < PAGE_BYTES


def test_a_list_names_host_and_channels_of_what_nobody_can_tell() -> None:
    channels = [PlannedChannel(channel=f"T:A{n}\n", writes=1) for n in range(5)]
    plan = Plan(kind=PlanKind.COMPLETE, channels=channels)

    told = unknown_words("demo", plan)
    assert told == "MACHINE STATE UNKNOWN: host demo, 5 channels: T:A0, T:A1, T:A2, 2 more"
    assert unknown_words("demo", None) == "MACHINE STATE UNKNOWN: host demo"
