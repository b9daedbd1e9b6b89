"""What is said on the gate's control socket: one JSON object a line."""

from enum import StrEnum
from typing import Any

from runpermit.errors import ChannelLimitsViolationError
from runpermit.limits import Condition
from runpermit.models import (
    GateStatus,
    Isolation,
    LeftChange,
    MachineState,
    Permit,
    PlannedChannel,
    PlannedWrite,
    RestoreReport,
    Verdict,
    VerifiedChannel,
    WriteOutcome,
    WriteRecord,
    WritesSoFar,
)
from runpermit.models.journal import JournalRecords
from runpermit.models.wire import Message

__all__ = [
    "GateStatus",
    "GateVerdict",
    "JournalRecords",
    "LeftChange",
    "Opening",
    "Permit",
    "PlannedChannel",
    "Refusal",
    "Rehearsed",
    "RestoreReport",
    "SessionMode",
    "SessionReport",
    "Verdict",
    "VerifiedChannel",
    "WriteOutcome",
    "WriteRecord",
    "WritesSoFar",
]

LINE_BYTES = 4 * 1024 * 1024
MAX_REFUSALS = 100
MAX_WRITES = 1000
MAX_NOTES = 100
LAST_WRITES = 5  # told while a program writes
REPORT_BYTES = LINE_BYTES // 4  # of each kind that is told in detail


class SessionMode(StrEnum):
    """What a session may do: read, read and write to nowhere, or write what a permit allows."""

    READ_ONLY = "read_only"
    REHEARSE = "rehearse"
    APPLY = "apply"


class Opening(Message):
    """Who opens a session, and for what. Its listening socket travels beside it.

    `permit` belongs to APPLY, and to nothing else. `guards` of the request must hold while it
    writes, beside those of the gate's own settings.
    """

    execution: str
    run_id: str
    attempt: int
    mode: SessionMode
    isolation: Isolation
    permit: Permit | None = None
    guards: list[Condition] = []


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


class Rehearsed(Message):
    """What a REHEARSE session recorded; see the fields of the same names in `Plan`."""

    writes: list[PlannedWrite] = []
    left_out: int = 0
    channels: list[PlannedChannel] = []
    reads: list[str] = []
    unknown: list[str] = []
    machine: list[MachineState] = []
    upstream: str = ""


class GateVerdict(Message):
    """What the journal says of a permit, after its session was fenced.

    `forwarded` counts the writes that left the gate, or may have; `writes` are the first of them.
    `changes` tells, channel by channel, what was left changed. `reason` says in words how the
    session ended.
    """

    verdict: Verdict
    session: str = ""
    forwarded: int = 0
    writes: list[WriteRecord] = []
    changes: list[LeftChange] = []
    reason: str = ""


class Signer(Message):
    """Who signed: the principal of approval.allowed_signers, and the fingerprint of the key."""

    name: str
    key: str


class SessionReport(Message):
    """All that happened in a session, told by the gate when it is closed.

    The counts are whole: `forwarded` writes, by what became of them in `outcomes`, and `refused`
    ones. `refusals` holds the first of many, and at least one; `writes` the first of those that
    went well, and of those that did not. `rehearsed` is what a REHEARSE session recorded. `ended`
    says why the gate itself ended the session, empty where the worker did.
    """

    session: str
    forwarded: int = 0
    refused: int = 0
    outcomes: dict[WriteOutcome, int] = {}
    writes: list[WriteRecord] = []
    refusals: list[Refusal] = []
    notes: list[str] = []
    rehearsed: Rehearsed | None = None
    ended: str = ""
