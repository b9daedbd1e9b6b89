import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.journal_copy import copied_refusals, copied_writes, copy_journal
from gate.client import Opening, Refusal, SessionMode, SessionReport
from runpermit.errors import ContainerConfigurationError
from runpermit.models import Isolation, Permit, Plan, Revision, WriteOutcome, WriteRecord

OPENING = Opening(
    execution="wf", run_id="run", attempt=2, mode=SessionMode.APPLY, isolation=Isolation.FULL
)
CONFIRMED, DIFFERS = WriteOutcome.CONFIRMED, WriteOutcome.DIFFERS
WRITES = [
    WriteRecord(channel="A", old=0, new=1, outcome=CONFIRMED, at="2026-01-01T00:00:01"),
    WriteRecord(channel="Ü", old=1, new=[2], outcome=DIFFERS, at="2026-01-01T00:00:03"),
]
REFUSAL = Refusal(
    channel="A", value=9, violation_type="MAX_EXCEEDED", reason="9 > 1", at="2026-01-01T00:00:02"
)
REPORT = SessionReport(
    session="apply-1", forwarded=2, refused=1, writes=WRITES, refusals=[REFUSAL]
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_writes_and_refusals_are_copied_in_their_order(path: Path) -> None:
    copy_journal(path, OPENING, REPORT)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["record"] for line in lines] == ["write", "refused", "write"]
    assert lines[0] == {
        "execution": "wf", "run_id": "run", "attempt": 2, "mode": "apply", "isolation": "full",
        "session": "apply-1", "record": "write", "channel": "A", "old": 0, "new": 1,
        "outcome": "confirmed", "read_back": None, "at": "2026-01-01T00:00:01",
    }  # fmt: skip
    assert lines[1]["violation_type"] == "MAX_EXCEEDED"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_permit_is_named_by_its_id_alone(path: Path) -> None:
    revision = Revision(
        workflow_id="wf", first_run_id="run", number=1, code="x = 1", plan=Plan(),
        limits_sha256="", inputs={}, kernel_environment="",
    )  # fmt: skip
    permit = Permit(revision=revision, decided_at=datetime(2026, 1, 1, tzinfo=UTC))
    copy_journal(path, OPENING.model_copy(update={"permit": permit}), REPORT)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["permit"] for line in lines} == {permit.id}


def test_the_writes_come_back_as_they_were(path: Path) -> None:
    copy_journal(path, OPENING, REPORT)
    assert copied_writes(path) == WRITES


def test_the_refusals_come_back_in_words(path: Path) -> None:
    assert copied_refusals(path) == []
    copy_journal(path, OPENING, REPORT)
    assert copied_refusals(path) == ["A = 9: MAX_EXCEEDED, 9 > 1"]


def test_a_later_attempt_is_added_below(path: Path) -> None:
    copy_journal(path, OPENING, REPORT)
    copy_journal(path, OPENING, REPORT)
    assert copied_writes(path) == WRITES + WRITES


def test_where_nothing_happened_there_is_no_file(path: Path) -> None:
    copy_journal(path, OPENING, SessionReport(session="read_only-1"))
    assert not path.exists()
    assert copied_writes(path) == []


def test_where_the_gate_told_a_part_alone_the_copy_says_so(path: Path) -> None:
    copy_journal(path, OPENING, REPORT.model_copy(update={"forwarded": 9, "refused": 5}))
    *_, writes, refusals = [json.loads(line) for line in path.read_text().splitlines()]
    assert (writes["record"], writes["attempt"]) == ("left_out", 2)
    assert writes["reason"] == "2 of 9 writes are here, the rest is in the gate's journal"
    assert refusals["reason"] == "1 of 5 refusals are here"
    assert copied_writes(path) == WRITES


def test_a_copy_without_any_write_says_that_there_were_some(path: Path) -> None:
    copy_journal(path, OPENING, SessionReport(session="apply-1", forwarded=1))
    assert "0 of 1 writes are here" in path.read_text()


@pytest.mark.parametrize("line", [b"{torn", b"[1]\n", b"\xff\n", b'{"record": "write"}\n'])
def test_a_line_that_cannot_be_read_hides_no_other(path: Path, line: bytes) -> None:
    copy_journal(path, OPENING, REPORT)
    path.write_bytes(path.read_bytes() + line)
    assert copied_writes(path) == WRITES
    assert len(copied_refusals(path)) == 1


def test_nothing_is_written_through_a_link(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ContainerConfigurationError, match=r"journal\.jsonl"):
        copy_journal(path, OPENING, REPORT)
    assert not (tmp_path / "elsewhere").exists()
