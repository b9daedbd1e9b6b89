"""The demo's storage ring as a pure model: orbit from correctors, beam current from lifetime.

The closed orbit is the textbook one: a kick θ at phase ψ0 moves the beam at phase ψ by
θ·√(β·β0)·cos(|ψ-ψ0| - πQ) / (2·sin πQ), with Q the tune and β the beta function.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CIRCUMFERENCE = 120.0  # m
TUNE = 3.28
CELLS = 8
KICK_PER_AMPERE = 0.2e-3  # rad/A

ORBIT_POINTS: Array = np.linspace(0.0, CIRCUMFERENCE, 1000, endpoint=False)
BPM_POSITIONS: Array = np.linspace(4.0, CIRCUMFERENCE + 4.0, 8, endpoint=False)
CORRECTOR_POSITIONS: Array = np.linspace(7.0, CIRCUMFERENCE + 7.0, 6, endpoint=False)
CORRECTOR_START: Array = np.array([0.35, -0.42, 0.18, 0.27, -0.15, -0.31])  # A

LIFETIME_PRODUCT = 300.0 * 8.0  # mA·h: in a Touschek-dominated ring current x lifetime is constant
MAGNET_TIME_CONSTANT = 0.06  # s: a readback has followed its setpoint to 1 % after 0.3 s

BEAM_CURRENT_NOISE = 0.004  # mA
READBACK_NOISE = 0.0005  # A
POSITION_NOISE = 0.002  # mm


def _beta(s: Array) -> Array:
    """Beta function in m, beating once per cell; its scale makes ∫ds/β of one turn equal 2πQ."""
    beating = 0.4
    scale = CIRCUMFERENCE / (2 * np.pi * TUNE * np.sqrt(1 - beating**2))
    beta: Array = scale * (1 + beating * np.cos(2 * np.pi * CELLS * s / CIRCUMFERENCE))
    return beta


def _phase(s: Array) -> Array:
    """Betatron phase in rad: ∫ds/β from the start of the ring."""
    grid = np.linspace(0.0, CIRCUMFERENCE, 4001)
    inverse = 1 / _beta(grid)
    advance = np.cumsum((inverse[1:] + inverse[:-1]) / 2) * (grid[1] - grid[0])
    phase: Array = np.interp(s, grid, np.concatenate(([0.0], advance)))
    return phase


def response_matrix(places: Array, correctors: Array) -> Array:
    """Closed-orbit response in mm/A: one row per place, one column per corrector (both in m)."""
    distance = np.abs(_phase(places)[:, None] - _phase(correctors)[None, :])
    amplitude = np.sqrt(_beta(places)[:, None] * _beta(correctors)[None, :])
    mm_per_kick = 1e3 * amplitude / (2 * np.sin(np.pi * TUNE))
    response: Array = KICK_PER_AMPERE * mm_per_kick * np.cos(distance - np.pi * TUNE)
    return response


BPM_RESPONSE = response_matrix(BPM_POSITIONS, CORRECTOR_POSITIONS)
_ORBIT_RESPONSE = response_matrix(ORBIT_POINTS, CORRECTOR_POSITIONS)


@dataclass
class StorageRing:
    """State of the ring; `step` moves it in time, the methods read its noisy instruments.

    One `rng` drives all noise, so that equal seeds and equal steps give equal readings.
    """

    rng: np.random.Generator
    beam_current: float = 300.0  # mA
    corrector_currents: Array = field(default_factory=CORRECTOR_START.copy)  # A

    @property
    def lifetime(self) -> float:
        """Beam lifetime in h."""
        return LIFETIME_PRODUCT / self.beam_current

    def step(self, seconds: float, setpoints: Array) -> None:
        """Let time pass: the beam decays, the magnets follow their setpoints (in A)."""
        self.beam_current *= np.exp(-seconds / (self.lifetime * 3600))
        left = np.exp(-seconds / MAGNET_TIME_CONSTANT)
        self.corrector_currents = setpoints + (self.corrector_currents - setpoints) * left

    def measured_beam_current(self) -> float:
        """Read the current monitor, in mA."""
        return float(self.beam_current + self.rng.normal(0.0, BEAM_CURRENT_NOISE))

    def readbacks(self) -> Array:
        """Measured corrector currents in A, in the order of CORRECTOR_POSITIONS."""
        noise = self.rng.normal(0.0, READBACK_NOISE, CORRECTOR_POSITIONS.size)
        return self.corrector_currents + noise

    def bpm_readings(self) -> Array:
        """Measured horizontal beam positions in mm, in the order of BPM_POSITIONS."""
        return self._measured(BPM_RESPONSE)

    def orbit(self) -> Array:
        """Measured horizontal orbit in mm at ORBIT_POINTS."""
        return self._measured(_ORBIT_RESPONSE)

    def _measured(self, response: Array) -> Array:
        orbit: Array = response @ self.corrector_currents
        return orbit + self.rng.normal(0.0, POSITION_NOISE, orbit.size)
