"""What the gate says of itself, and of what was left behind it."""

from runpermit.models.wire import Message


class GateStatus(Message):
    """What is in force at the gate now: `inhibited` says why every write is refused.

    `no_writes` says why its settings let no session of whoever asked write.

    `limits_sha256` is what an approval binds of the limits that it enforces: `LimitsStatus.binds`.
    """

    inhibited: str | None
    writes: bool
    no_writes: str | None = None
    limits_error: str | None
    limits_enabled: bool
    limits_sha256: str
    journal_protected: bool


class LeftMachine(Message):
    """An execution that left the machine changed, of which nobody has said what becomes of it.

    `permit` is the one under which it wrote, until `at` (UTC, ISO 8601); `channels` the first 20 of
    those that were changed, none where the gate's journal does not tell.
    """

    execution: str
    first_run_id: str
    permit: str
    at: str
    channels: list[str] = []


class FoundChannel(Message):
    """What stands behind the channel `name` now; where that can't be told, only why: `problem`.

    channel: the name by which its writes are judged: the record's own, whatever alias `name` is.
    elements: how many it holds at most. holds_text: whether these are texts.
    states: the names of an enum's states.
    reads: its value, where that is one number.
    drive_low, drive_high: beyond these the record itself stores something else, `beyond_low` and
        `beyond_high` in words. drive_problem: why that can't be told, empty where it is.
    """

    name: str
    problem: str = ""
    channel: str = ""
    record_type: str = ""
    units: str = ""
    elements: int = 1
    holds_text: bool = False
    states: list[str] = []
    reads: float | None = None
    drive_low: float | None = None
    drive_high: float | None = None
    beyond_low: str = ""
    beyond_high: str = ""
    drive_problem: str = ""
