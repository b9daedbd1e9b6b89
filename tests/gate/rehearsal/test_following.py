"""What follows from a write: pure."""

import pytest

from gate.channel_access.records import Record
from gate.channel_access.values import Dbr, Target
from gate.rehearsal.following import Motor, following, is_settled
from runpermit.limits import ChannelLimitsConfig


def record(record_type: str = "ao", field: str = "") -> Record:
    return Record("R", f"R{field}", record_type, Target(Dbr.DOUBLE, 1))


def entry(**fields: object) -> ChannelLimitsConfig:
    return ChannelLimitsConfig.model_validate(fields)


def test_nothing_follows_where_nothing_says_so() -> None:
    assert following(record(), None, 1.0).channels == []
    assert following(record(), entry(), 1.0).channels == []


def test_a_readback_is_scaled_element_by_element() -> None:
    scaled = entry(readback={"channel": "RB", "scale": -2.0, "offset": 1.0})
    assert following(record(), scaled, 3).values == {"RB": -5.0}
    assert following(record(), scaled, (1.0, 2)).values == {"RB": (-1.0, -3.0)}


@pytest.mark.parametrize("value", ["text", ("a", "b")])
def test_a_readback_of_texts_is_unknown(value: object) -> None:
    found = following(record(), entry(readback={"channel": "RB"}), value)  # type: ignore[arg-type]
    assert (found.values, found.unknown) == ({}, ("RB",))


def test_what_is_affected_is_unknown_unless_it_is_the_readback() -> None:
    both = entry(readback={"channel": "RB"}, done={"channel": "D", "value": "yes"},
                 affects=["RB", "X", "D"])  # fmt: skip
    found = following(record(), both, 1.0)
    assert (found.values, found.unknown) == ({"RB": 1.0, "D": "yes"}, ("X",))


def test_a_motor_has_its_dial() -> None:
    motor = Motor(offset=10, direction=-1)
    found = following(record("motor"), None, 4.0, motor)
    assert found.values == {"R.RBV": 4.0, "R.DVAL": 6.0, "R.DRBV": 6.0, "R.DMOV": 1, "R.MOVN": 0}


def test_a_busy_record_is_done() -> None:
    assert following(record("busy"), None, 1).values == {"R": 0}
    assert following(record("busy", ".HIGH"), None, 1).values == {}


def test_fields_that_configure_a_record_stay_and_others_may_not() -> None:
    assert is_settled("EGU")
    assert not any(is_settled(name) for name in ("VAL", "RBV", "SEVR", "A", "UNHEARD_OF"))
