"""What comes after an apply, with real IOCs and journal, in the test's own process."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gate.aftermath.left_machines import LeftMachines
from gate.aftermath.restoring import Restorer
from gate.aftermath.stopping import Stopper
from gate.aftermath.verifying import Verifier
from gate.channel_access import ioc_circuit
from gate.channel_access.directory import Directory
from gate.channel_access.own_channels import OwnChannels
from gate.channel_access.reading import ChannelReader
from gate.channel_access.values import Value
from gate.channel_access.watched_channel import WatchedIocs
from gate.journal.journal import Journal
from gate.journal.reading import records
from gate.messages import Refusal
from gate.permits.claims import Claims
from gate.permits.index import PermitIndex
from gate.permits.permits import Permits
from gate.permits.yes import KnownYes
from gate.policy.conditions import ConditionReader
from gate.policy.inhibit import Inhibit
from gate.policy.locks import RecordLock
from gate.policy.writing import Writer
from runpermit.config import ControlSystemSettings, GateSettings, Settings
from runpermit.limits import Condition, LimitsFile
from runpermit.models import LeftChange, RestoredChannel, RestoreReport

ARRAY_BYTES = 1024 * 1024


@dataclass
class Program:
    """The session of an apply."""

    identity: dict[str, object]
    may_write = True
    enforcement = None

    def has_room_for(self, _: Refusal) -> bool:
        return True


# In this process. Whoever ends a test waits so long, and what runs in the gate's own as it should.
ioc_circuit.LINGER_SECONDS = 0.05


async def lingering() -> None:
    """Wait until circuits that carried put callbacks have ended."""
    await asyncio.sleep(ioc_circuit.LINGER_SECONDS * 1.2)


class Bench:
    """All that a restore needs of a gate, in this process."""

    def __init__(self, folder: Path, *ports: int, guards: Sequence[Condition] = ()) -> None:
        self.folder = folder
        self.settings = Settings(
            control_system=ControlSystemSettings(writes_enabled=True),
            gate=GateSettings(journal=folder / "journal", claim_wait=0.1, guards=list(guards)),
        )
        self.applying = False
        self.directory = Directory([f"127.0.0.1:{port}" for port in ports], [])
        self.journal = Journal.open(folder / "journal")
        self.inhibit = Inhibit(folder, self.journal)
        self.reader = ChannelReader(self.directory)
        self.claims = Claims()
        self.set_limits({})
        limits = LimitsFile(folder / "limits.json", allow_unlisted=True)
        self.writer = Writer(
            limits=limits,
            journal=self.journal,
            inhibit=self.inhibit,
            conditions=ConditionReader(self.reader),
        )
        iocs = WatchedIocs(self.directory)
        self.stopper = Stopper(self.directory, self.journal, limits)
        self.verifier = Verifier(
            directory=self.directory,
            iocs=iocs,
            journal=self.journal,
            limits=limits,
            quotas=self.settings.gate,
        )
        self.restorer = Restorer(
            directory=self.directory,
            iocs=iocs,
            writer=self.writer,
            stopper=self.stopper,
            journal=self.journal,
            limits=limits,
            inhibit=self.inhibit,
            claims=self.claims,
            left=LeftMachines(self.journal, PermitIndex(folder / "journal")),
            settings=self.settings,
            is_applying=lambda _: self.applying,
        )

    def set_limits(self, limits: Mapping[str, Any]) -> None:
        new = self.folder / "limits.new"
        new.write_text(json.dumps({"defaults": {"min_interval": 0}, **limits}))
        new.replace(self.folder / "limits.json")

    async def apply(
        self, *writes: tuple[str, Value], execution: str = "e", permit: str = "p", **why_not: str
    ) -> None:
        """Write as a program does that was approved."""
        known = {channel: "" for channel, _ in writes} | why_not
        identity = {"session": "apply-1", "execution": execution, "attempt": 3, "permit": permit}
        await self.journal.write("permit_consumed", **identity, first_run_id="r", channels=known)
        own = OwnChannels(self.directory, ARRAY_BYTES)
        try:
            for channel, value in writes:
                setpoint = await own.open(channel)
                put = setpoint.put(value)
                done = await self.writer.write(
                    Program(identity), setpoint.circuit, setpoint.record, put.attempted,
                    put.message,
                )  # fmt: skip
                assert not isinstance(done, Refusal), done
                await done
                await asyncio.wait_for(put.answered, 30)
        finally:
            own.close()

    async def restore(self, execution: str = "e") -> RestoreReport:
        return await self.restorer.restore(execution, KnownYes("jd"))

    async def only(self) -> RestoredChannel:
        (channel,) = (await self.restore()).channels
        return channel

    async def changes(self, permit: str) -> list[LeftChange]:
        """What a gate that is started anew says in its verdict on `permit`."""
        index = PermitIndex.scan(self.folder / "journal")
        permits = Permits(self.journal, index, self.directory, ARRAY_BYTES)
        return (await permits.verdict(permit, "e")).changes

    def journalled(self, event: str) -> list[dict[str, Any]]:
        return [r for r in records(self.folder / "journal") if r["event"] == event]

    def steps(self) -> list[Any]:
        """What restores wrote."""
        return [r["new"] for r in self.journalled("write") if r["session"].startswith("restore-")]

    async def close(self) -> None:
        self.reader.close()
        self.directory.close()
        await self.journal.close()
        await lingering()


@asynccontextmanager
async def bench_for(
    folder: Path, *ports: int, guards: Sequence[Condition] = ()
) -> AsyncIterator[Bench]:
    bench = Bench(folder, *ports, guards=guards)
    try:
        yield bench
    finally:
        await bench.close()


class Pace:
    """Steps wait for no pace until so many were written; the next one then waits till it may go on.

    As everywhere, what no limits pace waits for nothing.
    """

    def __init__(self, steps: int) -> None:
        self.waiting, self.go_on = asyncio.Event(), asyncio.Event()
        self._left = steps

    async def paced(self, _: float, wanted: Callable[[], bool]) -> bool:
        """Stands in the place of RecordLock.paced."""
        self._left -= 1
        if self._left >= 0:
            return False
        self.waiting.set()
        while wanted() and not self.go_on.is_set():  # noqa: ASYNC110  (two ends)
            await asyncio.sleep(0.005)
        return True


def paces(monkeypatch: pytest.MonkeyPatch, steps: int) -> Pace:
    """How steps are paced from now on."""
    pace = Pace(steps)

    def paced(_: RecordLock, interval: float, wanted: Callable[[], bool]) -> Awaitable[bool]:
        return pace.paced(interval, wanted)

    monkeypatch.setattr(RecordLock, "paced", paced)
    return pace


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0.005)
