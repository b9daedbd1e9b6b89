"""The way of a write: judged on what the record will receive, journalled, forwarded, read back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from gate.attempt import Attempted, Case, Holder, RefusedError, brief, now, recorded, told
from gate.conditions import ConditionReader
from gate.frames import Frame
from gate.inhibit import Inhibit
from gate.ioc_circuit import IocCircuit, IocLostError
from gate.journal import Journal
from gate.locks import RecordLock, RecordLocks
from gate.messages import Refusal, WriteOutcome, WriteRecord
from gate.records import Record, parts
from gate.values import (
    INVALID,
    Received,
    UnfitValueError,
    Value,
    decode_seen,
    receive,
)
from gate.verification import outcome
from runpermit.errors import ChannelLimitsViolationError, PythonExecutorException
from runpermit.limits import (
    ChannelLimitsConfig,
    LimitsFile,
    LimitsValidator,
    ViolationType,
)
from runpermit.limits.values import shown

_LONG = 1000  # elements from which a value is judged in a thread

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


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
            received = await _received(record, write)
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
            entry, old, validator = await self._judge(case, lock)
            values = {
                "old": await _aside(received.count, recorded, old),
                "new": await _aside(received.count, recorded, received.value),
            }
            seq = await self._intend(case, values, old, validator)
            # The read goes right behind the write: its answer comes once the IOC took the write.
            read_back = circuit.ask_read(
                write.sid, case.record.target.seen_type, 0, after=message(received)
            )
            lock.written()
            forwarded = WriteRecord(
                channel=record.channel, **values, outcome=WriteOutcome.UNCERTAIN, at=now()
            )
            changes = old != received.value
            confirming = self._confirm(case, entry, forwarded, seq, held, read_back, changes)
            held = []
            return asyncio.create_task(confirming)
        except RefusedError as refused:
            return self._refused(holder, refused)
        finally:
            _release(held)

    async def _judge(
        self, case: Case, lock: RecordLock
    ) -> tuple[ChannelLimitsConfig | None, Value, LimitsValidator]:
        """Judge by all that is in force now; by which limits, and the value that it has."""
        self._refuse_inhibited(case)
        channel = case.record.channel
        validator = self._limits.validator
        entry = validator.find(channel)
        if entry is not None and await lock.paced(
            entry.min_interval, lambda: case.holder.may_write
        ):
            self._refuse_inhibited(case)
            validator = self._limits.validator
            entry = validator.find(channel)
        self._refuse_alias(case, validator)
        await self._refuse_conditions(case, entry)
        case.check_open()
        # Last, since conditions may take their time, and on the same circuit.
        current = case.circuit.ask_read(case.write.sid, case.record.target.seen_type, 0)
        old = await _current(case, entry, current)
        await _validate(case, validator, old)
        return entry, old, validator

    def _refuse_inhibited(self, case: Case) -> None:
        """Refuse where nothing may be written at this moment, whatever it is."""
        why = self._inhibit.refusal()
        if why is not None:
            raise case.refused(ViolationType.INHIBITED, why)
        case.check_open()

    def _refuse_alias(self, case: Case, validator: LimitsValidator) -> None:
        """Limits that stand under an alias would bind that name alone, so they bind nothing."""
        database = validator.database
        used = parts(case.write.channel).channel
        if used == case.record.channel or database is None or not validator.enabled:
            return
        if database.find(used) is not None and database.find(case.record.channel) is None:
            raise case.refused(
                ViolationType.UNLISTED_CHANNEL,
                f"{used} is listed in the limits database, and is an alias of this record, which "
                "is not. Have the record listed by its own name",
            )

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
                await _validate(case, self._limits.validator, old)
            self._refuse_inhibited(case)
        except RefusedError:
            self._journal.note("not_forwarded", of=seq)
            raise
        return seq

    def _refused(self, holder: Holder, refused: RefusedError) -> Refusal:
        refusal = refused.refusal
        # Code that nobody trusts makes as many of them as it likes.
        record = brief(refusal, "value", "current_value")
        if holder.has_room_for(record):
            fields = record.model_dump(mode="json", exclude={"at"})
            self._journal.note("refused", **holder.identity, **fields)
        return refusal

    async def _confirm(
        self,
        case: Case,
        entry: ChannelLimitsConfig | None,
        forwarded: WriteRecord,
        seq: int,
        held: list[RecordLock],
        read_back: asyncio.Future[Frame],
        changes: bool,  # noqa: FBT001
    ) -> WriteRecord:
        """Wait for what reads back, and let the next one write to the record."""
        answered = case.write.answered
        try:
            result, value = await _seen(case, entry, read_back)
            taken = changes and value == case.received.value
            if answered is not None and not answered.done() and not taken:
                # The record is busy, and the IOC takes the put callback later. Its other fields,
                # such as a motor's stop, can be written meanwhile, but not this one.
                held.pop().release()
                was_answered = await answered
                reading = case.circuit.read(case.write.sid, case.record.target.seen_type, 0)
                result, value = await _seen(case, entry, reading)
                if result is WriteOutcome.DIFFERS and not was_answered:
                    result = WriteOutcome.UNCERTAIN
        finally:
            _release(held)
        shown = await _aside(case.received.count, recorded, value)
        self._journal.note(
            "confirmed", of=seq, forwarded_at=forwarded.at, outcome=result, read_back=shown
        )
        return forwarded.model_copy(update={"outcome": result, "read_back": shown})


def _release(held: list[RecordLock]) -> None:
    while held:
        held.pop().release()


async def _seen(
    case: Case, entry: ChannelLimitsConfig | None, reading: Awaitable[Frame]
) -> tuple[WriteOutcome, Value | None]:
    """What became of a write by what reads back, and that value."""
    try:
        frame = case.circuit.value_in(await reading)
        value, severity, _ = await _aside(
            frame.count, decode_seen, case.record.target, frame.count, frame.payload
        )
        return await _aside(
            frame.count, outcome, case.received.value, value, severity, entry
        ), value
    except IocLostError:
        return WriteOutcome.UNCERTAIN, None
    except (LookupError, UnfitValueError):
        return WriteOutcome.UNREADABLE, None


async def _received(record: Record, write: Attempted) -> Received:
    """What the record will hold of a write. Raises RefusedError."""
    try:
        return await _aside(
            write.count, receive, record.target, write.dtype, write.count, write.payload
        )
    except UnfitValueError as unfit:
        raise RefusedError(
            ChannelLimitsViolationError(
                record.channel,
                told(unfit.sent),
                ViolationType.INVALID_VALUE,
                f"{unfit}. The record would hold something else than was sent",
            )
        ) from unfit


async def _current(
    case: Case, entry: ChannelLimitsConfig | None, answer: asyncio.Future[Frame]
) -> Value:
    """The value now, as the IOC answers; without it nothing is written."""
    target = case.record.target
    try:
        frame = case.circuit.value_in(await answer)
        value, severity, names = await _aside(
            frame.count, decode_seen, target, frame.count, frame.payload
        )
    except (IocLostError, LookupError, UnfitValueError) as error:
        raise case.refused(
            ViolationType.STEP_CHECK_FAILED,
            f"its current value can't be read: {error}. Write once it can be read",
        ) from error
    if severity >= INVALID and entry is not None and entry.bounds_step:
        raise case.refused(
            ViolationType.STEP_CHECK_FAILED,
            f"its current value {shown(value)} is marked INVALID by its record (never set, or cut "
            "off from its device), so no step can be told from it. Write once it is valid",
        )
    if case.record.has_other_states(names):
        raise case.refused(
            ViolationType.INVALID_VALUE,
            "the names of its states have changed since it was opened. Open it again",
        )
    return value


async def _validate(case: Case, validator: LimitsValidator, old: Value) -> None:
    """Judge by the limits. Raises RefusedError."""
    channel = case.record.channel
    judged = _judged_value(case.received, validator.find(channel))
    try:
        await _aside(case.received.count, validator.validate, channel, judged, old)
    except ChannelLimitsViolationError as violation:
        violation.attempted_value = told(case.received.value)
        violation.current_value = told(violation.current_value)
        raise RefusedError(violation) from violation


async def _aside(
    count: int,
    work: Callable[Arguments, Answer],
    *arguments: Arguments.args,
    **named: Arguments.kwargs,
) -> Answer:
    """`work`, for many elements in a thread, so that other sessions go on."""
    if count > _LONG:
        return await asyncio.to_thread(work, *arguments, **named)
    return work(*arguments, **named)


def _judged_value(received: Received, entry: ChannelLimitsConfig | None) -> Value:
    """A state by its name where the limits database names states, else by its number."""
    allowed = entry.allowed_values if entry is not None else None
    if received.state is not None and allowed is not None and received.state in allowed:
        return received.state
    return received.value
