"""What the gate says of itself."""

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
