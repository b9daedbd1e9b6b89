from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from runpermit.models import WriteOutcome, WriteRecord, WriteReport, write_warnings

JOURNAL = Path("/srv/x/journal.jsonl")


def record(**fields: Any) -> WriteRecord:
    known = {"channel": "A", "old": 0.0, "new": 0.1, "outcome": WriteOutcome.CONFIRMED}
    return WriteRecord(**(known | fields))


def test_a_report_of_many_writes_holds_the_first_and_counts_all() -> None:
    writes = [record(new=float(number)) for number in range(5000)]
    report = WriteReport.of(writes, 9000, JOURNAL)
    assert report.forwarded == 9000
    assert [write.new for write in report.writes] == [float(number) for number in range(200)]
    assert report.journal == JOURNAL
    assert report.left_out == 4000
    assert report.where == (
        f"{JOURNAL}: 5000 of 9000 writes are here, the rest is in the gate's journal"
    )
    assert report.details()["journal"] == report.where


def test_a_report_of_the_largest_values_fits_a_message() -> None:
    array, text = [-1.2345678901234567e-100] * 10_000, "\x01" * 10_000
    writes = [record(old=array, new=array[:16], read_back=text) for _ in range(5000)]
    report = WriteReport.of(writes, 5000, JOURNAL)
    assert len(report.model_dump_json().encode()) < 512 * 1024
    assert report.writes[0].old == {"_type": "array", "count": 10_000}
    assert report.writes[0].new == array[:16]


def test_the_details_of_an_error_tell_the_first_writes_in_words() -> None:
    writes = [record(channel=f"C{number}") for number in range(50)]
    details = WriteReport.of(writes, 50, JOURNAL).details()
    assert details["forwarded"] == 50
    assert details["writes"][0] == "C0: 0.0 → 0.1, confirmed"
    assert len(details["writes"]) == 11
    assert details["writes"][-1] == f"and 40 more: {JOURNAL}"
    assert details["journal"] == str(JOURNAL)


def warnings(*writes: WriteRecord) -> list[str]:
    return write_warnings(writes, Counter(write.outcome for write in writes))


def test_a_write_that_is_confirmed_or_needs_no_verification_is_no_warning() -> None:
    assert warnings(record(), record(outcome=WriteOutcome.NOT_VERIFIED)) == []


@pytest.mark.parametrize(
    "outcome",
    sorted(set(WriteOutcome) - {WriteOutcome.CONFIRMED, WriteOutcome.NOT_VERIFIED}),
)
def test_a_write_that_was_not_confirmed_is_a_warning(outcome: WriteOutcome) -> None:
    [warning] = warnings(record(), record(channel="B", outcome=outcome, read_back=0.7))
    assert warning.startswith("Write not confirmed: B: 0.0 → 0.1")
    assert outcome in warning


def test_a_value_that_differs_is_told() -> None:
    [warning] = warnings(record(outcome=WriteOutcome.DIFFERS, read_back=0.7))
    assert warning.endswith("differs, reads 0.7")


def test_the_warnings_of_many_writes_are_counted() -> None:
    told = warnings(*[record(outcome=WriteOutcome.UNREADABLE)] * 500)
    assert len(told) == 11
    assert told[-1] == "490 more writes were not confirmed."


def test_writes_that_are_not_told_are_counted_too() -> None:
    outcomes = {WriteOutcome.CONFIRMED: 2000, WriteOutcome.DIFFERS: 3, WriteOutcome.UNCERTAIN: 4}
    told = write_warnings([record(), record(outcome=WriteOutcome.DIFFERS)], outcomes)
    assert told[1:] == [
        "6 more writes were not confirmed.",
        "Not all writes are told: 2 of 2007 writes are here, the rest is in the gate's journal.",
    ]


def test_a_write_in_words_is_one_visible_line() -> None:
    assert str(record(new="a\nb\x1b[2J", channel="A\u202e")) == (
        "A\\u202e: 0.0 → a b\\x1b[2J, confirmed"
    )
