"""One session's rehearsal: what its writes are judged by, what they change, and what is told."""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gate.aside import aside
from gate.channel_access.directory import Directory
from gate.channel_access.ioc_circuit import IocCircuit, IocLostError
from gate.channel_access.own_channels import OwnChannels
from gate.channel_access.reading import ChannelReader
from gate.channel_access.records import Record, parts
from gate.channel_access.values import UnfitValueError
from gate.journal.journal import Journal
from gate.messages import Refusal, Rehearsed
from gate.policy.attempt import Attempted, RefusedError, brief, told
from gate.policy.conditions import holds
from gate.rehearsal.description import facts_of, live_of, number_of_field
from gate.rehearsal.drive_limits import drive_limits
from gate.rehearsal.following import MOTOR, Following, Motor, following, is_motor, is_settled
from gate.rehearsal.judging import Judged, RehearsingHolder, judge
from gate.rehearsal.model import Model, ModelLostError, ModelUse
from gate.rehearsal.patching import Shadow
from gate.rehearsal.recorder import RecordedChannel, Recorder
from gate.sessions.client_channels import Channel
from runpermit.config import GateSettings
from runpermit.errors import ChannelLimitsViolationError
from runpermit.limits import Condition, LimitsFile, ViolationType
from runpermit.models import MachineState
from runpermit.plans import as_planned

if TYPE_CHECKING:
    from gate.sessions.session import Session

_LOOK_SECONDS = 3.0
_TOGETHER = 20


@dataclass(frozen=True)
class Facilities:
    """What every rehearsal of a gate needs."""

    directory: Directory
    limits: LimitsFile
    reader: ChannelReader
    journal: Journal
    quotas: GateSettings
    model: Model | None = None

    async def begin(self, session: "Session") -> "Rehearsal":
        """A rehearsal for `session`. Raises ServiceUnavailableError without its model."""
        model = await self.model.take(session.name) if self.model is not None else None
        return Rehearsal(session, self, model)


class Listener(Protocol):
    """A client's circuit, as far as a rehearsal tells it something."""

    async def tell(self, changed: Collection[str]) -> None:
        """Some channels read something else from now on."""
        ...


class Rehearsal:
    """What one session rehearses, on all of its circuits."""

    def __init__(self, session: "Session", facilities: Facilities, model: ModelUse | None) -> None:
        self.recorder = Recorder()
        self.listeners: set[Listener] = set()
        self.model = model
        self._session = session
        self._facilities = facilities
        self._holder = RehearsingHolder(session)
        self._own = OwnChannels(facilities.directory, facilities.quotas.array_bytes)
        self._turn = asyncio.Lock()
        self._shadows: dict[str, Shadow] = {}
        self._unknown: set[str] = set()
        self._records: set[str] = set()
        self._motors: dict[str, Motor] = {}
        self._names: dict[str, str] = {}
        self._refused = 0

    async def write(self, channel: Channel, record: Record, write: Attempted) -> Judged | Refusal:
        """Judge and record a write; from its return on its channel reads what was written."""
        async with self._turn:
            try:
                judged = await self._judged(channel, record, write)
            except RefusedError as refused:
                return self.refused(refused)
            elements = judged.received.count
            self.recorder.wrote(
                record,
                judged,
                await aside(elements, as_planned, judged.old),
                await aside(elements, as_planned, judged.received.value),
            )
            changed = await self._follow(record, judged)
            await asyncio.gather(*(listener.tell(changed) for listener in self.listeners))
            return judged

    def refused(self, refused: RefusedError) -> Refusal:
        """Count a refusal, and journal it as far as there is room."""
        self._refused += 1
        refusal = refused.refusal
        record = brief(refusal, "value", "current_value")
        if self._holder.has_room_for(record):
            fields = record.model_dump(mode="json", exclude={"at"})
            self._facilities.journal.note("refused", **self._holder.identity, **fields)
        return refusal

    def refuse(self, write: Attempted, kind: ViolationType, reason: str) -> Refusal:
        """Refuse a write without judging it."""
        violation = ChannelLimitsViolationError(write.channel, write.guessed_value, kind, reason)
        return self.refused(RefusedError(violation))

    def shadow(self, channel: Channel) -> Shadow | None:
        """What a channel reads instead of its live value, None where it reads that."""
        return self._shadows.get(channel.record.channel) if channel.record is not None else None

    def has_moved(self, channel: Channel) -> bool:
        """Whether a write has changed what the channel would read, or may have."""
        return self.shadow(channel) is not None or self.is_unknown(channel)

    def is_unknown(self, channel: Channel) -> bool:
        """Whether a write may have changed what the channel would read, and nothing tells how."""
        if channel.record is None:
            return bool(self._records)
        name, field = channel.record.channel, parts(channel.name).field
        return name in self._unknown or (
            name not in self._shadows
            and channel.record.name in self._records
            and not is_settled(field)
        )

    def end(self, why: str) -> None:
        """End the session: its model is gone, and nothing else may stand for it."""
        self._session.fence(why)

    async def close(self) -> Rehearsed:
        """Look at the written channels once more, leave the model, and tell all of it."""
        try:
            await self._look_again()
        finally:
            self._own.close()
            if self.model is not None:
                await self.model.leave()
        upstream = self.model.upstream if self.model is not None else ""
        rehearsed = self.recorder.rehearsed(upstream)
        self._facilities.journal.note(
            "rehearsal",
            **self._holder.identity,
            writes=self.recorder.count,
            refused=self._refused,
            channels=len(self.recorder.channels),
            upstream=upstream,
        )
        return rehearsed

    async def _judged(self, channel: Channel, record: Record, write: Attempted) -> Judged:
        """A write that passes, on a channel of which all is known. Raises RefusedError."""
        shadow = self._shadows.get(record.channel)
        judged = await judge(
            self._holder,
            channel.ioc,
            record,
            write,
            shadow.value if shadow is not None else None,
            self._facilities.limits,
        )
        if record.channel not in self.recorder.channels:
            try:
                first = await self._first(channel.ioc, record, write, judged)
            except (IocLostError, LookupError, UnfitValueError, ModelLostError) as error:
                if isinstance(error, ModelLostError):
                    self.end(str(error))
                raise _refused(record, judged, f"it can't be rehearsed: {error}") from error
            self.recorder.first(first)
        return judged

    async def _first(
        self, circuit: IocCircuit, record: Record, write: Attempted, judged: Judged
    ) -> RecordedChannel:
        """What has to be known of a channel before its first write."""
        live = await live_of(record, await circuit.read(write.sid, record.target.seen_type, 0))
        facts = await facts_of(circuit, record, live, judged.entry)
        if not self.recorder.has_room_for(facts):
            raise _refused(record, judged, "a plan can't tell of more channels than this has")
        if is_motor(record):
            self._motors[record.channel] = await _motor(circuit, record.name)
        entry = judged.entry
        await self._look_at_machine(entry.conditions if entry is not None else ())
        if self.model is not None:
            if await self.model.is_at(circuit.address):
                raise _refused(
                    record,
                    judged,
                    "rehearsal.upstream is the very IOC that has this channel, and a rehearsal "
                    "writes to no machine. Name another one",
                )
            if not await self.model.align(write.channel, live.value):
                self._session.note(f"the model {self.model.upstream} has no {write.channel}")
        digits = await _digits(circuit, record.name)
        drive = await drive_limits(circuit, record)
        return RecordedChannel(facts, write.channel, record, live, entry, digits, drive)

    async def _follow(self, record: Record, judged: Judged) -> set[str]:
        """Have the channel, and what follows it, read what they would. Which channels these are."""
        received, channel = judged.received, self.recorder.channels[record.channel]
        stored = channel.stored(judged.old, received.value)
        own = Shadow(received.value, received.dtype, received.payload, channel.digits)
        if stored is not received.value:
            own = Shadow(stored, digits=channel.digits)
        motor = self._motors.get(record.channel)
        found = await aside(received.count, following, record, judged.entry, stored, motor)
        found = await self._by_own_names(found)
        shadows = {
            record.channel: own,
            **{name: Shadow(value) for name, value in found.values.items()},
        }
        self._unknown = (self._unknown | {*found.unknown, *self._stale(record)}) - shadows.keys()
        self._records.add(record.name)
        self._shadows |= shadows
        return {*shadows, *found.unknown}

    def _stale(self, record: Record) -> list[str]:
        """What followed an earlier write to a record: after another one it may be something else.

        A motor changes also those of its fields that were written themselves.
        """
        fields = [name for name in self._shadows if name.partition(".")[0] == record.name]
        if record.record_type == MOTOR:
            return fields
        return [name for name in fields if name not in self.recorder.channels]

    async def _by_own_names(self, found: Following) -> Following:
        names = await asyncio.gather(*map(self._own_name, found.channels))
        own = dict(zip(found.channels, names, strict=True))
        return Following(
            {own[name]: value for name, value in found.values.items()},
            tuple(own[name] for name in found.unknown),
        )

    async def _own_name(self, name: str) -> str:
        """The name of a follower behind its alias; as it stands where nobody can tell."""
        if name not in self._names:
            try:
                self._names[name] = (await self._own.open(name)).record.channel
            except (IocLostError, LookupError) as error:
                self._session.note(f"what follows a write, {name}, can't be looked at: {error}")
                self._names[name] = name.removesuffix(".VAL")  # nor does every write search for it
        return self._names[name]

    async def _look_at_machine(self, conditions: Iterable[Condition]) -> None:
        """Read the guards, and the conditions of a channel, once each."""
        guards = (*self._facilities.quotas.guards, *self._session.opening.guards)
        unread = self.recorder.unread((*guards, *conditions))
        states = await asyncio.gather(*(self._state(condition) for condition in unread))
        for condition, state in zip(unread, states, strict=True):
            self.recorder.machine(condition, state)

    async def _state(self, condition: Condition) -> MachineState:
        found = {"channel": condition.channel, "op": condition.op, "value": condition.value}
        try:
            reading = await self._facilities.reader.read(condition.channel)
        except (IocLostError, LookupError, UnfitValueError) as error:
            return MachineState(**found, reads=f"can't be read: {error}", holds=False)
        return MachineState(**found, reads=str(reading), holds=holds(condition, reading))

    async def _look_again(self) -> None:
        """Find out which of the written channels something else has moved meanwhile."""
        free = asyncio.Semaphore(_TOGETHER)
        looks = {
            asyncio.create_task(self._look(channel, free)): channel
            for channel in self.recorder.channels.values()
            if not channel.moved_by
        }
        if not looks:
            return
        done, late = await asyncio.wait(looks, timeout=_LOOK_SECONDS)
        for look in late:
            look.cancel()
            looks[look].not_seen(f"no answer in {_LOOK_SECONDS:g} s")
        for look in done:
            if (error := look.exception()) is not None:
                looks[look].not_seen(error)

    async def _look(self, channel: RecordedChannel, free: asyncio.Semaphore) -> None:
        async with free:
            setpoint = await self._own.open(channel.used)
            channel.seen((await setpoint.read()).value)


async def _motor(circuit: IocCircuit, name: str) -> Motor:
    offset, direction = await asyncio.gather(
        number_of_field(circuit, f"{name}.OFF"), number_of_field(circuit, f"{name}.DIR")
    )
    return Motor(offset, -1 if direction else 1)


async def _digits(circuit: IocCircuit, name: str) -> int | None:
    try:
        return int(await number_of_field(circuit, f"{name}.PREC"))
    except LookupError:
        return None


def _refused(record: Record, judged: Judged, reason: str) -> RefusedError:
    value = told(judged.received.value)
    return RefusedError(
        ChannelLimitsViolationError(record.channel, value, ViolationType.NOT_ALLOWED, reason)
    )
