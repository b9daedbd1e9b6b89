"""The page of an approval: complete, small, and not to be forged by what it shows."""

import html
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runpermit.models import (
    ApprovalRule,
    Assurance,
    Declaration,
    MachineState,
    Plan,
    PlanKind,
    Verb,
)
from runpermit.page import approval_page, commands, page_link, plan_warnings, question
from runpermit.text import cells
from tests.runpermit.page.conftest import (
    AT,
    HOSTILE,
    OURS,
    PAGE_BYTES,
    channel,
    hostile,
    pending,
    plan,
    ramp,
    refused,
    tags,
    write,
)

KINDS = [PlanKind.COMPLETE, PlanKind.DECLARED, PlanKind.INCOMPLETE]


def shown(page: str) -> str:
    """The page's text as it is read, on one line."""
    return " ".join(html.unescape(page).split())


def test_the_page_says_what_is_asked_and_how_to_answer() -> None:
    asked = pending()
    page = approval_page(asked)

    assert page.startswith("### Approve?")
    assert f"COMPLETE, {asked.revision}, rehearsed 03:12:05 UTC" in shown(page.splitlines()[0])
    assert f"**Revision {asked.revision}**" in page
    for verb in ("approve", "reject", "revise"):
        assert f"`{verb}-{asked.revision}`" in page
    assert 'without input; *revise* and *reject* take your words: `{"comment":"…"}`' in page
    assert "2026-01-01 03:12:05 UTC" in page
    assert f"--sha256 {asked.revision}" in shown(page)
    assert "approver not verified" in page
    assert "Corrector 1" in page
    assert "x = 1" in page


def test_it_goes_from_the_clicks_to_the_machine_to_the_writes_to_others_words_to_the_code() -> None:
    page = shown(approval_page(pending(user_query="WISH", code="CODE\n")))
    order = ["More Actions", "approver not verified", "SR:BEAM:CURRENT > 1"]
    order += ["SR:HCM1:SP 0.1 → 0.3 A", "If it fails", "To answer by command", "WISH", "CODE"]

    assert sorted(order, key=page.index) == order


def test_an_incomplete_plan_offers_no_yes_and_says_what_to_do() -> None:
    asked = pending(plan(kind=PlanKind.INCOMPLETE, problem="LinAlgError: Singular matrix"))
    page = approval_page(asked)

    assert shown(page).startswith("### Can't be approved:")
    assert "approve-" not in page
    assert "runpermit approve" not in page
    assert f"`revise-{asked.revision}`" in page
    assert f"`reject-{asked.revision}`" in page
    assert "LinAlgError: Singular matrix" in shown(page)
    assert "declare your envelope with plan(channel, low, high, max_writes)" in shown(page)
    assert "declare your envelope" in " ".join(commands(asked))
    assert "If it fails" not in page


def test_a_code_that_only_reads_is_asked_about_without_writes() -> None:
    page = approval_page(pending(Plan()))

    assert "It only reads" in page
    assert "If it fails" not in page
    assert "rehearsed" not in page


def test_the_page_tells_when_the_question_expires() -> None:
    assert "2026-01-01 04:12:05 UTC" in approval_page(pending(expires_at=AT + timedelta(hours=1)))
    assert "never" in approval_page(pending())


def test_the_words_with_which_the_revision_before_was_sent_back_are_told_in_one_line() -> None:
    wish = refused(verb=Verb.REVISE, operator="jd", comment="# smaller\nsteps " * 99)
    page = html.unescape(approval_page(pending(revised=wish)))
    [told] = [line for line in page.splitlines() if line.startswith("Revised by")]

    assert told.startswith("Revised by jd (not verified): # smaller steps # smaller")
    assert page.index("Why (the requester") < page.index(told) < page.index("Asked for")
    assert len(told) <= 400
    assert "Revised by" not in approval_page(pending())


def test_what_changed_since_the_revision_before_is_told() -> None:
    page = shown(approval_page(pending(changed=[f"SR:HCM{n}:SP is new" for n in range(9)])))

    assert page.count("SP is new.") == 5
    assert "4 more, see runpermit show." in page


def test_what_changed_is_told_once_and_not_to_do_again_what_was_done() -> None:
    page = shown(
        approval_page(
            pending(
                changed=[
                    "SR:HCM1:SP: reads 0.412 A, and 0 A when the plan was made (tolerance 0.1 A). "
                    "Rehearse again, and have the new plan approved",
                    "SR:HCM2:SP: reads 5 A, and 0 A when the plan was made. Rehearse again, and "
                    "have the new plan approved",
                    "SR:HCM1:SP now reads 0.413 A, was 0 A",
                ]
            )
        )
    )

    assert "SR:HCM1:SP now reads 0.413 A, was 0 A. " in page
    assert "SR:HCM2:SP: reads 5 A, and 0 A when the plan was made. " in page
    assert page.count("Changed since") == 2
    assert "Rehearse again" not in page


def test_the_worst_is_told_first() -> None:
    page = shown(
        approval_page(
            pending(
                plan(upstream="ring-model:5064"),
                warnings=["approver not verified", "INHIBITED: by jd", "LIMITS OFF at the gate"],
                changed=["SR:HCM1:SP now reads 0.2 A, was 0.1 A"],
            )
        )
    )
    order = ["INHIBITED", "LIMITS OFF", "Changed since", "Rehearsed on the model", "approver not"]

    assert sorted(order, key=page.index) == order
    assert page.count("INHIBITED") == 1


def test_a_warning_ends_with_a_whole_word_and_its_quotes_are_set_as_text() -> None:
    why = f"its record is in closed loop {'and follows the tuner ' * 12}"
    [warning] = plan_warnings(plan(channels=[channel(moved_by=why)]))

    assert warning.endswith(" and follows the …).")
    assert "can't" in approval_page(pending(warnings=["it can't be"]))


def test_the_decision_that_did_not_count_is_told_first_with_the_reason() -> None:
    page = shown(approval_page(pending(not_counted=refused(operator="jd\n# ok"))))

    assert (
        "⚠️ Did not count: approve by jd # ok at 03:12:05 UTC: it is for revision "
        "3f2a1c, but 7f3a9c waits."
    ) in page
    assert page.index("Submit") < page.index("Did not count") < page.index("not verified")
    assert "Did not count" not in approval_page(pending())


def test_nothing_is_warned_of_that_is_not_true() -> None:
    assert plan_warnings(plan()) == []
    assert plan_warnings(Plan()) == []


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"alarm": "MAJOR HIHI"}, "ALARM: SR:HCM1:SP (MAJOR HIHI)"),
        (
            {"moved_by": "FB1 is on"},
            "Something else may fight this: SR:HCM1:SP (FB1 is on)",
        ),
        ({"clamped": "clamps at 5"}, "Not stored as it is written: SR:HCM1:SP (clamps at 5)"),
        ({"restorable": False, "why_not": "an enum"}, "Cannot be put back: SR:HCM1:SP (an enum)"),
        ({"live": None}, "Reads nothing now: SR:HCM1:SP"),
    ],
)
def test_what_is_odd_about_a_channel_is_a_warning(odd: dict[str, Any], words: str) -> None:
    [warning] = plan_warnings(plan(channels=[channel(**odd)]))

    assert words in warning
    assert f"⚠️ {words}" in shown(approval_page(pending(plan(channels=[channel(**odd)]))))


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"unknown": ["SR:BPM1:X"]}, "Flat in the rehearsal: SR:BPM1:X"),
        ({"upstream": "ring-model:5064"}, "Rehearsed on the model ring-model:5064"),
        ({"left_out": 12}, "12 more writes"),
        (
            {"writes": [write(f"SR:Q{n}") for n in range(100)]},
            "70 of 100 writes are not shown: read them in the notebook",
        ),
        ({"kind": PlanKind.DECLARED, "problem": "time-out"}, "did not come to its end: time-out"),
        (
            {"machine": [MachineState(channel="M", op="==", value="UP", reads="OFF", holds=False)]},
            "DOES NOT HOLD: M == UP (reads OFF)",
        ),
    ],
)
def test_what_is_odd_about_the_rehearsal_is_a_warning(odd: dict[str, Any], words: str) -> None:
    [warning] = plan_warnings(plan(**odd))

    assert words in warning


@pytest.mark.parametrize(
    ("fields", "depends"),
    [
        ({"reads": ["BPM"], "writes": [write(), write()]}, True),
        ({"reads": ["BPM"], "writes": [write()]}, False),
        ({"reads": ["OTHER"], "writes": [write(), write()]}, False),
        ({"reads": ["BPM"], "kind": PlanKind.DECLARED}, True),
    ],
)
def test_values_that_may_come_from_the_model_are_said_to(
    fields: dict[str, Any], *, depends: bool
) -> None:
    shown_plan = plan(upstream="ring-model:5064", channels=[channel(follows=["BPM"])], **fields)
    [warning] = plan_warnings(shown_plan)

    told = "Written values may depend on what it answered (BPM), and differ on the machine."
    assert (told in warning) is depends
    assert told not in " ".join(plan_warnings(shown_plan.model_copy(update={"upstream": ""})))


def test_of_many_channels_a_warning_names_the_first() -> None:
    fixed = [channel(f"SR:Q{n}", restorable=False, why_not="an enum") for n in range(100)]
    [warning] = plan_warnings(plan(channels=fixed))

    assert "SR:Q0 (an enum)" in warning
    assert warning.endswith("and 97 more.")


@pytest.mark.parametrize(
    ("restorable", "words"),
    [
        ([True, True], "All of it can be put back."),
        ([True, False], "1 of its 2 channels can be put back."),
        ([False, False], "None of it can be put back."),
    ],
)
def test_the_page_says_how_much_can_be_put_back(restorable: list[bool], words: str) -> None:
    channels = [channel(f"SR:Q{n}", restorable=can) for n, can in enumerate(restorable)]

    assert words in shown(approval_page(pending(plan(channels=channels))))


def test_the_page_says_which_moves_go_on_to_their_end_after_a_stop() -> None:
    page = shown(approval_page(pending(plan(channels=[channel(stoppable=False)]))))

    told = "If it is stopped in the middle, a move that has begun goes on to its end: SR:HCM1:SP."
    assert told in page
    assert "stopped in the middle" not in shown(approval_page(pending()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_foreign_becomes_a_tag_of_the_page(text: str, kind: PlanKind) -> None:
    plain = tags(approval_page(pending()))
    found = tags(approval_page(hostile(text, kind=kind)))

    assert set(found.found) <= OURS
    assert found.found.count("details") == plain.found.count("details")
    assert found.found.count("h3") == plain.found.count("h3")
    assert set(found.attributes) <= {("open", None)}


@settings(max_examples=50)
@given(st.text("`~<>&\n\r \t#*_[]()!|\\-=\u202e\x00ab", max_size=200))
def test_no_text_at_all_changes_the_shape_of_the_page(text: str) -> None:
    found = tags(approval_page(hostile(text)))

    assert found.found.count("h3") == 1
    assert found.found.count("h4") == 3
    assert set(found.found) <= OURS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_page_stays_below_eight_kilobytes_and_keeps_the_way_to_answer(
    text: str, kind: PlanKind
) -> None:
    asked = hostile(text, kind=kind)
    page = approval_page(asked)

    assert len(page.encode()) < PAGE_BYTES
    assert f"`reject-{asked.revision}`" in page
    assert (f"`approve-{asked.revision}`" in page) is (kind is not PlanKind.INCOMPLETE)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_command_that_signs_stands_first_and_no_click_approves(text: str) -> None:
    rule = ApprovalRule(assurance=Assurance.SIGNED, persons=2, approvers=[text] * 20)
    asked = hostile(text).model_copy(update={"rule": rule, "approved_by": [text]})
    page = approval_page(asked)

    assert len(page.encode()) < PAGE_BYTES
    assert set(tags(page).found) <= OURS
    assert f"approve-{asked.revision}" not in page
    assert page.index("runpermit approve") < page.index("More Actions") < page.index("To answer by")
    assert "--sign" in page[: page.index("More Actions")]


@pytest.mark.parametrize(
    "large",
    [
        plan(writes=[write(f"SR:Q{n}") for n in range(1000)], left_out=10**6),
        plan(writes=[w for n in range(5) for w in ramp(f"SR:HCM{n}:SP", 200, at=20 * n)]),
        plan(channels=[channel(f"SR:Q{n}", restorable=False) for n in range(1000)]),
        plan(declared=[Declaration(channel=f"Q{n}", low=0, high=1, max_writes=9)
                       for n in range(1000)]),
        plan(writes=[write(new=[0.1] * 1000, old=[0.2] * 1000)] * 100),
    ],
    ids=["writes", "ramps", "channels", "declared", "arrays"],
)  # fmt: skip
def test_the_page_of_any_plan_stays_below_eight_kilobytes(large: Plan) -> None:
    page = approval_page(pending(large, code="a = 1\n" * 10_000))

    assert len(page.encode()) < PAGE_BYTES
    assert "approve-" in page


def test_long_code_is_cut_and_the_page_says_so() -> None:
    page = approval_page(pending(code="a = 1\n" * 10_000))

    assert "10000 lines" in page
    assert "only its beginning" in page
    assert "Only the beginning of the code is shown" in page


def test_no_code_stands_beyond_the_edge_of_the_page_behind_wide_letters() -> None:
    code = f"note = '{chr(0x1F600) * 60}'; write_channel('SR:HCM1:SP', 0.3)\n"
    lines = html.unescape(approval_page(pending(code=code)).split("<pre>")[1]).splitlines()

    assert len(lines) > 3
    assert all(cells(line) <= 54 for line in lines if "</pre>" not in line)
    assert "write_channel" in "".join(line[5:] for line in lines)


def test_the_question_of_a_reading_code_in_one_line() -> None:
    assert question(Plan()) == "Run this code? It only reads."


def test_the_commands_carry_execution_revision_and_address() -> None:
    asked = pending(workflow="scan 42", cli_options="--address control:7233")

    assert commands(asked)[0] == (
        f"runpermit approve 'scan 42' --sha256 {asked.revision} --address control:7233"
    )
    assert [line.split()[1] for line in commands(asked)] == ["approve", "reject", "revise", "stop"]


def test_commands_stay_within_the_page_and_are_never_cut() -> None:
    name = "a-rather-long-name-of-an-execution-1f2e3d4c"
    page = approval_page(pending(workflow=name, cli_options="--address control-room:7233"))
    block = page.split("```")[3]

    assert max(len(line) for line in block.splitlines()) <= 54
    assert f"runpermit reject {name} --reason '…' --address control-room:7233" in " ".join(
        block.replace(" \\\n", " ").split()
    )


def test_the_link_leads_to_the_page_of_one_run() -> None:
    link = page_link("http://ui/", "default", "a b/c", "run")

    assert link == "http://ui/namespaces/default/workflows/a%20b%2Fc/run/user-metadata"
