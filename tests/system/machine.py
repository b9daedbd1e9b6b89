"""The machine itself, past every gate, and houses before which a gate of their own stands."""

import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.optics import CORRECTOR_START
from demo.stack import Gate, Stack, running_gate
from gate.channel_access.values import Value
from gate.journal.reading import records
from tests.gate.raw_client import RawClient

_SETPOINTS = [f"SR:HCM{number}" for number in range(1, 7)]
COUNTERS = {
    **{f"{name}:SP": f"{name}:PUTS" for name in _SETPOINTS},
    "SR:MODE": "SR:MODE:PUTS",
    "SR:OPERATOR:NOTE": "SR:OPERATOR:NOTE:PUTS",
    "SR:RF:RAMP": "SR:RF:RAMP:PUTS",
    "SR:SLIT:POS": "SR:SLIT:POS:PUTS",
    "SR:SLIT:STOP": "SR:SLIT:STOP:PUTS",
    "SR:TUNER:SP": "SR:TUNER:PUTS",
}
Counts = dict[str, int]


@dataclass(frozen=True)
class Machine:
    """The ring at `port`: what is true of it, and what somebody else does to it."""

    port: int

    async def read(self, *channels: str) -> list[Value]:
        """What channels read, in their order."""
        client = await RawClient.connect(self.port)
        try:
            return [await client.value(await client.open(name)) for name in channels]
        finally:
            await client.close()

    async def number(self, channel: str) -> float:
        """What one channel reads."""
        (value,) = await self.read(channel)
        assert isinstance(value, int | float)
        return value

    async def set(self, channel: str, number: float) -> None:
        """Another hand than ours sets a channel."""
        client = await RawClient.connect(self.port)
        try:
            # Without a callback: an IOC may crash where a circuit ends right behind its answer.
            answer = await client.put_number(await client.open(channel), number, callback=False)
            assert answer.error is None
        finally:
            await client.close()

    async def counts(self) -> Counts:
        """How many puts the IOC has received, by setpoint."""
        values = await self.read(*COUNTERS.values())
        return {name: int(float(str(v))) for name, v in zip(COUNTERS, values, strict=True)}

    async def since(self, before: Counts) -> Counts:
        """How many puts came since `before`, where any came."""
        now = await self.counts()
        return {name: now[name] - before[name] for name in now if now[name] != before[name]}


async def to_its_start(machine: Machine) -> None:
    """Set the correctors as the ring began."""
    for number, current in enumerate(CORRECTOR_START, 1):
        await machine.set(f"SR:HCM{number}:SP", float(current))


def forwarded(journal: Path, execution: str) -> Counts:
    """How many writes of an execution left its gate, as the journal has it, by record."""
    found = [entry for entry in records(journal) if entry.get("execution") == execution]
    kept = {entry["of"] for entry in records(journal) if entry["event"] == "not_forwarded"}
    writes = [e for e in found if e["event"] == "write" and e["seq"] not in kept]
    return dict(Counter(entry["channel"] for entry in writes))


@dataclass
class Own:
    """A house with a gate of its own."""

    house: Any
    gate: Gate

    @property
    def journal(self) -> Path:
        """The folder of its gate's journal."""
        return Path(self.house.stack.gate_journal)


@asynccontextmanager
async def own_gate(
    stack: Stack,
    open_house: Callable[..., Awaitable[Any]],
    name: str,
    settings: Mapping[str, Mapping[str, Any]],
) -> AsyncIterator[Own]:
    """A house before whose machine a gate of its own stands; its worker is not started."""
    house = await house_apart(stack, open_house, name, settings)
    async with running_gate(house.stack) as gate:
        yield Own(house, gate)


async def house_apart(
    stack: Stack,
    open_house: Callable[..., Awaitable[Any]],
    name: str,
    settings: Mapping[str, Mapping[str, Any]],
) -> Any:
    """A house with a place for a gate of its own; neither that nor its worker is started."""
    # Sockets have short paths, and the session's lies in a short folder.
    socket = stack.gate_socket.with_name(f"{name}.sock")
    journal = stack.directory / name / "journal"
    places = {"socket": str(socket), "journal": str(journal)}
    house = await open_house(name, {**settings, "gate": {**settings.get("gate", {}), **places}})
    house.stack = dataclasses.replace(house.stack, gate_socket=socket, gate_journal=journal)
    return house
