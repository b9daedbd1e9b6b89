"""What the gate says of itself."""

from runpermit.models.wire import Message


class GateStatus(Message):
    """What is in force at the gate now: `inhibited` says why every write is refused."""

    inhibited: str | None
    writes: bool
    limits_error: str | None
    journal_protected: bool
