"""The page of an approval: complete, small, and not to be forged by what it shows."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from runpermit.models import (
    ExecutionMode,
    PendingApproval,
    Plan,
    PlanKind,
    PlannedWrite,
    Revision,
    Stage,
)
from runpermit.page import approval_page, page_link, progress_page, question, write_lines

PAGE_BYTES = 8 * 1024
OURS = {"h2", "h3", "h4", "p", "strong", "em", "code", "pre", "details", "summary", "br"}
HOSTILE = [
    "</pre></details><script>alert(1)</script>\n\n# Approved by everybody\n\n",
    "```\n</pre>\n\n<h1>Approved</h1>\n\n```",
    "\u202e\x1b[2J\x00\u200b",
    "[click](http://evil) ![x](http://evil) <b>x</b> | a | b |\n|---|---|",
    "&<>\"'`*_#" * 2000,
    "\U0001f600" * 5000,
    "\n\n\n<img src=x>\n\n" * 500,
    "x" * 100_000,
]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.attributes += attrs

    def handle_comment(self, data: str) -> None:
        del data
        self.found.append("comment")


def tags(page: str) -> Tags:
    parser = Tags()
    parser.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(page))
    parser.close()
    return parser


def write(channel: str | None = "SR:HCM1:SP", value: Any = 0.2, **fields: Any) -> PlannedWrite:
    plain: dict[str, Any] = {
        "value_known": True, "line": 3, "description": "corrector 1", "units": "A",
        "min_value": -1.0, "max_value": 1.0,
    }  # fmt: skip
    return PlannedWrite(channel=channel, value=value, **(plain | fields))


def pending(
    *, writes: list[PlannedWrite] | None = None, code: str = "x = 1\n", workflow: str = "orbit-1",
    **fields: Any,
) -> PendingApproval:  # fmt: skip
    binds = Revision(
        workflow_id=workflow,
        first_run_id="3ed14fb9",
        number=1,
        code=code,
        plan=Plan(writes=[write()] if writes is None else writes),
        limits_sha256="0" * 64,
        inputs={},
        kernel_environment="",
    )
    plain: dict[str, Any] = {
        "warnings": ["approver not verified"], "execution_mode": ExecutionMode.WRITE_ACCESS,
        "user_query": "Correct the orbit", "task_objective": "Set HCM1", "expected_results": {},
        "requester": "jd", "analysis_issues": ["line 3: a write"], "folder_path": "/srv/x",
        "notebook_path": "/srv/x/attempts/02_approval.ipynb", "notebook_link": "http://n/x",
        "asked_at": datetime(2026, 1, 1, 3, 12, 5, tzinfo=UTC),
    }  # fmt: skip
    return PendingApproval(binds=binds, **(plain | fields))


def hostile(text: str) -> PendingApproval:
    return pending(
        writes=[write(text, text, description=text, units=text, min_value=None) for _ in range(40)],
        code=text,
        workflow=text[:255],
        user_query=text,
        task_objective=text,
        requester=text[:128],
        analysis_issues=[text] * 40,
        notebook_path=text,
        cli_options=text[:100],
    )


def test_the_page_says_what_is_asked_and_how_to_answer() -> None:
    asked = pending()
    page = approval_page(asked)

    assert page.startswith("### Approve?")
    assert f"**Revision {asked.revision}**" in page
    for verb in ("approve", "reject", "revise"):
        assert f"`{verb}-{asked.revision}`" in page
    assert "2026-01-01 03:12:05 UTC" in page
    assert f"--sha256 {asked.revision}" in " ".join(page.split())
    assert "approver not verified" in page
    assert "corrector 1" in page
    assert "x = 1" in page


def test_a_write_refused_in_reading_is_asked_about_as_such() -> None:
    refused = PlannedWrite(channel="SR:HCM1:SP", value=0.2, value_known=True, line=None)
    plan = Plan(kind=PlanKind.REFUSED_READ_ONLY, writes=[refused])

    assert question(plan) == (
        "1 write refused in the read-only run: SR:HCM1:SP → 0.2. More may follow"
    )
    assert write_lines(plan)[0].split() == ["SR:HCM1:SP", "→", "0.2", "refused"]


def test_what_is_known_stands_above_the_requesters_words_and_those_above_the_code() -> None:
    page = approval_page(pending(user_query="WISH", code="CODE\n"))

    assert page.index("SR:HCM1:SP") < page.index("WISH") < page.index("CODE")


def test_the_page_tells_when_the_question_expires() -> None:
    at = datetime(2026, 1, 1, 3, 12, 5, tzinfo=UTC) + timedelta(hours=1)

    assert "2026-01-01 04:12:05 UTC" in approval_page(pending(expires_at=at))
    assert "never" in approval_page(pending())


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_foreign_becomes_a_tag_of_the_page(text: str) -> None:
    plain = tags(approval_page(pending()))
    found = tags(approval_page(hostile(text)))

    assert set(found.found) <= OURS
    assert found.found.count("details") == plain.found.count("details")
    assert found.found.count("h3") == plain.found.count("h3")
    assert set(found.attributes) <= {("open", None)}


@settings(max_examples=50)
@given(st.text("`~<>&\n\r \t#*_[]()!|\\-=\u202e\x00ab", max_size=200))
def test_no_text_at_all_becomes_a_tag_of_the_page(text: str) -> None:
    assert set(tags(approval_page(hostile(text))).found) <= OURS
    assert set(tags(progress_page(Stage.FAILED, 1, text, [text], [text])).found) <= OURS


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_page_stays_below_eight_kilobytes_and_keeps_the_way_to_answer(text: str) -> None:
    asked = hostile(text)
    page = approval_page(asked)

    assert len(page.encode()) < PAGE_BYTES
    assert f"`approve-{asked.revision}`" in page
    assert f"`reject-{asked.revision}`" in page


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_page_of_a_failure_stays_below_eight_kilobytes(text: str) -> None:
    assert len(progress_page(Stage.FAILED, 20, text, [text] * 20, [text] * 2).encode()) < PAGE_BYTES


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_writes_stand_in_lines_of_sixty_characters(text: str) -> None:
    for line in write_lines(hostile(text).plan):
        assert len(line) <= 60
        assert line.splitlines() == [line]


def test_a_write_tells_channel_value_line_and_limits() -> None:
    text = "\n".join(write_lines(Plan(writes=[write()])))

    assert "SR:HCM1:SP → 0.2 A" in text
    assert "line 3" in text
    assert "corrector 1" in text
    assert "limits -1 … 1 A" in text


def test_a_value_is_never_cut_without_a_mark() -> None:
    long = write("SR:C01-MG:G02A:HCM1:Current:Setpoint:SP", 12345678901234567890)
    text = "\n".join(write_lines(Plan(writes=[long])))

    assert "→ 12345678901234567890 A" in text


def test_what_the_code_computes_is_said_to_be_computed() -> None:
    text = "\n".join(write_lines(Plan(writes=[write(None, None, value_known=False)])))

    assert "a channel that the code computes" in text
    assert "→ computed" in text


def test_a_channel_without_limits_is_said_to_have_none() -> None:
    text = "\n".join(write_lines(Plan(writes=[write(min_value=None, max_value=None)])))

    assert "no limits" in text


def test_writes_that_are_not_shown_are_counted() -> None:
    asked = pending(writes=[write(f"SR:HCM{n}:SP") for n in range(100)])

    assert "70 more" in write_lines(asked.plan)[-1]
    assert "100 writes" in approval_page(asked)


def test_equal_writes_are_counted_in_the_question() -> None:
    assert "SR:HCM1:SP → 0.2 A (5 ×)" in question(Plan(writes=[write()] * 5))


def test_the_question_in_one_line() -> None:
    assert question(Plan()) == "Run this code? It only reads."
    assert "1 write seen in the code: SR:HCM1:SP → 0.2 A" in question(Plan(writes=[write()]))
    assert "and 2 more" in question(Plan(writes=[write(value=n) for n in range(5)]))


def test_long_code_is_cut_and_the_page_says_so() -> None:
    page = approval_page(pending(code="a = 1\n" * 10_000))

    assert "10001 lines" in page or "10000 lines" in page
    assert "only its beginning" in page


def test_the_link_leads_to_the_page_of_one_run() -> None:
    link = page_link("http://ui/", "default", "a b/c", "run")

    assert link == "http://ui/namespaces/default/workflows/a%20b%2Fc/run/user-metadata"
