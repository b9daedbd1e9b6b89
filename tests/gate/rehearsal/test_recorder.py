"""What a rehearsal keeps of much, and what it waits for."""

from types import SimpleNamespace
from typing import Any

from gate.messages import REPORT_BYTES
from gate.rehearsal.judging import _known
from gate.rehearsal.recorder import MOST_NAMES, Recorder
from gate.watched_limits import LimitsBeingRead
from runpermit.limits import LimitsValidator
from runpermit.models import PlannedChannel


def test_more_channels_than_a_report_holds_are_refused() -> None:
    recorder = Recorder()
    facts = PlannedChannel(channel="X", live=[0.5] * 1000)
    taken = 0
    while recorder.has_room_for(facts):
        taken += 1
    size = len(facts.model_dump_json())
    assert REPORT_BYTES / (2 * size) - 2 < taken <= REPORT_BYTES / (2 * size)


def test_names_are_bounded_and_told_once() -> None:
    recorder = Recorder()
    for number in range(MOST_NAMES + 100):
        for _ in range(2):
            recorder.read(f"R{number}")
            recorder.unknown(f"U{number}")
    told = recorder.rehearsed("")
    assert told.reads == [f"R{number}" for number in range(MOST_NAMES)]
    assert told.unknown == [f"U{number}" for number in range(MOST_NAMES)]


class ChangingLimits:
    """Limits that are being read at the first two looks."""

    def __init__(self) -> None:
        self.looks = 0
        self.read = LimitsValidator(None, enabled=False)

    @property
    def validator(self) -> LimitsValidator:
        self.looks += 1
        return LimitsBeingRead(None) if self.looks <= 2 else self.read


async def test_a_write_waits_for_limits_that_are_being_read() -> None:
    limits: Any = ChangingLimits()
    case: Any = SimpleNamespace(check_open=lambda: None)
    assert await _known(limits, case) is limits.read
