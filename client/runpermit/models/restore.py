"""What became of the machine after a write: whether its devices followed, and what was put back."""

from enum import StrEnum
from typing import Any

from runpermit.models.wire import Message, short
from runpermit.text import brief, one_line

NOT_PUT_BACK = "NOT PUT BACK"


class RestorePolicy(StrEnum):
    """Whether a person is asked to put back what an execution left changed."""

    ASK = "ask"
    NEVER = "never"


class LeftChange(Message):
    """A channel that an execution wrote: `before` it, what it was last set to, what it reads now.

    `restorable` says whether it can be put back; `why_not` why it can't. `uncertain`: a write was
    on its way, and nobody knows whether the record got it. Values are JSON; `reads` is None where
    it can't be read.
    """

    channel: str
    before: Any = None
    written: Any = None
    reads: Any = None
    restorable: bool = True
    why_not: str = ""
    uncertain: bool = False

    def brief(self) -> "LeftChange":
        """The change, of long arrays and texts their size or beginning: it travels in messages."""
        values = {name: short(getattr(self, name)) for name in ("before", "written", "reads")}
        return self.model_copy(update=values)

    def __str__(self) -> str:
        """The change on one line."""
        return (
            f"{brief(self.channel)}: was {brief(self.before)}, set to {brief(self.written)}, "
            f"reads {brief(self.reads)}"
        )


class RestoreOutcome(StrEnum):
    """What became of one channel. `another_hand`: it no longer reads what was last written."""

    RESTORED = "restored"
    UNCHANGED = "unchanged"
    ANOTHER_HAND = "another_hand"
    NOT_RESTORABLE = "not_restorable"
    REFUSED = "refused"
    FAILED = "failed"

    @property
    def is_back(self) -> bool:
        """Whether the channel reads what it read before."""
        return self in {RestoreOutcome.RESTORED, RestoreOutcome.UNCHANGED}

    @property
    def words(self) -> str:
        """The outcome, for people."""
        return self.value if self.is_back else f"{NOT_PUT_BACK}: {_NOT_BACK[self]}"

    @property
    def may_be_tried_again(self) -> bool:
        """Whether another try may bring it back."""
        return self in {RestoreOutcome.REFUSED, RestoreOutcome.FAILED}


_NOT_BACK = {
    RestoreOutcome.ANOTHER_HAND: "somebody else has set it",
    RestoreOutcome.NOT_RESTORABLE: "it can't be",
    RestoreOutcome.REFUSED: "it was refused",
    RestoreOutcome.FAILED: "it failed",
}


class RestoredChannel(Message):
    """A channel after a restore, with `reason` in words where it is not back."""

    channel: str
    before: Any = None
    reads: Any = None
    outcome: RestoreOutcome
    reason: str = ""
    writes: int = 0

    def __str__(self) -> str:
        """What became of the channel, on one line."""
        why = f" ({one_line(self.reason, 200)})" if self.reason else ""
        return f"{brief(self.channel)}: {self.outcome.words}, reads {brief(self.reads)}{why}"


class RestoreReport(Message):
    """What a restore did, channel by channel, in the order in which it went."""

    channels: list[RestoredChannel]
    operator: str | None = None

    @property
    def complete(self) -> bool:
        """Whether everything is back."""
        return all(channel.outcome.is_back for channel in self.channels)


class FollowOutcome(StrEnum):
    """Whether a device went where its setpoint says.

    `superseded`: the next write came before the device had its settle time. `unchecked`: its limits
    name no readback.
    """

    FOLLOWED = "followed"
    NOT_FOLLOWED = "not_followed"
    SUPERSEDED = "superseded"
    UNREADABLE = "unreadable"
    UNCHECKED = "unchecked"


class VerifiedChannel(Message):
    """A channel after the last write to it: what setpoint and device read, and what they should.

    `earlier` counts the writes before the last one by what their device did.
    """

    channel: str
    written: Any = None
    reads: Any = None
    accepted: bool
    device: str = ""
    expected: float | None = None
    device_reads: float | None = None
    outcome: FollowOutcome
    alarm: str = ""
    earlier: dict[FollowOutcome, int] = {}

    @property
    def on_the_way(self) -> str:
        """What the device did after the writes before the last one; empty where nobody saw it."""
        if not self.earlier:
            return ""
        counts = (f"{count} {one.replace('_', ' ')}" for one, count in self.earlier.items())
        return f"earlier writes: {', '.join(counts)}"

    def warnings(self) -> list[str]:
        """One sentence for each thing that somebody has to look at."""
        found = []
        if not self.accepted:
            found.append(
                f"{brief(self.channel)} was set to {brief(self.written)} and reads "
                f"{brief(self.reads)}."
            )
        if self.outcome is FollowOutcome.NOT_FOLLOWED:
            found.append(
                f"{brief(self.device)} did not follow: it reads {brief(self.device_reads)}, "
                f"{brief(self.expected)} is expected."
            )
        for outcome in (FollowOutcome.NOT_FOLLOWED, FollowOutcome.UNREADABLE):
            if self.earlier.get(outcome):
                found.append(f"{brief(self.device)} on its way: {self.on_the_way}.")
                break
        if self.outcome is FollowOutcome.UNREADABLE:
            found.append(f"{brief(self.device or self.channel)} can't be read: look at it.")
        return found
