"""What a rehearsal recorded, or the code declared: what a person is asked to approve."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from runpermit.models.wire import Message

# Of a plan's writes as many are told one by one; its channels tell of all of them.
MAX_PLANNED_WRITES = 1000
# Of an array as many elements are planned one by one; a longer one is known by its sha256.
MAX_PLANNED_ELEMENTS = 1000


class PlanKind(StrEnum):
    """How far a plan reaches.

    `reads_only`: nothing is planned to be written. `complete`: the rehearsal came to its end.
    `declared`: the code said what it may write. `incomplete`: it failed after its first write and
    had declared nothing, so that it can't be approved.
    """

    READS_ONLY = "reads_only"
    COMPLETE = "complete"
    DECLARED = "declared"
    INCOMPLETE = "incomplete"


class Declaration(Message):
    """What the code says of a channel whose values it computes: `plan(channel, low, high, n)`."""

    channel: str
    low: float
    high: float
    max_writes: int


class PlannedWrite(Message):
    """One rehearsed write: `old` is what the code would have found, `new` what it writes.

    Values are JSON; an array of over MAX_PLANNED_ELEMENTS is an object with its `sha256`. `state`
    names the state of an enum. `after` is in seconds since the plan's first write, with all that
    the code waits.
    """

    channel: str
    old: Any = None
    new: Any = None
    state: str = ""
    after: float = 0.0


class PlannedChannel(Message):
    """A channel of a plan, with what gate and limits database know of it.

    live: what the machine reads, at the channel's first write; None where it can't be told.
    alarm: its alarm in words, empty without one.
    writes: how many are planned; of these `low` and `high` are the extremes, where they are
        numbers, and `last` the last value.
    exact: whether its values must come exactly as planned, as enums, texts and fields must.
    tolerance: how far a value may lie outside of the span of `live`, `low` and `high`.
    largest_step: of the planned ones, beside `max_step` of the limits.
    restorable: whether it can be put back; `why_not` says why it can't.
    stoppable: whether the limits database says how it is stopped.
    follows: the channels that show what it does.
    moved_by: why something else than the code may move it, empty where nothing is known to.
    clamped: what its record makes of a planned value beyond its own drive limits, in words; empty
        where it stores all of them as they are.
    """

    channel: str
    description: str = ""
    units: str = ""
    live: Any = None
    state: str = ""
    alarm: str = ""
    writes: int = 0
    low: float | None = None
    high: float | None = None
    last: Any = None
    last_state: str = ""
    exact: bool = False
    tolerance: float | None = None
    min_value: float | None = None
    max_value: float | None = None
    max_step: float | None = None
    largest_step: float | None = None
    min_interval: float = 0.0
    restorable: bool = False
    why_not: str = ""
    stoppable: bool = False
    follows: list[str] = []
    moved_by: str = ""
    # Left out where it says nothing: plans that wait for an answer keep their sha256.
    clamped: str = Field("", exclude_if=lambda clamped: not clamped)


class MachineState(Message):
    """A condition, as the rehearsal found it: `reads` in words, and whether it holds."""

    channel: str
    op: str
    value: str | int | float
    reads: str
    holds: bool


class Plan(Message):
    """What will be written, with the machine's state when it was rehearsed.

    writes: in their order, the first MAX_PLANNED_WRITES; `left_out` counts the others.
    channels: in the order of their first write, then the declared ones.
    reads: the channels that were read, in the order of the first read.
    unknown: those of them that were read after a write that moves them, and which nothing models.
    seconds: how long it takes, from first to last write.
    upstream: the model that stood for the machine, empty without one.
    problem: why it is incomplete, or how the rehearsal of a declared plan ended.
    rehearsed_at: None where nothing had to be rehearsed.
    """

    kind: PlanKind = PlanKind.READS_ONLY
    writes: list[PlannedWrite] = []
    left_out: int = 0
    channels: list[PlannedChannel] = []
    declared: list[Declaration] = []
    reads: list[str] = []
    unknown: list[str] = []
    machine: list[MachineState] = []
    seconds: float = 0.0
    upstream: str = ""
    problem: str = ""
    rehearsed_at: datetime | None = None

    @property
    def count(self) -> int:
        """How many writes were rehearsed."""
        return len(self.writes) + self.left_out

    @property
    def may_be_approved(self) -> bool:
        """Whether a yes to it means something."""
        return self.kind is not PlanKind.INCOMPLETE
