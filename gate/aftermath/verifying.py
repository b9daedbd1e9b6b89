"""After an apply: whether setpoints read what they were set to last, and devices went there."""

import asyncio
import math
from dataclasses import dataclass

from gate.aftermath.putting_back import briefly
from gate.channel_access.directory import Directory
from gate.channel_access.own_channels import OwnChannels
from gate.channel_access.values import UnfitValueError
from gate.channel_access.watched_channel import WatchedChannel, WatchedIocs
from gate.journal.channel_story import Left, as_value, equals
from gate.journal.execution_story import ExecutionStory
from gate.journal.journal import Journal
from gate.policy.devices import Expected, number_of
from gate.rehearsal.description import Live, live_of
from runpermit.config import GateSettings
from runpermit.limits import ChannelLimitsConfig, LimitsFile, Readback, VerificationLevel
from runpermit.models import FollowOutcome, VerifiedChannel

# A search for a channel that nobody has takes 1.4 s.
_FIRST_SECONDS = 3.0
_TOGETHER = 20


@dataclass(frozen=True)
class _Device:
    """Where a device is, and where it should be."""

    outcome: FollowOutcome
    expected: float | None = None
    reads: float | None = None


class Verifier:
    """Looks at setpoints and devices, on the gate's own circuits."""

    def __init__(
        self,
        *,
        directory: Directory,
        iocs: WatchedIocs,
        journal: Journal,
        limits: LimitsFile,
        quotas: GateSettings,
    ) -> None:
        self._directory = directory
        self._iocs = iocs
        self._journal = journal
        self._limits = limits
        self._quotas = quotas

    async def verify(self, permit: str, execution: str) -> list[VerifiedChannel]:
        """What became of the channels that `execution` wrote last under `permit`.

        In the order of the first write to each; waits as long as their devices may take. Raises
        ServiceUnavailableError where the journal can't be read.
        """
        story = await ExecutionStory.read(self._quotas.journal, execution)
        own = OwnChannels(self._directory, self._quotas.array_bytes)
        free = asyncio.Semaphore(_TOGETHER)
        try:
            found = await asyncio.gather(
                *(
                    self._verified(own, free, left, story.earlier.get(left.channel, {}))
                    for left in story.left()
                    if left.permit == permit
                )
            )
        finally:
            own.close()
        for channel in found:
            self._journal.note(
                "verified", execution=execution, permit=permit, **channel.model_dump(mode="json")
            )
        return list(found)

    async def _verified(
        self,
        own: OwnChannels,
        free: asyncio.Semaphore,
        left: Left,
        earlier: dict[FollowOutcome, int],
    ) -> VerifiedChannel:
        database = self._limits.validator.database
        entry = database.find(left.channel) if database is not None else None
        readback = entry.readback if entry is not None else None
        live, device = await asyncio.gather(
            _live(own, free, left.name), self._device(left, entry, readback)
        )
        return VerifiedChannel(
            channel=left.channel,
            written=briefly(left.written),
            reads=briefly(live.value) if live is not None else None,
            accepted=live is not None and _is_accepted(left, live, entry),
            device=readback.channel if readback is not None else "",
            expected=device.expected,
            device_reads=device.reads,
            outcome=device.outcome if live is not None else FollowOutcome.UNREADABLE,
            alarm=live.alarm if live is not None else "",
            earlier=earlier,
        )

    async def _device(
        self, left: Left, entry: ChannelLimitsConfig | None, readback: Readback | None
    ) -> _Device:
        """Wait until the device is where it was sent, or its time is over."""
        expected = Expected.after(as_value(left.written), entry)
        if readback is None or expected is None:
            return _Device(FollowOutcome.UNCHECKED)
        if not math.isfinite(expected.value):
            return _Device(FollowOutcome.UNREADABLE)
        changed = asyncio.Event()
        channel = WatchedChannel(readback.channel, self._iocs, changed.set)
        try:
            reads = await _reaching(channel, changed, expected)
        finally:
            await channel.close()
        if reads is None:
            return _Device(FollowOutcome.UNREADABLE, expected.value)
        followed = expected.is_at(reads)
        outcome = FollowOutcome.FOLLOWED if followed else FollowOutcome.NOT_FOLLOWED
        return _Device(outcome, expected.value, reads)


async def _live(own: OwnChannels, free: asyncio.Semaphore, name: str) -> Live | None:
    """What a setpoint reads, None where it can't be told."""
    try:
        async with free:
            setpoint = await own.open(name)
            seen_type = setpoint.record.target.seen_type
            return await live_of(
                setpoint.record, await setpoint.circuit.read(setpoint.sid, seen_type, 0)
            )
    except (ConnectionError, LookupError, UnfitValueError):
        return None


def _is_accepted(left: Left, live: Live, entry: ChannelLimitsConfig | None) -> bool:
    if entry is not None and entry.verification.level is VerificationLevel.NONE:
        return True
    return equals(left.written, live.value, entry)


async def _reaching(
    channel: WatchedChannel, changed: asyncio.Event, expected: Expected
) -> float | None:
    """What a device reads once it is there, or its time is over; None if unreadable."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    try:
        async with asyncio.timeout(_FIRST_SECONDS):
            await channel.told.wait()
        async with asyncio.timeout_at(start + expected.settle):
            while True:
                changed.clear()
                reads = number_of(channel)
                if expected.is_at(reads):
                    return reads
                await changed.wait()
    except TimeoutError:
        return number_of(channel)
