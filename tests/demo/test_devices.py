import pytest

from demo import devices
from demo.devices import Slit, Tuner


def test_a_slit_moves_at_its_own_speed_and_stands_where_it_was_sent() -> None:
    slit = Slit(target=devices.SLIT_START + 3)
    slit.step(1.0)
    assert slit.moving
    assert slit.position == devices.SLIT_START + devices.SLIT_SPEED
    slit.step(0.5)
    assert not slit.moving
    assert slit.position == devices.SLIT_START + 3


def test_a_slit_moves_back_as_well() -> None:
    slit = Slit(target=devices.SLIT_START - 3)
    slit.step(1.0)
    assert slit.position == devices.SLIT_START - devices.SLIT_SPEED


def test_a_slit_stands_where_it_is_stopped() -> None:
    slit = Slit(target=15.0)
    slit.step(1.0)
    slit.stop()
    slit.step(5.0)
    assert not slit.moving
    assert slit.position == devices.SLIT_START + devices.SLIT_SPEED


def test_what_the_cavity_wants_drifts_by_little() -> None:
    tuner, seen = Tuner(), set()
    for _ in range(100):
        tuner.step(0.1)
        seen.add(tuner.optimum)
    assert len(seen) > 40
    assert max(seen) - devices.TUNER_START == pytest.approx(devices.TUNER_DRIFT, rel=0.01)
    assert devices.TUNER_START - min(seen) == pytest.approx(devices.TUNER_DRIFT, rel=0.01)
