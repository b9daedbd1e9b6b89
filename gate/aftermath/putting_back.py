"""One channel put back: in steps, past the same judge as every write, while it is still ours."""

import asyncio
from dataclasses import dataclass

from gate.aftermath.restore_session import RestoreSession, StillOurs
from gate.aftermath.stopping import Stopper
from gate.channel_access.own_channels import OwnChannels, Put, Setpoint
from gate.channel_access.values import Dbr, Target, UnfitValueError, Value
from gate.journal.channel_story import Left, Ours, as_value
from gate.journal.journal import Journal
from gate.messages import Refusal, WriteOutcome, WriteRecord
from gate.policy.attempt import told
from gate.policy.guards import Guards
from gate.policy.inhibit import Inhibit
from gate.policy.writing import Writer
from gate.rehearsal.description import why_not_restorable
from runpermit.errors import ChannelLimitsViolationError
from runpermit.limits import ChannelLimitsConfig, LimitsFile, ViolationType
from runpermit.limits.values import shown
from runpermit.models import RestoredChannel, RestoreOutcome
from runpermit.plans import next_value
from runpermit.plans.restoring import MAX_STEPS
from runpermit.plans.values import numbers_of

INHIBITED_SECONDS = 0.5
# For so long a record may be busy with one step, such as a motor's way, before the next is tried.
PUT_SECONDS = 60.0
_FIRST = 20
_FLOAT_ROUNDING = 2.0**-24  # of a number, at most
_WENT_WELL = frozenset({WriteOutcome.CONFIRMED, WriteOutcome.NOT_VERIFIED, WriteOutcome.ALARM})


@dataclass(frozen=True)
class Means:
    """What a restore works with."""

    own: OwnChannels
    guards: Guards
    writer: Writer
    stopper: Stopper
    limits: LimitsFile
    inhibit: Inhibit
    journal: Journal


class _EndedError(Exception):
    """The channel is not put back, or no further; `reason` says why."""

    def __init__(self, outcome: RestoreOutcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class PuttingBack:
    """Puts the channel `left` back for `session`; `why_not` says why that was never intended."""

    def __init__(self, left: Left, why_not: str, session: RestoreSession, means: Means) -> None:
        self._left = left
        self._why_not = why_not
        self._session = session
        self._means = means
        self._reads: Value | None = None
        self._writes = 0

    async def run(self) -> RestoredChannel:
        """What became of it."""
        try:
            outcome, reason = await self._put_back(), ""
        except _EndedError as ended:
            outcome, reason = ended.outcome, ended.reason
        except (ConnectionError, LookupError, UnfitValueError) as error:
            outcome, reason = RestoreOutcome.FAILED, f"it can't be read: {error}"
        return RestoredChannel(
            channel=self._left.channel,
            before=briefly(self._left.before),
            reads=briefly(self._reads),
            outcome=outcome,
            reason=reason,
            writes=self._writes,
        )

    async def _put_back(self) -> RestoreOutcome:
        self._refuse_where_stopped()
        setpoint, target = await self._opened()
        ours = self._left.ours
        last = self._left.written if self._left.restoring else None
        while True:
            await self._permitted()
            reads = self._reads = (await setpoint.read()).value
            if reads == target:
                mine = self._writes or self._left.restoring
                return RestoreOutcome.RESTORED if mine else RestoreOutcome.UNCHANGED
            kept = StillOurs(ours, self._entry, self._means.guards)
            why = kept.changed(self._left.channel, reads)
            if why is not None:
                raise _EndedError(RestoreOutcome.ANOTHER_HAND, why)
            if last == target:
                return RestoreOutcome.RESTORED
            value = self._next(setpoint, reads, target)
            self._session.enforcement = kept
            done = await self._write(setpoint, value)
            if done is not None:
                last, ours = value, Ours((value, done.read_back))

    @property
    def _entry(self) -> ChannelLimitsConfig | None:
        return self._means.limits.validator.find(self._left.channel)

    def _refuse_where_stopped(self) -> None:
        if not self._session.may_write:
            why = self._session.stopped.result()
            raise _EndedError(RestoreOutcome.FAILED, f"the restore was stopped before: {why}")

    async def _opened(self) -> tuple[Setpoint, Value]:
        """The channel, and what it is to be set to. Raises _EndedError where it is not to be."""
        target = as_value(self._left.before)
        if self._why_not:
            raise _EndedError(RestoreOutcome.NOT_RESTORABLE, self._why_not)
        if target is None:
            raise _EndedError(
                RestoreOutcome.NOT_RESTORABLE,
                "the journal does not hold all of what it was before",
            )
        setpoint = await self._means.own.open(self._left.name)
        if setpoint.record.channel != self._left.channel:
            raise _EndedError(
                RestoreOutcome.FAILED,
                f"its name stands for the record {setpoint.record.channel} now",
            )
        why = why_not_restorable(setpoint.record, target, self._entry)
        if why:
            raise _EndedError(RestoreOutcome.NOT_RESTORABLE, why)
        return setpoint, target

    async def _permitted(self) -> None:
        """Wait while nothing may be written on this host."""
        waits = False
        while True:
            self._refuse_where_stopped()
            why = self._means.inhibit.refusal()
            if why is None:
                return
            if not waits:
                self._means.journal.note(
                    "restore_waits", **self._session.identity, channel=self._left.channel, why=why
                )
                waits = True
            await self._session.wait(seconds=INHIBITED_SECONDS)

    def _next(self, setpoint: Setpoint, reads: Value, target: Value) -> Value:
        """The next value on the way. Raises _EndedError where none leads there."""
        step, relative = _steps(self._entry, setpoint.record.target, reads, target)
        value = next_value(reads, target, step, relative)
        if value is None or value == reads or self._writes >= MAX_STEPS:
            raise _EndedError(
                RestoreOutcome.REFUSED,
                f"no way leads from {shown(reads)} to {shown(target)} in at most {MAX_STEPS} "
                "steps that its limits allow",
            )
        if value != target:
            self._refuse_outside(target)
        return value

    def _refuse_outside(self, target: Value) -> None:
        """What its limits forbid now is not even approached."""
        try:
            self._means.limits.validator.static_check(self._left.channel, target)
        except ChannelLimitsViolationError as violation:
            raise _EndedError(RestoreOutcome.REFUSED, violation.violation_reason) from None

    async def _write(self, setpoint: Setpoint, value: Value) -> WriteRecord | None:
        """Write one step; None where it was inhibited in between. Raises _EndedError."""
        put = setpoint.put(value)
        done = await self._means.writer.write(
            self._session, setpoint.circuit, setpoint.record, put.attempted, put.message
        )
        if isinstance(done, Refusal):
            put.forget()
            self._refuse_where_stopped()
            if done.violation_type == ViolationType.INHIBITED:
                return None
            if done.violation_type == ViolationType.OUTSIDE_PLAN:
                self._reads = as_value(done.current_value)
                raise _EndedError(RestoreOutcome.ANOTHER_HAND, done.reason)
            raise _EndedError(RestoreOutcome.REFUSED, done.reason)
        self._writes += 1
        record = await self._came_to_its_end(put, done)
        if record.outcome in _WENT_WELL:
            return record
        self._reads = None
        what = {
            WriteOutcome.DIFFERS: f"reads {shown(record.read_back)}",
            WriteOutcome.UNREADABLE: "can't be read back",
        }.get(record.outcome, "its IOC was lost: nobody knows whether it took that")
        raise _EndedError(RestoreOutcome.FAILED, f"it was set to {shown(value)}, and {what}")

    async def _came_to_its_end(
        self, put: Put, confirming: "asyncio.Task[WriteRecord]"
    ) -> WriteRecord:
        """What became of a write, once its record has done with it."""
        await self._session.wait(confirming, put.answered, seconds=PUT_SECONDS)
        if not confirming.done() or confirming.result().outcome in _WENT_WELL:
            await self._session.wait(put.answered, seconds=PUT_SECONDS)
        if not put.answered.done() and not self._session.may_write:
            await self._means.stopper.stop([self._left.channel], self._session.identity)
        put.forget()
        return await confirming


def _steps(
    entry: ChannelLimitsConfig | None, kind: Target, reads: Value, target: Value
) -> tuple[float | None, float | None]:
    """The largest step, in units and as a fraction, that passes however the record rounds it."""
    step = entry.max_step if entry is not None else None
    relative = entry.max_step_relative if entry is not None else None
    if kind.native is Dbr.FLOAT:
        largest = max(
            map(abs, (*(numbers_of(reads) or ()), *(numbers_of(target) or ()))), default=0
        )
        step = None if step is None else max(step - largest * _FLOAT_ROUNDING, _FLOAT_ROUNDING)
        relative = None if relative is None else max(relative - 2 * _FLOAT_ROUNDING, 0)
    return step, relative


def briefly(value: object) -> object:
    """A value, or what the journal has of one, as reports tell it: of a long one the beginning."""
    if isinstance(value, list | tuple) and len(value) > _FIRST:
        return {"_type": "array", "count": len(value), "first": told(value[:_FIRST])}
    if isinstance(value, str) and len(value) > 50 * _FIRST:
        return value[: 50 * _FIRST] + "…"
    return told(value)
