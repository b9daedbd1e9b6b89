from collections.abc import Callable

import pytest

from runpermit.errors import ChannelLimitsViolationError
from runpermit.limits import LimitsDatabase, LimitsValidator
from runpermit.models.analysis import AnalysisResult

Analyse = Callable[..., AnalysisResult]


@pytest.fixture
def validator() -> LimitsValidator:
    return LimitsValidator(
        LimitsDatabase.from_dict({"A": {"min_value": 0, "max_value": 100, "writable": True}})
    )


def test_the_first_refused_constant_is_raised_with_its_line_and_all_messages(
    analyse: Analyse, validator: LimitsValidator
) -> None:
    with pytest.raises(ChannelLimitsViolationError) as caught:
        analyse("caput('A', 50)\ncaput('A', 150)\ncaput('B', 1)", validator)
    assert caught.value.channel_address == "A"
    assert caught.value.attempted_value == 150
    assert caught.value.technical_details["line"] == 2
    assert len(caught.value.technical_details["all"]) == 2


def test_nan_is_refused(analyse: Analyse, validator: LimitsValidator) -> None:
    with pytest.raises(ChannelLimitsViolationError):
        analyse("caput('A', float('nan'))", validator)


@pytest.mark.parametrize(
    "code",
    [
        "x = 150\nif x > 100:\n    x = 100\ncaput('A', x)",
        "for v in (50, 150):\n    if v > 100:\n        break\n    caput('A', v)",
        "caput('A', min(150, 100))",
        "if q:\n    caput('A', caget('B'))",
    ],
)
def test_what_the_code_keeps_within_limits_passes(
    code: str, analyse: Analyse, validator: LimitsValidator
) -> None:
    assert analyse(code, validator).has_epics_writes


def test_constants_are_not_judged_where_nothing_may_be_written(
    analyse: Analyse, validator: LimitsValidator
) -> None:
    assert analyse("caput('A', 150)", validator, writes=False).has_epics_writes


def test_a_missing_limits_database_is_an_issue_not_a_fault_of_the_code(analyse: Analyse) -> None:
    result = analyse("caput('A', 1)", LimitsValidator(None, unavailable_reason="line 3: comma"))
    assert any("LIMITS_UNAVAILABLE" in issue for issue in result.issues)
