"""The page of MACHINE LEFT CHANGED."""

import html
from typing import Any

import pytest

from runpermit.models import ApprovalRule, Assurance
from runpermit.page import change_lines, commands, restore_page, restore_question
from tests.runpermit.page.conftest import (
    HOSTILE,
    OURS,
    PAGE_BYTES,
    change,
    pending_restore,
    refused,
    tags,
)


def test_the_page_tells_what_was_what_is_and_how_to_answer() -> None:
    asked = pending_restore(notes=["The gate was restarted."])
    page = html.unescape(restore_page(asked))

    assert page.splitlines()[0].startswith("### ⚠️ MACHINE LEFT CHANGED: 1 channel, SR:HCM1:SP")
    assert "before 0.1, written 0.3, read 0.3 at 03:12:05 UTC" in page
    assert "Why it ended: Stopped by jd" in page
    assert "⚠️ The gate was restarted." in page
    assert f"`restore-{asked.revision}`" in page
    assert f"`leave-{asked.revision}`" in page
    assert "approve" not in page
    assert "Did not count" not in page
    assert f"restore orbit-1 --sha256 {asked.revision}" in page


def test_the_decision_that_did_not_count_is_told_with_the_reason() -> None:
    asked = pending_restore(not_counted=refused(verb=None, reason="it names no decision"))

    assert (
        "⚠️ Did not count: a decision by an unnamed operator at 03:12:05 UTC: it names no decision."
    ) in html.unescape(restore_page(asked))


def test_a_name_that_anybody_can_type_is_said_to_be_that() -> None:
    asked = pending_restore()
    assert "Approver not verified: any signal can answer" in html.unescape(restore_page(asked))
    signed = asked.model_copy(update={"rule": ApprovalRule(assurance=Assurance.SIGNED)})
    page = restore_page(signed)
    assert "ot verified" not in page
    assert f"restore-{signed.revision}" not in page
    assert "--sign" in page[: page.index("More Actions")]


def test_what_cannot_be_put_back_is_said_with_the_reason() -> None:
    fixed = change("SR:MODE", restorable=False, why_not="its limits say restore: false")
    asked = pending_restore([change(), fixed])

    assert restore_question(asked).endswith("SR:HCM1:SP, SR:MODE; 1 can't be put back")
    assert "its limits say restore: false" in " ".join(" ".join(change_lines(asked)).split())


def test_a_write_of_which_nobody_knows_and_a_channel_that_is_silent_are_marked() -> None:
    lines = change_lines(pending_restore([change(uncertain=True, reads=None)]))

    assert "could not be read at 03:12:05 UTC" in lines[2]
    assert "uncertain" in lines[3]


@pytest.mark.parametrize(
    ("reads", "marked"), [(0.3, False), (0.30000001192, False), (0.31, True), ("OFF", True)]
)
def test_a_channel_that_somebody_else_may_have_set_is_marked(reads: Any, *, marked: bool) -> None:
    lines = change_lines(pending_restore([change(reads=reads)]))

    assert ("! reads something else than was written" in " ".join(lines)) is marked


def test_channels_that_are_not_shown_are_counted_and_the_page_says_where_all_are() -> None:
    asked = pending_restore([change(f"SR:HCM{n}:SP") for n in range(100)])
    page = html.unescape(restore_page(asked))

    assert "… and 70 more" in page
    assert "runpermit show orbit-1" in page
    assert "100 channels, SR:HCM0:SP, SR:HCM1:SP, SR:HCM2:SP and 97 more" in page
    assert len(change_lines(asked, 1000)) == 200


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_foreign_takes_effect_and_the_page_stays_small(text: str) -> None:
    bad = change(text, before=text, written=text, reads=text, restorable=False, why_not=text)
    asked = pending_restore(
        [bad] * 100,
        workflow=text[:255],
        reason=text,
        notes=[text] * 40,
        cli_options=text[:100],
        not_counted=refused(operator=text, reason=text),
    )
    page = restore_page(asked)
    found = tags(page)

    assert len(page.encode()) < PAGE_BYTES
    assert f"`restore-{asked.revision}`" in page
    assert f"`leave-{asked.revision}`" in page
    assert set(found.found) <= OURS
    assert found.found.count("h3") == 1
    assert all(len(line) <= 54 and line.isprintable() for line in change_lines(asked))


def test_the_commands_name_what_was_shown() -> None:
    asked = pending_restore(cli_options="--address control:7233")

    assert commands(asked) == [
        f"runpermit {verb} orbit-1 --sha256 {asked.revision} --address control:7233"
        for verb in ("restore", "leave")
    ]
