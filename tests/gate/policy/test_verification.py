"""Verification: whether what reads back is what was written."""

import math
from typing import Any

import pytest

from gate.channel_access.values import Value
from gate.messages import WriteOutcome
from gate.policy.verification import outcome, same
from runpermit.limits import ChannelLimitsConfig


def entry(**verification: Any) -> ChannelLimitsConfig:
    return ChannelLimitsConfig.model_validate({"verification": verification})


@pytest.mark.parametrize(
    ("sent", "read", "equal"),
    [
        (100.0, 100.09, True),  # 0.1 % of what was sent
        (100.0, 100.2, False),
        (0.0, 1e-9, False),
        (100.0, math.nan, False),
        (10000, 10001, False),  # a whole number has no tolerance
        (10000, 10000.0, True),
        ("a", "a", True),
        ("1", 1, False),
        ((1.0, 2.0), (1.0, 2.001), True),
        ((1.0, 2.0), (1.0,), False),  # a shorter array is another one
        ((1.0,), 1.0, True),
        (("a", "b"), ("a", "c"), False),
    ],
)
def test_equal_within_a_thousandth_where_the_limits_say_nothing(
    sent: Value, read: Value, *, equal: bool
) -> None:
    assert same(sent, read, None) is equal
    assert same(sent, read, entry()) is equal


def test_the_absolute_tolerance_wins_over_the_percentage() -> None:
    assert same(100.0, 104.0, entry(tolerance_percent=5))
    assert not same(100.0, 106.0, entry(tolerance_percent=5))
    assert not same(100.0, 104.0, entry(tolerance_percent=5, tolerance_absolute=1))
    assert same(100, 101, entry(tolerance_absolute=1))


@pytest.mark.parametrize(
    ("read", "severity", "level", "expected"),
    [
        (1.0, 0, "callback", WriteOutcome.CONFIRMED),
        (1.0, 1, "readback", WriteOutcome.CONFIRMED),
        (1.0, 2, "readback", WriteOutcome.ALARM),
        (1.0, 3, "callback", WriteOutcome.ALARM),
        (2.0, 3, "callback", WriteOutcome.DIFFERS),
        (2.0, 0, "readback", WriteOutcome.DIFFERS),
        (2.0, 3, "none", WriteOutcome.NOT_VERIFIED),
        (1.0, 0, "none", WriteOutcome.NOT_VERIFIED),
    ],
)
def test_the_outcome_is_what_reads_back_then_the_alarm(
    read: float, severity: int, level: str, expected: WriteOutcome
) -> None:
    assert outcome(1.0, read, severity, entry(level=level)) is expected
