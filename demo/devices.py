"""The ring's slow and self-willed devices as pure models: a slit that takes its time, a tuner.

Like `optics`, they know nothing of EPICS; `step` moves them in time.
"""

import math
from dataclasses import dataclass

SLIT_SPEED = 2.0  # mm/s
SLIT_RANGE = (0.0, 20.0)  # mm
SLIT_START = 5.0  # mm

TUNER_START = 2.5  # mm
TUNER_RANGE = (0.0, 5.0)  # mm
TUNER_DRIFT = 0.01  # mm: how far the warming and cooling of the cavity moves its optimum
TUNER_DRIFT_PERIOD = 8.0  # s
DETUNING_PER_MM = 4.0  # kHz/mm

RAMP_POINTS = 20
RAMP_RANGE = (0.0, 1.5)  # MV
RAMP_START = tuple(round(0.4 + 0.03 * point, 3) for point in range(RAMP_POINTS))  # MV


@dataclass
class Slit:
    """A motor: it moves to its target at its own speed, and stands where it is stopped. In mm."""

    position: float = SLIT_START
    target: float = SLIT_START

    @property
    def moving(self) -> bool:
        """Whether it is not where it was sent."""
        return self.position != self.target

    def step(self, seconds: float) -> None:
        """Let time pass."""
        way, reach = self.target - self.position, SLIT_SPEED * seconds
        if abs(way) <= reach:
            self.position = self.target
        else:
            self.position += math.copysign(reach, way)

    def stop(self) -> None:
        """Stand here."""
        self.target = self.position


@dataclass
class Tuner:
    """What the cavity wants of its tuner, which a feedback of the IOC follows."""

    seconds: float = 0.0

    def step(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds

    @property
    def optimum(self) -> float:
        """Where the cavity is tuned, in mm: it drifts all the time."""
        return TUNER_START + TUNER_DRIFT * math.sin(2 * math.pi * self.seconds / TUNER_DRIFT_PERIOD)
