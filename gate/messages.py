"""What is said on the gate's control socket: one JSON object a line."""

from enum import StrEnum
from typing import Any

from runpermit.errors import ChannelLimitsViolationError
from runpermit.models import GateStatus, Isolation, WriteOutcome, WriteRecord
from runpermit.models.wire import Message

__all__ = [
    "GateStatus",
    "Opening",
    "Refusal",
    "SessionMode",
    "SessionReport",
    "WriteOutcome",
    "WriteRecord",
]

LINE_BYTES = 4 * 1024 * 1024
MAX_REFUSALS = 100
MAX_WRITES = 1000
MAX_NOTES = 100
REPORT_BYTES = LINE_BYTES // 4  # of each kind that is told in detail


class SessionMode(StrEnum):
    """What a session may do: read, or read and write within the limits."""

    READ_ONLY = "read_only"
    APPLY = "apply"


class Opening(Message):
    """Who opens a session, and for what. Its listening socket travels beside it."""

    execution: str
    run_id: str
    attempt: int
    mode: SessionMode
    isolation: Isolation


class Refusal(Message):
    """A write that was not forwarded: the fields of ChannelLimitsViolationError, and when."""

    channel: str
    value: Any = None
    violation_type: str
    reason: str
    min_value: float | None = None
    max_value: float | None = None
    max_step: float | None = None
    current_value: Any = None
    at: str = ""

    @classmethod
    def of(cls, error: ChannelLimitsViolationError, at: str) -> "Refusal":
        """The refusal that `error` tells; its values are JSON already."""
        return cls(
            channel=error.channel_address,
            value=error.attempted_value,
            violation_type=error.violation_type,
            reason=error.violation_reason,
            min_value=error.min_value,
            max_value=error.max_value,
            max_step=error.max_step,
            current_value=error.current_value,
            at=at,
        )

    def error(self) -> ChannelLimitsViolationError:
        """The exception that it means."""
        return ChannelLimitsViolationError(
            self.channel,
            self.value,
            self.violation_type,
            self.reason,
            self.min_value,
            self.max_value,
            self.max_step,
            self.current_value,
        )


class SessionReport(Message):
    """All that happened in a session, told by the gate when it is closed.

    The counts are whole: `forwarded` writes, by what became of them in `outcomes`, and `refused`
    ones. `refusals` holds the first of many, and at least one; `writes` the first of those that
    went well, and of those that did not.
    """

    session: str
    forwarded: int = 0
    refused: int = 0
    outcomes: dict[WriteOutcome, int] = {}
    writes: list[WriteRecord] = []
    refusals: list[Refusal] = []
    notes: list[str] = []
