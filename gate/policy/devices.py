"""Whether devices go where their setpoints say, write by write, on circuits of the gate's own."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from gate.channel_access.values import Value
from gate.channel_access.watched_channel import WatchedChannel, WatchedIocs
from gate.policy.verification import tolerance
from runpermit.limits import ChannelLimitsConfig, LimitsValidator
from runpermit.models import FollowOutcome

SETTLE_SECONDS = 5.0
"""How long a device may take, where the limits database does not say."""

_MOST = 100  # devices that are watched in a session; of others the last write alone is judged


@dataclass(frozen=True)
class Expected:
    """What a device reads once it followed a write: `value`, within `allowed`, in `settle` s."""

    value: float
    allowed: float
    settle: float

    @classmethod
    def after(cls, written: Value | None, entry: ChannelLimitsConfig | None) -> "Expected | None":
        """Where the device of `entry` should go; None where nothing says so."""
        readback = entry.readback if entry is not None else None
        if readback is None or isinstance(written, str | tuple | None):
            return None
        allowed = readback.tolerance
        if allowed is None:
            allowed = tolerance(float(written), entry) * abs(readback.scale)
        settle = SETTLE_SECONDS if readback.settle_time is None else readback.settle_time
        return cls(float(written) * readback.scale + readback.offset, allowed, settle)

    def is_at(self, reads: float | None) -> bool:
        """Whether a device that reads so has followed."""
        return reads is not None and abs(reads - self.value) <= self.allowed


def number_of(channel: WatchedChannel) -> float | None:
    """What a watched channel reads, where that is a finite number."""
    try:
        value = channel.reading().value
    except LookupError:
        return None
    if isinstance(value, str | tuple) or not math.isfinite(value):
        return None
    return float(value)


class _Device:
    """One device, and how its setpoint's writes ended: `ended` counts all but the last one."""

    def __init__(self, name: str, iocs: WatchedIocs) -> None:
        self.ended: Counter[FollowOutcome] = Counter()
        self._expected: Expected | None = None
        self._outcome: FollowOutcome | None = None
        self._over: asyncio.TimerHandle | None = None
        self._channel = WatchedChannel(name, iocs, self._look)

    def wrote(self, expected: Expected | None) -> None:
        """Its setpoint was written: the write before is done with, however far the device is."""
        if self._expected is not None:
            self.ended[self._outcome or FollowOutcome.SUPERSEDED] += 1
        self._stop()
        self._expected, self._outcome = expected, None
        if expected is not None:
            loop = asyncio.get_running_loop()
            self._over = loop.call_later(expected.settle, self._settled)
            self._look()

    async def close(self) -> None:
        self._stop()
        await self._channel.close()

    def _look(self) -> None:
        expected = self._expected
        if expected is None or self._outcome is not None:
            return
        if expected.is_at(number_of(self._channel)):
            self._outcome = FollowOutcome.FOLLOWED
            self._stop()

    def _settled(self) -> None:
        self._look()
        if self._outcome is None:
            readable = number_of(self._channel) is not None
            self._outcome = FollowOutcome.NOT_FOLLOWED if readable else FollowOutcome.UNREADABLE

    def _stop(self) -> None:
        if self._over is not None:
            self._over.cancel()


class Devices:
    """The devices of `channels` under watch, by their `limits`, while a program writes."""

    def __init__(self, channels: Iterable[str], limits: LimitsValidator, iocs: WatchedIocs) -> None:
        self._limits = limits
        self._devices: dict[str, _Device] = {}
        for channel in channels:
            entry = limits.find(channel)
            if entry is not None and entry.readback is not None and len(self._devices) < _MOST:
                self._devices[channel] = _Device(entry.readback.channel, iocs)

    @property
    def ended(self) -> dict[str, dict[str, int]]:
        """For each channel how many of its writes ended how; of the last one nothing is said."""
        return {
            name: {str(outcome): count for outcome, count in device.ended.items()}
            for name, device in self._devices.items()
            if device.ended
        }

    def wrote(self, channel: str, value: Value) -> None:
        """A write left the gate."""
        if (device := self._devices.get(channel)) is not None:
            device.wrote(Expected.after(value, self._limits.find(channel)))

    async def close(self) -> None:
        """Watch no more."""
        await asyncio.gather(*(device.close() for device in self._devices.values()))
