"""Whether a write is let pass by its record and by the limits, and how it reads back."""

import asyncio
from collections.abc import Awaitable

from gate.aside import aside
from gate.channel_access.frames import Frame
from gate.channel_access.ioc_circuit import IocLostError
from gate.channel_access.records import Record, parts
from gate.channel_access.values import (
    INVALID,
    Received,
    UnfitValueError,
    Value,
    decode_seen,
    receive,
)
from gate.messages import WriteOutcome
from gate.policy.attempt import Attempted, Case, RefusedError, told
from gate.policy.verification import outcome
from runpermit.errors import ChannelLimitsViolationError
from runpermit.limits import ChannelLimitsConfig, LimitsValidator, ViolationType
from runpermit.limits.values import shown


def refuse_alias(case: Case, validator: LimitsValidator) -> None:
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


async def as_received(record: Record, write: Attempted) -> Received:
    """What the record will hold of a write. Raises RefusedError."""
    try:
        return await aside(
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


async def current_value(
    case: Case, entry: ChannelLimitsConfig | None, answer: asyncio.Future[Frame]
) -> Value:
    """The value now, as the IOC answers; without it nothing is written."""
    target = case.record.target
    try:
        frame = case.circuit.value_in(await answer)
        value, severity, names = await aside(
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


async def validate(case: Case, validator: LimitsValidator, old: Value) -> None:
    """Judge by the limits. Raises RefusedError."""
    channel = case.record.channel
    judged = _judged_value(case.received, validator.find(channel))
    try:
        await aside(case.received.count, validator.validate, channel, judged, old)
    except ChannelLimitsViolationError as violation:
        violation.attempted_value = told(case.received.value)
        violation.current_value = told(violation.current_value)
        raise RefusedError(violation) from violation


async def read_back_value(
    case: Case, entry: ChannelLimitsConfig | None, reading: Awaitable[Frame]
) -> tuple[WriteOutcome, Value | None]:
    """What became of a write by what reads back, and that value."""
    try:
        frame = case.circuit.value_in(await reading)
        value, severity, _ = await aside(
            frame.count, decode_seen, case.record.target, frame.count, frame.payload
        )
        return await aside(frame.count, outcome, case.received.value, value, severity, entry), value
    except IocLostError:
        return WriteOutcome.UNCERTAIN, None
    except (LookupError, UnfitValueError):
        return WriteOutcome.UNREADABLE, None


def _judged_value(received: Received, entry: ChannelLimitsConfig | None) -> Value:
    """A state by its name where the limits database names states, else by its number."""
    allowed = entry.allowed_values if entry is not None else None
    if received.state is not None and allowed is not None and received.state in allowed:
        return received.state
    return received.value
