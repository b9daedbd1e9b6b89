import numpy as np
import pytest

from demo import optics


@pytest.fixture
def model() -> optics.StorageRing:
    return optics.StorageRing(np.random.default_rng(1))


def test_the_response_is_the_same_from_either_end() -> None:
    places, correctors = optics.BPM_POSITIONS, optics.CORRECTOR_POSITIONS
    assert optics.response_matrix(places, correctors) == pytest.approx(
        optics.response_matrix(correctors, places).T
    )


def test_the_orbit_closes_after_one_turn() -> None:
    ends = np.array([0.0, optics.CIRCUMFERENCE])
    first, last = optics.response_matrix(ends, optics.CORRECTOR_POSITIONS)
    assert first == pytest.approx(last)


def test_a_kick_bends_the_orbit_by_its_angle() -> None:
    corrector, h = optics.CORRECTOR_POSITIONS[:1], 1e-3
    places = corrector[0] + np.array([-2 * h, -h, h, 2 * h])
    far_left, left, right, far_right = optics.response_matrix(places, corrector)[:, 0]
    slope_change = (far_right - right) / h - (left - far_left) / h
    mm_per_m = 1e3
    assert slope_change == pytest.approx(optics.KICK_PER_AMPERE * mm_per_m, rel=0.01)


def test_every_corrector_moves_the_beam_well_above_the_noise() -> None:
    strongest = np.abs(optics.BPM_RESPONSE).max(axis=0)
    assert optics.BPM_RESPONSE.shape == (8, 6)
    assert (strongest * 0.2 > 20 * optics.POSITION_NOISE).all()


def test_magnets_follow_to_one_percent_in_300_ms(model: optics.StorageRing) -> None:
    target = optics.CORRECTOR_START + 1.0
    model.step(0.3, target)
    assert model.corrector_currents == pytest.approx(target, abs=0.01)
    assert model.corrector_currents != pytest.approx(target, abs=0.001)


def test_bpms_read_the_response_of_the_magnets_not_of_the_setpoints(
    model: optics.StorageRing,
) -> None:
    setpoints = optics.CORRECTOR_START + 1.0
    model.step(0.06, setpoints)
    expected = optics.BPM_RESPONSE @ model.corrector_currents
    assert model.bpm_readings() == pytest.approx(expected, abs=6 * optics.POSITION_NOISE)
    assert expected != pytest.approx(optics.BPM_RESPONSE @ setpoints, abs=0.1)


def test_the_beam_decays_with_its_lifetime(model: optics.StorageRing) -> None:
    lifetime = model.lifetime
    model.step(3.6, optics.CORRECTOR_START)
    assert model.beam_current == pytest.approx(300 * np.exp(-0.001 / lifetime))
    assert model.lifetime > lifetime


def test_equal_seeds_and_steps_give_equal_readings(model: optics.StorageRing) -> None:
    twin = optics.StorageRing(np.random.default_rng(1))
    for ring in (model, twin):
        ring.step(1.0, optics.CORRECTOR_START)
    assert model.readbacks().tolist() == twin.readbacks().tolist()
    assert model.measured_beam_current() == twin.measured_beam_current()
    assert model.orbit().tolist() == twin.orbit().tolist()


def test_no_reading_repeats_exactly(model: optics.StorageRing) -> None:
    assert model.bpm_readings().tolist() != model.bpm_readings().tolist()
