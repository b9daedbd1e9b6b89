"""What a session tells its worker stays far below what one line may hold."""

import json

from gate.attempt import brief, told
from gate.messages import (
    LINE_BYTES,
    MAX_REFUSALS,
    MAX_WRITES,
    Refusal,
    SessionReport,
    WriteOutcome,
    WriteRecord,
)


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
