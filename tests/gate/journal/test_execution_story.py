"""What an execution left changed, from nothing but the journal."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from gate.channel_access.values import Value
from gate.journal.channel_story import Left, as_value
from gate.journal.execution_story import ExecutionStory
from gate.journal.journal import Journal
from gate.policy.attempt import recorded
from runpermit.limits import ChannelLimitsConfig, Verification


class Story:
    """Records as the gate writes them."""

    def __init__(self) -> None:
        self.told = ExecutionStory()
        self._seq = itertools.count(1)

    def write(self, channel: str, old: Any, new: Any, session: str = "apply-1", **more: Any) -> int:
        seq = next(self._seq)
        self.told.take(
            {"seq": seq, "event": "write", "session": session, "attempt": 2, "permit": "p",
             "channel": channel, "old": old, "new": new, **more}
        )  # fmt: skip
        return seq

    def confirm(self, of: int, outcome: str = "confirmed", read_back: Any = None) -> None:
        self.told.take(
            {"seq": next(self._seq), "event": "confirmed", "of": of, "outcome": outcome,
             "read_back": read_back}
        )  # fmt: skip

    def wrote(self, channel: str, old: Any, new: Any, **more: Any) -> None:
        self.confirm(self.write(channel, old, new, **more), read_back=new)

    def only(self) -> Left:
        (left,) = self.told.left()
        return left


@pytest.fixture
def story() -> Story:
    return Story()


def is_ours(left: Left, reads: Value, entry: ChannelLimitsConfig | None = None) -> bool:
    return left.ours.has(reads, entry)


def test_a_channel_was_what_it_was_before_its_first_write_and_is_what_it_was_set_to_last(
    story: Story,
) -> None:
    story.wrote("A", 1.0, 2.0)
    story.wrote("B", 5, 6)
    story.wrote("A", 2.0, 3.0)
    a, b = story.told.left()
    assert (a.channel, a.before, a.written, a.permit, a.attempt) == ("A", 1.0, 3.0, "p", 2)
    assert (b.channel, b.before, b.written) == ("B", 5, 6)
    assert not a.uncertain
    assert is_ours(a, 3.0)
    assert is_ours(a, 3.001)
    assert not is_ours(a, 2.0)


def test_the_order_is_that_of_first_writes_whatever_was_confirmed_first(story: Story) -> None:
    a = story.write("A", 1.0, 2.0)
    story.wrote("B", 5, 6)
    story.confirm(a)
    assert [left.channel for left in story.told.left()] == ["A", "B"]


def test_what_never_left_the_gate_changed_nothing(story: Story) -> None:
    story.wrote("A", 1.0, 2.0)
    of = story.write("A", 2.0, 9.0)
    story.told.take({"seq": 50, "event": "not_forwarded", "of": of})
    story.told.take({"seq": 51, "event": "not_forwarded", "of": story.write("B", 1, 2)})
    assert story.only().written == 2.0


@pytest.mark.parametrize("outcome", ["uncertain", "unreadable", None])
def test_where_nobody_knows_what_became_of_a_write_both_values_are_ours(
    story: Story, outcome: str | None
) -> None:
    story.wrote("A", 1.0, 2.0)
    of = story.write("A", 2.0, 3.0)
    if outcome:
        story.confirm(of, outcome)
    left = story.only()
    assert left.uncertain
    assert is_ours(left, 2.0)
    assert is_ours(left, 3.0)
    assert not is_ours(left, 1.0)


def test_what_a_record_made_of_a_write_is_ours(story: Story) -> None:
    story.confirm(story.write("A", 1.0, 50.0), "differs", 10.0)
    assert is_ours(story.only(), 10.0)
    assert not is_ours(story.only(), 1.0)


def test_a_write_that_a_crash_left_unconfirmed_comes_before_later_ones(story: Story) -> None:
    story.write("A", 1.0, 2.0)
    story.wrote("A", 2.0, 1.5, session="restore-1")
    left = story.only()
    assert (left.before, left.written, left.uncertain, left.restoring) == (1.0, 1.5, False, True)


def test_what_was_stopped_on_its_way_may_be_anywhere_on_it(story: Story) -> None:
    of = story.write("A", 1.0, 5.0)
    stop = {"event": "stop_write", "channel": "A.STOP", "value": 1, "stops": ["A"]}
    story.told.take({"seq": 50, **stop})
    story.confirm(of, "uncertain")
    left = story.only()
    assert is_ours(left, 3.3)
    assert not is_ours(left, 0.9)
    assert not is_ours(left, 5.1)
    assert not is_ours(left, "3.3")


def test_a_stop_before_the_last_write_says_nothing_of_it(story: Story) -> None:
    story.wrote("A", 1.0, 5.0)
    stop = {"event": "stop_write", "channel": "A.STOP", "value": 1, "stops": ["A"]}
    story.told.take({"seq": 2, **stop})
    story.wrote("A", 3.0, 4.0)
    assert not is_ours(story.only(), 3.5)


def test_a_channel_that_the_gate_itself_set_to_stop_something_is_ours(story: Story) -> None:
    story.wrote("RAMP", 0, 1)
    stop = {"event": "stop_write", "channel": "RAMP", "value": 2, "stops": ["A"]}
    story.told.take({"seq": 50, **stop})
    assert is_ours(story.only(), 2)


def test_what_was_left_under_another_permit_was_taken_as_it_was(story: Story) -> None:
    story.wrote("A", 1.0, 2.0)
    story.write("B", 1, 2)  # nobody ever confirmed it
    story.wrote("A", 5.0, 6.0, permit="q")
    story.wrote("A", 6.0, 5.5, session="restore-1", permit=None)
    left = story.only()
    assert (left.channel, left.before, left.written, left.restoring) == ("A", 5.0, 5.5, True)


def test_ours_is_told_within_the_tolerance_of_its_verification(story: Story) -> None:
    story.wrote("A", 1.0, 2.0)
    entry = ChannelLimitsConfig(verification=Verification(tolerance_absolute=0.5))
    assert is_ours(story.only(), 2.4, entry)
    assert not is_ours(story.only(), 2.6, entry)


def test_long_arrays_are_known_by_their_sum_and_not_to_be_had_back(story: Story) -> None:
    array = tuple(float(number) for number in range(10_001))
    story.wrote("A", recorded(array), recorded(array))
    left = story.only()
    assert is_ours(left, array)
    assert not is_ours(left, (*array[:-1], 0.5))
    assert as_value(left.before) is None
    assert as_value([1, 2.5]) == (1, 2.5)


@pytest.mark.parametrize(
    "told", [None, {"_type": "float", "value": "nan"}, [1, None], "x" * 10_000, True, [[1]]]
)
def test_what_the_journal_does_not_have_whole_is_no_value(told: Any) -> None:
    assert as_value(told) is None


@pytest.mark.parametrize(
    ("channel", "used", "name"),
    [("A", "ALIAS", "A"), ("A", "A.VAL$", "A.VAL$"), ("A", "ALIAS$", "A.VAL$"),
     ("A.DESC", "ALIAS.DESC$", "A.DESC$")],
)  # fmt: skip
def test_it_is_opened_by_the_records_own_name(
    story: Story, channel: str, used: str, name: str
) -> None:
    story.wrote(channel, "a", "b", used=used)
    assert story.only().name == name


async def test_it_is_read_from_the_journal_of_many_executions(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "j")
    await journal.write("permit_consumed", execution="e", channels={"A": "", "B": "an enum"})
    for execution in ("other", "e", 'e"'):
        seq = await journal.write("write", execution=execution, channel="A", old=1, new=execution)
        journal.note("confirmed", of=seq, outcome="confirmed", read_back=execution)
    await journal.close()
    with next((tmp_path / "j").glob("*.jsonl")).open("ab") as file:
        file.write(b'{"execution": "e", "event"')  # torn by a crash, or still being written
    story = await ExecutionStory.read(tmp_path / "j", "e")
    (left,) = story.left()
    assert (left.before, left.written, left.uncertain) == (1, "e", False)
    assert story.why_not == {"A": "", "B": "an enum"}
