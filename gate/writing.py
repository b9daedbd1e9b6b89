"""The way of a write: judged on what the record will receive, journalled, forwarded, read back."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from gate.conditions import ConditionReader
from gate.inhibit import Inhibit
from gate.ioc_circuit import IocCircuit, IocLostError
from gate.journal import Journal
from gate.locks import RecordLock, RecordLocks
from gate.messages import Refusal, WriteOutcome, WriteRecord
from gate.records import Record
from gate.values import (
    STS_OFFSET,
    Dbr,
    Received,
    Target,
    UnfitValueError,
    Value,
    decode,
    decode_with_status,
    receive,
)
from runpermit.errors import ChannelLimitsViolationError, PythonExecutorException
from runpermit.limits import (
    ChannelLimitsConfig,
    LimitsFile,
    VerificationLevel,
    ViolationType,
)
from runpermit.limits.values import shown
from runpermit.serialization import make_json_serializable

_LONG = 1000  # elements from which a value is judged in a thread, so that others go on
_KEPT = 10_000  # elements that are told; of longer arrays, how many they are
_DEFAULT_TOLERANCE = 0.001  # of the value, where the limits database says none
_MINOR = 1


class Holder(Protocol):
    """The session that a write belongs to."""

    @property
    def may_write(self) -> bool:
        """Whether it is an open session with write access, now."""
        ...

    @property
    def identity(self) -> dict[str, object]:
        """What the journal says of it: session, execution, attempt."""
        ...


@dataclass(frozen=True)
class Attempted:
    """A write as a client sent it, on a channel that is open at the IOC as `sid`."""

    channel: str
    sid: int
    dtype: int
    count: int
    payload: bytes


class RefusedError(Exception):
    """A write that was not forwarded; `violation` says why."""

    def __init__(self, violation: ChannelLimitsViolationError) -> None:
        super().__init__(violation.message)
        self.violation = violation

    @property
    def refusal(self) -> Refusal:
        """What session, worker and code are told."""
        return Refusal.of(self.violation, now())


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

    def refuse(self, holder: Holder, write: Attempted, kind: ViolationType, reason: str) -> Refusal:
        """Refuse without judging, and journal it."""
        violation = _violation(write.channel, _told_sent(write), kind, reason)
        return self._refused(holder, RefusedError(violation), None)

    async def write(
        self,
        holder: Holder,
        circuit: IocCircuit,
        record: Record,
        write: Attempted,
        forward: Callable[[Received], None],
    ) -> "Refusal | asyncio.Task[WriteRecord]":
        """Judge `write` and `forward` it, or refuse it.

        Returns once it is forwarded; the task confirms it, and holds the record until it has.
        """
        lock = self._locks.of(record.name)
        await lock.acquire()
        passed = False
        received: Received | None = None
        try:
            received = await self._received(record, write)
            entry, old = await self._judged(holder, circuit, record, write, received, lock)
            seq = await self._intend(holder, record, write, received, old)
            # The journal took its time: whatever forbids writes since then counts.
            try:
                self._refuse_inhibited(holder, circuit, record, received)
            except RefusedError:
                self._journal.note("not_forwarded", of=seq)
                raise
            forward(received)
            lock.written()
            passed = True
            record_of = WriteRecord(
                channel=record.channel,
                old=told(old),
                new=told(received.value),
                outcome=WriteOutcome.UNCERTAIN,
                at=now(),
            )
        except RefusedError as refused:
            return self._refused(holder, refused, record)
        finally:
            if not passed:
                lock.release()
        self._journal.note("forwarded", of=seq)
        return asyncio.create_task(
            self._confirm(circuit, record, write, received, entry, record_of, seq, lock)
        )

    async def _received(self, record: Record, write: Attempted) -> Received:
        try:
            if write.count > _LONG:
                return await asyncio.to_thread(
                    receive, record.target, write.dtype, write.count, write.payload
                )
            return receive(record.target, write.dtype, write.count, write.payload)
        except UnfitValueError as unfit:
            reason = f"{unfit}. The record would hold something else than was sent"
            raise RefusedError(
                _violation(record.channel, told(unfit.sent), ViolationType.INVALID_VALUE, reason)
            ) from unfit

    async def _judged(
        self,
        holder: Holder,
        circuit: IocCircuit,
        record: Record,
        write: Attempted,
        received: Received,
        lock: RecordLock,
    ) -> tuple[ChannelLimitsConfig | None, Value]:
        """Judge by all that is in force now; the entry, and the value that the channel has."""
        self._refuse_inhibited(holder, circuit, record, received)
        self._refuse_alias(record, write, received)
        validator = self._limits.validator
        entry = validator.find(record.channel)
        if entry is not None:
            await lock.pace(entry.min_interval, lambda: holder.may_write)
            self._refuse_inhibited(holder, circuit, record, received)
            validator = self._limits.validator
            entry = validator.find(record.channel)
            await self._refuse_conditions(record, received, entry)
        old = await self._old(circuit, record, write, received)
        judged = _judged_value(received, entry)
        try:
            if received.count > _LONG:
                await asyncio.to_thread(validator.validate, record.channel, judged, old)
            else:
                validator.validate(record.channel, judged, old)
        except ChannelLimitsViolationError as violation:
            violation.attempted_value = told(received.value)
            violation.current_value = told(violation.current_value)
            raise RefusedError(violation) from violation
        return entry, old

    def _refuse_inhibited(
        self, holder: Holder, circuit: IocCircuit, record: Record, received: Received
    ) -> None:
        """Refuse where nothing may be written at this moment, whatever it is."""
        why = self._inhibit.refusal()
        if why is not None:
            raise RefusedError(
                _violation(record.channel, told(received.value), ViolationType.INHIBITED, why)
            )
        if not holder.may_write or circuit.closed:
            raise RefusedError(_ended(record.channel, received))

    def _refuse_alias(self, record: Record, write: Attempted, received: Received) -> None:
        """Limits that stand under an alias would bind that name alone, so they bind nothing."""
        database = self._limits.validator.database
        used = write.channel.removesuffix(".VAL")
        if used == record.channel or database is None or not self._limits.enabled:
            return
        if database.find(used) is not None and database.find(record.channel) is None:
            raise RefusedError(
                _violation(
                    record.channel,
                    told(received.value),
                    ViolationType.UNLISTED_CHANNEL,
                    f"{used} is listed in the limits database, and is an alias of this record, "
                    "which is not. Have the record listed by its own name",
                )
            )

    async def _refuse_conditions(
        self, record: Record, received: Received, entry: ChannelLimitsConfig | None
    ) -> None:
        for condition in entry.conditions if entry is not None else ():
            why = await self._conditions.failure(condition)
            if why is not None:
                raise RefusedError(
                    _violation(
                        record.channel, told(received.value), ViolationType.CONDITION_FAILED, why
                    )
                )

    async def _old(
        self, circuit: IocCircuit, record: Record, write: Attempted, received: Received
    ) -> Value:
        """The value now, read on the same circuit; without it nothing is written."""
        try:
            frame = await circuit.read(write.sid, record.target.native, 0)
            return decode(record.target, frame.count, frame.payload)
        except (IocLostError, LookupError, UnfitValueError) as error:
            raise RefusedError(
                _violation(
                    record.channel,
                    told(received.value),
                    ViolationType.STEP_CHECK_FAILED,
                    f"its current value can't be read: {error}. Write once it can be read",
                )
            ) from error

    async def _intend(
        self, holder: Holder, record: Record, write: Attempted, received: Received, old: Value
    ) -> int:
        """Write ahead: what is not in the journal is not forwarded."""
        fields = holder.identity | {"channel": record.channel}
        if write.channel != record.channel:
            fields["used"] = write.channel
        try:
            return await self._journal.write(
                "write", **fields, old=told(old), new=told(received.value)
            )
        except PythonExecutorException as error:
            raise RefusedError(
                _violation(
                    record.channel,
                    told(received.value),
                    ViolationType.NOT_ALLOWED,
                    f"the gate's journal takes no record: {error.message}",
                )
            ) from error

    def _refused(self, holder: Holder, refused: RefusedError, record: Record | None) -> Refusal:
        refusal = refused.refusal
        fields = holder.identity | refusal.model_dump(mode="json", exclude={"at"})
        if record is not None:
            fields["channel"] = record.channel
        self._journal.note("refused", **fields)
        return refusal

    async def _confirm(
        self,
        circuit: IocCircuit,
        record: Record,
        write: Attempted,
        received: Received,
        entry: ChannelLimitsConfig | None,
        judged: WriteRecord,
        seq: int,
        lock: RecordLock,
    ) -> WriteRecord:
        """Read back on the same circuit: the answer comes after the IOC took the write."""
        outcome, value = WriteOutcome.UNREADABLE, None
        try:
            native = record.target.native
            frame = await circuit.read(write.sid, native + STS_OFFSET, 0)
            value, severity = decode_with_status(record.target, frame.count, frame.payload)
            outcome = _outcome(received, value, severity, entry)
        except IocLostError:
            outcome = WriteOutcome.UNCERTAIN
        except (LookupError, UnfitValueError):
            pass
        finally:
            lock.release()
        self._journal.note("confirmed", of=seq, outcome=outcome, read_back=told(value))
        return judged.model_copy(update={"outcome": outcome, "read_back": told(value)})


def now() -> str:
    """The time as journal and reports give it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _judged_value(received: Received, entry: ChannelLimitsConfig | None) -> Value:
    """A state by its name where the limits database names states, else by its number."""
    allowed = entry.allowed_values if entry is not None else None
    if received.state is not None and allowed is not None and received.state in allowed:
        return received.state
    return received.value


def _outcome(
    received: Received, value: Value, severity: int, entry: ChannelLimitsConfig | None
) -> WriteOutcome:
    """Whether the setpoint was taken, as the channel's `verification` wants to know it."""
    level = entry.verification.level if entry is not None else VerificationLevel.CALLBACK
    if level is VerificationLevel.NONE:
        return WriteOutcome.CONFIRMED
    if not _same(received.value, value, entry):
        return WriteOutcome.DIFFERS
    return WriteOutcome.ALARM if severity > _MINOR else WriteOutcome.CONFIRMED


def _same(sent: Value, read: Value, entry: ChannelLimitsConfig | None) -> bool:
    if isinstance(sent, tuple) or isinstance(read, tuple):
        sent = sent if isinstance(sent, tuple) else (sent,)
        read = read if isinstance(read, tuple) else (read,)
        return len(sent) == len(read) and all(
            _same(one, other, entry) for one, other in zip(sent, read, strict=True)
        )
    if isinstance(sent, str) or isinstance(read, str):
        return sent == read
    return math.isclose(sent, read, rel_tol=0, abs_tol=_tolerance(sent, entry))


def _tolerance(value: float, entry: ChannelLimitsConfig | None) -> float:
    verification = entry.verification if entry is not None else None
    if verification is not None and verification.tolerance_absolute is not None:
        return verification.tolerance_absolute
    if verification is not None and verification.tolerance_percent is not None:
        return abs(value) * verification.tolerance_percent / 100
    return abs(value) * _DEFAULT_TOLERANCE


def _violation(
    channel: str, value: object, kind: ViolationType, reason: str
) -> ChannelLimitsViolationError:
    return ChannelLimitsViolationError(channel, value, kind, reason)


def _ended(channel: str, received: Received) -> ChannelLimitsViolationError:
    return _violation(
        channel,
        told(received.value),
        ViolationType.NOT_ALLOWED,
        f"can't be set to {shown(received.value)}: the session has ended, or the IOC was lost",
    )


def _told_sent(write: Attempted) -> object:
    """What was sent, as well as it can be told without knowing the record."""
    try:
        count = min(write.count, _LONG)
        return told(decode(Target(Dbr(write.dtype), count), count, write.payload))
    except (UnfitValueError, ValueError):
        return None


def told(value: object) -> object:
    """A value as JSON that any reader takes; of a long one, how long it is."""
    if isinstance(value, tuple | list) and len(value) > _KEPT:
        return {"_type": "array", "count": len(value)}
    if isinstance(value, str):
        return value[:_KEPT].encode("utf-8", "backslashreplace").decode()
    return make_json_serializable(value)
