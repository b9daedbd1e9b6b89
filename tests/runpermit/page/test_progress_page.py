"""The page while nothing waits."""

import html

import pytest

from runpermit.models import Stage
from runpermit.page import progress_page
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


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_it_stays_below_eight_kilobytes_and_nothing_foreign_takes_effect(text: str) -> None:
    page = progress_page(Stage.FAILED, 20, text, [text] * 20, [text] * 2)

    assert len(page.encode()) < PAGE_BYTES
    assert set(tags(page).found) <= OURS
