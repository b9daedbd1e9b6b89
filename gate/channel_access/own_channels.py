"""Channels that the gate itself reads and writes, as one more client of their IOCs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from gate.aside import aside
from gate.channel_access.directory import Directory
from gate.channel_access.frames import Command, Frame, pack
from gate.channel_access.ioc_circuit import Address, IocCircuit, OwnChannel
from gate.channel_access.records import Record, UnknownRecordError, identify
from gate.channel_access.values import Received, Seen, Value, decode_seen, encode
from gate.policy.attempt import Attempted

_MESSAGE_BYTES = 4096  # beside an array


class _Circuit:
    """A circuit to one IOC, and the put callbacks that it owes an answer to."""

    def __init__(self, address: Address, array_bytes: int) -> None:
        self._callbacks: dict[int, asyncio.Future[bool]] = {}
        self._ids = count(1)
        self.ioc = IocCircuit(
            address,
            limit=array_bytes + _MESSAGE_BYTES,
            on_frames=self._hear,
            on_lost=self._lost,
        )

    def callback(self) -> tuple[int, asyncio.Future[bool]]:
        """An id for a put callback, and whether its IOC answered it."""
        ioid = next(self._ids)
        answered = self._callbacks[ioid] = asyncio.get_running_loop().create_future()
        return ioid, answered

    def _hear(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.command == Command.WRITE_NOTIFY:
                answered = self._callbacks.pop(frame.p2, None)
                if answered is not None:
                    _settle(answered, by_ioc=True)

    def _lost(self) -> None:
        for answered in self._callbacks.values():
            _settle(answered, by_ioc=False)
        self._callbacks.clear()


def _settle(answered: "asyncio.Future[bool]", *, by_ioc: bool) -> None:
    if not answered.done():
        answered.set_result(by_ioc)


@dataclass(frozen=True)
class Put:
    """A write of the gate's own on its way; `answered` once the record has done with it."""

    attempted: Attempted
    message: Callable[[Received], bytes]
    answered: asyncio.Future[bool]

    def forget(self) -> None:
        """Wait no longer for the answer."""
        _settle(self.answered, by_ioc=False)


@dataclass(frozen=True)
class Setpoint:
    """A channel that the gate opened for itself, with the record behind it."""

    name: str
    record: Record
    _circuit: _Circuit
    _channel: OwnChannel

    @property
    def circuit(self) -> IocCircuit:
        """The circuit that it is open on."""
        return self._circuit.ioc

    @property
    def sid(self) -> int:
        """Its id at its IOC."""
        return self._channel.sid

    async def read(self) -> Seen:
        """What it reads, all of it. Raises IocLostError, LookupError, UnfitValueError."""
        target = self.record.target
        frame = await self.circuit.read(self.sid, target.seen_type, 0)
        return await aside(frame.count, decode_seen, target, frame.count, frame.payload)

    def put(self, value: Value) -> Put:
        """A put callback of `value`, a value as this channel reads it."""
        target = self.record.target
        if target.text:
            payload = str(value).encode() + b"\0"
            size = len(payload)
        else:
            items = value if isinstance(value, tuple) else (value,)
            payload, size = encode(target.native, items), len(items)
        ioid, answered = self._circuit.callback()
        attempted = Attempted(self.name, self.sid, target.native, size, payload, answered)

        def message(received: Received) -> bytes:
            return pack(
                Command.WRITE_NOTIFY,
                received.dtype,
                received.count,
                self.sid,
                ioid,
                received.payload,
            )

        return Put(attempted, message, answered)


class OwnChannels:
    """Opens channels for one task of the gate; circuits end with `close`."""

    def __init__(self, directory: Directory, array_bytes: int) -> None:
        self._directory = directory
        self._array_bytes = array_bytes
        self._circuits: dict[Address, _Circuit] = {}

    async def open(self, name: str) -> Setpoint:
        """The channel `name`. Raises IocLostError, LookupError."""
        address = await self._directory.find(name)
        if address is None:
            raise LookupError(f"no IOC has {name}")
        circuit = self._circuits.get(address)
        if circuit is None or circuit.ioc.closed:
            circuit = self._circuits[address] = _Circuit(address, self._array_bytes)
        try:
            channel = await circuit.ioc.open(name)
            record = await identify(circuit.ioc, name, channel.sid, channel.dtype, channel.count)
        except (ConnectionError, UnknownRecordError):
            # It may have moved: the next search must not find it here again.
            self._directory.forget(address)
            raise
        return Setpoint(name, record, circuit, channel)

    def close(self) -> None:
        """End all circuits."""
        for circuit in self._circuits.values():
            circuit.ioc.close()
