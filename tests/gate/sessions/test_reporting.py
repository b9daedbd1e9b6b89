"""What a session tells its worker stays far below what one line may hold."""

import hashlib
import json
import math
import struct

from gate.messages import (
    LINE_BYTES,
    MAX_REFUSALS,
    MAX_WRITES,
    REPORT_BYTES,
    Refusal,
    SessionReport,
    WriteOutcome,
    WriteRecord,
)
from gate.policy.attempt import brief, recorded, told
from gate.sessions.reporting import Reporting


def write(outcome: WriteOutcome, number: int, **fields: object) -> WriteRecord:
    return WriteRecord(channel="A", new=number, outcome=outcome, at=f"{number:06}", **fields)


def refusal(**fields: object) -> Refusal:
    return Refusal(**({"channel": "A", "violation_type": "V", "reason": "r"} | fields))  # type: ignore[arg-type]


def test_the_first_refusal_is_told_however_full_the_report_is() -> None:
    reporting = Reporting("s")
    for number in range(MAX_WRITES):
        reporting.wrote(write(WriteOutcome.DIFFERS, number, old="x" * 999, read_back="y" * 999))
    reporting.refused(refusal(channel="FIRST", reason="r" * REPORT_BYTES))
    reporting.refused(refusal())
    report = reporting.report(MAX_WRITES)
    assert [told.channel for told in report.refusals] == ["FIRST"]
    assert report.refused == 2


def test_many_refusals_are_counted() -> None:
    reporting = Reporting("s")
    for number in range(MAX_REFUSALS + 5):
        reporting.refused(refusal(channel=f"C{number}"))
    report = reporting.report(0)
    assert (len(report.refusals), report.refused) == (MAX_REFUSALS, MAX_REFUSALS + 5)
    assert report.refusals[0].channel == "C0"


def test_a_write_that_went_wrong_is_told_after_thousands_that_went_well() -> None:
    reporting = Reporting("s")
    for number in range(MAX_WRITES + 500):
        reporting.wrote(write(WriteOutcome.CONFIRMED, number))
    reporting.wrote(write(WriteOutcome.DIFFERS, 500_000))
    reporting.wrote(write(WriteOutcome.NOT_VERIFIED, 500_001))
    report = reporting.report(MAX_WRITES + 503)
    assert [told.outcome for told in report.writes[-2:]] == ["confirmed", "differs"]
    assert len(report.writes) == MAX_WRITES + 1
    assert report.outcomes == {
        "confirmed": MAX_WRITES + 500, "differs": 1, "not_verified": 1, "uncertain": 1,
    }  # fmt: skip


def test_writes_are_told_in_their_order() -> None:
    reporting = Reporting("s")
    for number, outcome in enumerate((WriteOutcome.DIFFERS, WriteOutcome.CONFIRMED) * 3):
        reporting.wrote(write(outcome, number))
    assert [told.new for told in reporting.report(6).writes] == list(range(6))


def test_of_large_writes_as_many_are_told_as_the_line_has_room_for() -> None:
    reporting = Reporting("s")
    for number in range(MAX_WRITES):
        for outcome in (WriteOutcome.CONFIRMED, WriteOutcome.DIFFERS):
            reporting.wrote(write(outcome, number, old=["\u03a9" * 40] * 20))
        reporting.refused(refusal(reason="\u03a9" * 2000))
    report = reporting.report(2 * MAX_WRITES)
    assert 100 < len(report.writes) < 2 * MAX_WRITES
    line = json.dumps({"closed": report.model_dump(mode="json")})
    assert len(line) < LINE_BYTES


def test_a_report_of_long_arrays_fits_one_line() -> None:
    array = told(tuple(n / 7 for n in range(10_000)))
    write = brief(
        WriteRecord(
            channel="X" * 60, old=array, new=array, outcome=WriteOutcome.DIFFERS, read_back=array
        ),
        "old",
        "new",
        "read_back",
    )
    refusal = brief(
        Refusal(channel="X" * 60, value=array, violation_type="V", reason="r" * 2000), "value"
    )
    report = SessionReport(
        session="s", writes=[write] * MAX_WRITES, refusals=[refusal] * MAX_REFUSALS
    )
    line = json.dumps({"closed": report.model_dump(mode="json")})
    assert len(line) < LINE_BYTES


def test_a_long_array_is_told_by_its_length_and_beginning() -> None:
    array = [float(n) for n in range(5000)]
    record = WriteRecord(channel="A", old=array, new=1.5, outcome=WriteOutcome.CONFIRMED)
    assert brief(record, "old", "new").old == {
        "_type": "array",
        "count": 5000,
        "first": array[:20],
    }
    assert brief(record, "old", "new").new == 1.5


def test_what_is_told_is_json_whatever_was_sent() -> None:
    for value in (
        float("nan"),
        (1.0, float("inf")),
        "a\udc80b",
        "x" * 100_000,
        tuple(range(20_000)),
    ):
        assert len(json.dumps(told(value), allow_nan=False).encode()) < 300_000


def test_a_long_array_is_recorded_by_hash_ends_and_beginning() -> None:
    array = (*map(float, range(-5, 120_000)), math.nan, 7)
    packed = struct.pack(f"<{len(array)}d", *array)
    assert recorded(array) == {
        "_type": "array",
        "count": len(array),
        "first": list(array[:20]),
        "sha256": hashlib.sha256(packed).hexdigest(),
        "min": -5.0,
        "max": 119_999.0,
    }


def test_a_long_array_of_nothing_but_nan_has_no_ends() -> None:
    told_ = recorded((math.nan,) * 20_000)
    assert isinstance(told_, dict)
    assert told_.keys() == {"_type", "count", "first", "sha256"}


def test_what_is_short_is_recorded_as_it_is() -> None:
    assert recorded((1.5, math.inf)) == [1.5, {"_type": "float", "value": "inf"}]
    assert recorded(2) == 2
