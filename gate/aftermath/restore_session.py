"""What a restore writes as: a session of the gate's own, which sets only what is still ours."""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any

from gate.channel_access.values import Value
from gate.journal.channel_story import RESTORE, Ours
from gate.messages import Refusal
from gate.policy.guards import Guards
from runpermit.limits import ChannelLimitsConfig, LimitsValidator, ViolationType
from runpermit.limits.values import shown


@dataclass(frozen=True)
class StillOurs:
    """What keeps the next write of a restore: it is refused where somebody else was faster.

    The channel must read what is `ours`, as closely as `entry` says, and `guards` must hold. A
    restore makes one write at a time, so that nobody waits for `turn`.
    """

    ours: Ours
    entry: ChannelLimitsConfig | None
    guards: Guards
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def standing(self) -> tuple[ViolationType, str] | None:
        """Why nothing at all may be written now, None where something may."""
        why = self.guards.refusal()
        return (ViolationType.CONDITION_FAILED, why) if why is not None else None

    def latch(self, channel: str, reason: str) -> None:
        """A refusal ends nothing here but its own channel."""

    def limits(self, now: LimitsValidator) -> tuple[LimitsValidator, ...]:
        """Those in force bind."""
        return (now,)

    def changed(self, channel: str, live: Value) -> str | None:
        """Why the channel, which reads `live`, is no longer ours to set; None where it is."""
        del channel
        if self.ours.has(live, self.entry):
            return None
        return (
            f"it reads {shown(live)}, which is not what was last written: somebody else has set "
            "it since"
        )

    def outside(self, channel: str, value: Value, state: str) -> str | None:
        """The way back is not planned value by value."""

    def forwarded(self, channel: str, value: Value) -> None:
        """A write left the gate."""


class RestoreSession:
    """The session that a restore's writes belong to, until it is stopped.

    `enforcement` keeps the write under way.
    """

    def __init__(self, execution: str) -> None:
        self.name = f"{RESTORE}{secrets.token_hex(4)}"
        self.enforcement: StillOurs | None = None
        self.stopped: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.attempt = 0
        self._execution = execution

    @property
    def may_write(self) -> bool:
        """Whether it goes on."""
        return not self.stopped.done()

    @property
    def identity(self) -> dict[str, object]:
        """What the journal says of it."""
        return {"session": self.name, "execution": self._execution, "attempt": self.attempt}

    def has_room_for(self, refusal: Refusal) -> bool:
        """All of its refusals are kept: there are few, and nobody else's code makes them."""
        del refusal
        return True

    def stop(self, why: str) -> None:
        """Let it end behind the write under way."""
        if not self.stopped.done():
            self.stopped.set_result(why)

    async def wait(self, *others: "asyncio.Future[Any]", seconds: float) -> None:
        """Wait for one of `others`, for so long at most, or until it is stopped."""
        ends = {self.stopped, *others}
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
