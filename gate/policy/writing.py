"""The way of a write: judged on what the record will receive, journalled, forwarded, read back."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from gate.aside import aside
from gate.channel_access.frames import Frame
from gate.channel_access.ioc_circuit import IocCircuit, IocLostError
from gate.channel_access.records import Record
from gate.channel_access.values import (
    Received,
    Value,
)
from gate.journal.journal import Journal
from gate.messages import Refusal, WriteOutcome, WriteRecord
from gate.policy.attempt import Attempted, Case, Holder, RefusedError, brief, now, recorded, told
from gate.policy.conditions import ConditionReader
from gate.policy.inhibit import Inhibit
from gate.policy.judging import as_received, current_value, read_back_value, refuse_alias, validate
from gate.policy.locks import RecordLock, RecordLocks
from gate.policy.watched_limits import limits_in_force
from runpermit.errors import ChannelLimitsViolationError, PythonExecutorException
from runpermit.limits import (
    ChannelLimitsConfig,
    LimitsFile,
    LimitsValidator,
    ViolationType,
)

# An IOC answers a put callback from a thread of its own, right behind what reads back.
_MOMENT_SECONDS = 0.002


@dataclass(frozen=True)
class Forwarded:
    """A write that left the gate `at` a time, as the journal's record `seq` has it.

    `values` are the old one and the new one as they are told; `changes` whether they differ.
    """

    case: Case
    entry: ChannelLimitsConfig | None
    values: dict[str, object]
    at: str
    seq: int
    changes: bool


class Writer:
    """Decides on every write of every session; one for the whole gate."""

    def __init__(
        self,
        *,
        limits: LimitsFile,
        journal: Journal,
        inhibit: Inhibit,
        conditions: ConditionReader,
    ) -> None:
        self._limits = limits
        self._journal = journal
        self._inhibit = inhibit
        self._conditions = conditions
        self._locks = RecordLocks()
        self._turns = RecordLocks()

    def refuse(self, holder: Holder, write: Attempted, kind: ViolationType, reason: str) -> Refusal:
        """Refuse without judging, and journal it."""
        violation = ChannelLimitsViolationError(write.channel, write.guessed_value, kind, reason)
        return self._refused(holder, RefusedError(violation))

    async def write(
        self,
        holder: Holder,
        circuit: IocCircuit,
        record: Record,
        write: Attempted,
        message: Callable[[Received], bytes],
    ) -> Refusal | asyncio.Task[WriteRecord]:
        """Judge `write` and forward it, as the message that `message` makes of it, or refuse it.

        Returns once it is forwarded; the task confirms it, and holds the record until it has.
        """
        try:
            received = await as_received(record, write)
        except RefusedError as refused:
            return self._refused(holder, refused)
        case = Case(holder, circuit, record, write, received)
        # Both are released once it has been read back; the channel's own only when the IOC took it.
        held: list[RecordLock] = []
        try:
            for lock in (self._turns.of(record.channel), self._locks.of(record.name)):
                if await lock.acquire(lambda: holder.may_write):
                    held.append(lock)
                case.check_open()
            validators = await self._due(case, lock)
            old = await self._look(case, validators)
            async with _turn(holder):
                forwarded, read_back = await self._forward(case, old, validators, message)
            lock.written()
            confirming = self._confirm(forwarded, held, read_back)
            held = []
            return asyncio.create_task(confirming, name=record.channel)
        except RefusedError as refused:
            return self._refused(holder, refused)
        finally:
            _release(held)

    async def _due(self, case: Case, lock: RecordLock) -> tuple[LimitsValidator, ...]:
        """Wait until the record may be written again; by which limits that is."""
        self._refuse_now(case)
        validators = await self._limits_for(case)
        interval = _interval(validators, case.record.channel)
        if interval and await lock.paced(interval, lambda: case.holder.may_write):
            self._refuse_now(case)
            validators = await self._limits_for(case)
        return validators

    async def _look(self, case: Case, validators: tuple[LimitsValidator, ...]) -> Value:
        """The value that it has, where name and conditions let it be written."""
        channel = case.record.channel
        for validator in validators:
            refuse_alias(case, validator)
            await self._refuse_conditions(case, validator.find(channel))
        case.check_open()
        # Last, since conditions may take their time, and on the same circuit.
        current = case.circuit.ask_read(case.write.sid, case.record.target.seen_type, 0)
        return await current_value(case, validators[0].find(channel), current)

    async def _forward(
        self,
        case: Case,
        old: Value,
        validators: tuple[LimitsValidator, ...],
        message: Callable[[Received], bytes],
    ) -> tuple[Forwarded, asyncio.Future[Frame]]:
        """Judge, write ahead and forward; and what then reads back. Raises RefusedError."""
        received, enforcement = case.received, case.holder.enforcement
        # First what else explains, then the facility's limits, then what was asked for.
        if enforcement is not None:
            await _refuse_if(case, old, enforcement.changed, old)
        for validator in validators:
            await validate(case, validator, old)
        if enforcement is not None:
            await _refuse_if(case, old, enforcement.outside, received.value, received.state or "")
        values = {
            "old": await aside(received.count, recorded, old),
            "new": await aside(received.count, recorded, received.value),
        }
        seq = await self._intend(case, values, old, validators[0])
        # The read goes right behind the write: its answer comes once the IOC took the write.
        read_back = case.circuit.ask_read(
            case.write.sid, case.record.target.seen_type, 0, after=message(received)
        )
        if enforcement is not None:
            enforcement.forwarded(case.record.channel, received.value)
        entry = validators[0].find(case.record.channel)
        return Forwarded(case, entry, values, now(), seq, old != received.value), read_back

    def _refuse_now(self, case: Case) -> None:
        """Refuse where nothing may be written at this moment, whatever it is."""
        why = self._inhibit.refusal()
        if why is not None:
            raise case.refused(ViolationType.INHIBITED, why)
        case.check_open()
        if case.holder.enforcement is not None:
            standing = case.holder.enforcement.standing()
            if standing is not None:
                raise case.refused(*standing)

    async def _limits_for(self, case: Case) -> tuple[LimitsValidator, ...]:
        """The limits that bind a write, those in force first."""
        validator = await limits_in_force(self._limits, lambda: self._refuse_now(case))
        enforcement = case.holder.enforcement
        if enforcement is None:
            return (validator,)
        binding = enforcement.limits(validator)
        if binding is None:
            raise case.refused(
                ViolationType.OUTSIDE_PLAN,
                "the limits database is no longer the one under which this was approved. Rehearse "
                "and ask again",
            )
        return binding

    async def _refuse_conditions(self, case: Case, entry: ChannelLimitsConfig | None) -> None:
        for condition in entry.conditions if entry is not None else ():
            case.check_open()
            why = await self._conditions.failure(condition)
            if why is not None:
                raise case.refused(ViolationType.CONDITION_FAILED, why)

    async def _intend(
        self, case: Case, values: dict[str, object], old: Value, validator: LimitsValidator
    ) -> int:
        """Write ahead: what is not in the journal is not forwarded."""
        channel, used = case.record.channel, case.write.channel
        fields = {} if used == channel else {"used": used}
        try:
            seq = await self._journal.write(
                "write", **case.holder.identity, **fields, channel=channel, **values
            )
        except PythonExecutorException as error:
            raise case.refused(
                ViolationType.NOT_ALLOWED,
                f"the gate's journal takes no record: {error.message}",
            ) from error
        try:
            # Journal and conditions took their time: whatever forbids this since then counts.
            if self._limits.validator is not validator:
                for changed in await self._limits_for(case):
                    await validate(case, changed, old)
            self._refuse_now(case)
        except RefusedError:
            self._journal.note("not_forwarded", **_permit(case.holder), of=seq)
            raise
        return seq

    def _refused(self, holder: Holder, refused: RefusedError) -> Refusal:
        refusal = refused.refusal
        if holder.enforcement is not None:
            holder.enforcement.latch(refusal.channel, refusal.reason)
        # Code that nobody trusts makes as many of them as it likes.
        record = brief(refusal, "value", "current_value")
        if holder.has_room_for(record):
            fields = record.model_dump(mode="json", exclude={"at"})
            self._journal.note("refused", **holder.identity, **fields)
        return refusal

    async def _confirm(
        self, forwarded: Forwarded, held: list[RecordLock], read_back: asyncio.Future[Frame]
    ) -> WriteRecord:
        """Wait for what reads back, and let the next one write to the record."""
        case, entry = forwarded.case, forwarded.entry
        answered = case.write.answered
        try:
            if answered is not None:
                await _either(read_back, answered)
            result, value = await read_back_value(case, entry, read_back)
            taken = forwarded.changes and value == case.received.value
            if answered is not None and not answered.done() and not taken:
                # The record is busy, and the IOC takes the put callback later. Its other fields,
                # such as a motor's stop, can be written meanwhile, but not this one.
                held.pop().release()
                was_answered = await answered
                reading = case.circuit.read(case.write.sid, case.record.target.seen_type, 0)
                result, value = await read_back_value(case, entry, reading)
                if result is WriteOutcome.DIFFERS and not was_answered:
                    result = WriteOutcome.UNCERTAIN
        finally:
            _release(held)
        shown = await aside(case.received.count, recorded, value)
        self._journal.note(
            "confirmed",
            **_permit(case.holder),
            of=forwarded.seq,
            forwarded_at=forwarded.at,
            outcome=result,
            read_back=shown,
        )
        return WriteRecord(
            channel=case.record.channel,
            **forwarded.values,
            outcome=result,
            read_back=shown,
            at=forwarded.at,
        )


async def _either(read_back: asyncio.Future[Frame], answered: asyncio.Future[bool]) -> None:
    """Wait for what reads back, and a moment for the answer: whoever wrote has that one first."""
    with contextlib.suppress(IocLostError):
        await read_back
    if answered.done():
        return
    moment: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def over(_: object = None) -> None:
        if not moment.done():
            moment.set_result(None)

    timer = asyncio.get_running_loop().call_later(_MOMENT_SECONDS, over)
    answered.add_done_callback(over)
    await moment
    timer.cancel()
    answered.remove_done_callback(over)


def _release(held: list[RecordLock]) -> None:
    while held:
        held.pop().release()


def _turn(holder: Holder) -> AbstractAsyncContextManager[None]:
    """One write after the other, where a plan counts them."""
    return holder.enforcement.turn if holder.enforcement is not None else nullcontext()


async def _refuse_if(
    case: Case, old: Value, why_not: Callable[..., str | None], *value: Value
) -> None:
    """Refuse what is not the write that was approved, as `why_not` says of `value`."""
    why = await aside(case.received.count, why_not, case.record.channel, *value)
    if why is not None:
        refused = case.refused(ViolationType.OUTSIDE_PLAN, why)
        refused.violation.current_value = told(old)
        raise refused


def _interval(validators: tuple[LimitsValidator, ...], channel: str) -> float:
    """How many seconds must lie between two writes; 0 where nothing is said."""
    entries = (validator.find(channel) for validator in validators)
    return max((entry.min_interval for entry in entries if entry is not None), default=0)


def _permit(holder: Holder) -> dict[str, object]:
    """The permit of a write's session, by which its records are found again."""
    permit = holder.identity.get("permit")
    return {} if permit is None else {"permit": permit}
