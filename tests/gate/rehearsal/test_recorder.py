"""What a rehearsal keeps of much."""

from gate.messages import REPORT_BYTES
from gate.rehearsal.recorder import MOST_NAMES, Recorder
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
