"""The gate's own look at channels, on its own circuits: for all kinds of conditions."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from gate.channel_access.directory import Directory
from gate.channel_access.ioc_circuit import Address, IocCircuit, IocLostError, OwnChannel
from gate.channel_access.values import INVALID, Dbr, Target, UnfitValueError, Value, decode_seen
from runpermit.limits.values import shown

_ANSWER_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Reading:
    """A channel's value, and the name of its state where it is an enum."""

    value: Value
    state: str | None

    def __str__(self) -> str:
        """For messages: the value, with its state."""
        return f"{shown(self.value)} ({self.state})" if self.state else shown(self.value)

    def equals(self, wanted: str | float) -> bool:
        """Whether it is `wanted`: text is compared with state or text, a number with a number."""
        if isinstance(wanted, str):
            return wanted in (self.state, self.value)
        return not isinstance(self.value, str | tuple) and self.value == wanted


@dataclass(frozen=True)
class OpenChannel:
    """A channel that is open on one of the gate's own circuits."""

    circuit: IocCircuit
    channel: OwnChannel
    target: Target

    async def read(self) -> Reading:
        """Its value now. Raises IocLostError, LookupError, UnfitValueError."""
        frame = await self.circuit.read(self.channel.sid, self.target.seen_type, 1)
        return self.reading(frame.count, frame.payload)

    def reading(self, count: int, payload: bytes) -> Reading:
        """The value in a reply of `target.seen_type`.

        Raises UnfitValueError, also for one that its record itself calls invalid: an IOC that lost
        its device goes on telling the last value.
        """
        value, severity, names = decode_seen(self.target, count, payload)
        if severity >= INVALID:
            raise UnfitValueError(f"its record is in INVALID alarm, beside the value {value!r}")
        state = names[value] if isinstance(value, int) and value < len(names) else None
        return Reading(value, state)


async def open_channel(circuit: IocCircuit, name: str) -> OpenChannel:
    """Open `name` on `circuit`. Raises IocLostError, LookupError."""
    channel = await circuit.open(name)
    if channel.dtype not in Dbr.__members__.values():
        raise LookupError(f"{name} is of the unknown type {channel.dtype}")
    return OpenChannel(circuit, channel, Target(Dbr(channel.dtype), 1))


class ChannelReader:
    """Reads single channels; one circuit for each IOC, opened when it is first needed."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._circuits: dict[Address, IocCircuit] = {}
        self._channels: dict[str, OpenChannel] = {}
        self._opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def read(self, name: str) -> Reading:
        """The value of `name` now. Raises IocLostError, LookupError, UnfitValueError."""
        known = self._channels.get(name)
        if known is None or known.circuit.closed:
            async with self._opening[name]:
                known = self._channels.get(name)
                if known is None or known.circuit.closed:
                    known = await self._open(name)
                    self._channels[name] = known
        try:
            return await known.read()
        except (IocLostError, LookupError):
            # What does not answer is asked anew next time, from the search on.
            self._directory.forget(known.circuit.address)
            known.circuit.close()
            raise

    def close(self) -> None:
        """End all circuits."""
        for circuit in self._circuits.values():
            circuit.close()

    async def _open(self, name: str) -> OpenChannel:
        address = await self._directory.find(name)
        if address is None:
            raise LookupError(f"no IOC has {name}")
        circuit = self._circuits.get(address)
        if circuit is None or circuit.closed:
            circuit = IocCircuit(address, limit=_ANSWER_BYTES)
            self._circuits[address] = circuit
        try:
            return await open_channel(circuit, name)
        except IocLostError:
            circuit.close()  # and with it what was asked for in vain
            raise
