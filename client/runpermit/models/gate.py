"""What the gate says of itself, and of what was left behind it."""

from runpermit.models.wire import Message


class GateStatus(Message):
    """What is in force at the gate now: `inhibited` says why every write is refused.

    `limits_sha256` is what an approval binds of the limits that it enforces: `LimitsStatus.binds`.
    """

    inhibited: str | None
    writes: bool
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
