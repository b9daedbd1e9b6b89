"""A ramp of writes through a house that notices soon, and what the IOC has received of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.service import RPCError

from demo.stack import Stack
from runpermit.models import Stage
from tests.system.machine import Machine, Own, forwarded, own_gate

RAMP = (Path(__file__).parent / "programs" / "slow_ramp.py").read_text()
SETPOINT = "SR:HCM5:SP"
PLANNED = 15
LEASE = 1.0
_SETTINGS = {"timeouts": {"heartbeat": 3, "retry": 60}, "gate": {"lease": LEASE}}
_ANSWERED = frozenset({Stage.AWAITING_RESTORE, Stage.SUCCEEDED, Stage.FAILED, Stage.STOPPED})


@asynccontextmanager
async def fragile_house(
    stack: Stack, open_house: Callable[..., Awaitable[Any]], name: str
) -> AsyncIterator[Own]:
    """A house that notices soon, with a gate of its own; its workers the tests start and end."""
    async with own_gate(stack, open_house, name, _SETTINGS) as own:
        yield own


@dataclass
class Ramp:
    """One approved ramp, and what the IOC has received of it."""

    own: Own
    machine: Machine
    handle: Any
    before: dict[str, int]
    start: float

    async def count(self) -> int:
        """The puts that the IOC has received since the approval, of any channel."""
        return sum((await self.machine.since(self.before)).values())

    async def reaches(self, count: int) -> None:
        """Wait until so many have arrived."""
        async with asyncio.timeout(40):
            while await self.count() < count:  # noqa: ASYNC110  (of the IOC)
                await asyncio.sleep(0.02)

    async def stands(self, after: float = 0.0) -> int:
        """The count, which does not grow any more `after` so many seconds."""
        await asyncio.sleep(after)
        count = await self.count()
        await asyncio.sleep(1.0)
        assert await self.count() == count
        return count

    async def answered(self, within: float = 60) -> Stage:
        """The stage at which it has told what became of it."""
        async with asyncio.timeout(within):
            while True:
                with contextlib.suppress(RPCError):
                    state = await self.own.house.state(self.handle)
                    if state.current_stage in _ANSWERED:
                        return Stage(state.current_stage)
                await asyncio.sleep(0.1)

    async def agrees(self, *, uncertain: int = 0) -> int:
        """The IOC's count, which the journal tells as well, and which the plan allows.

        `uncertain`: so many the journal may tell more, that were on their way when the gate died.
        """
        count = await self.count()
        assert count <= PLANNED
        told = forwarded(self.own.journal, self.handle.id).get(SETPOINT, 0)
        assert count <= told <= count + uncertain
        return count

    async def left(self) -> None:
        """Answer MACHINE LEFT CHANGED with leave: nothing is written, and its error tells of it."""
        state = await self.own.house.state(self.handle)
        assert state.pending_restore is not None
        [change] = state.pending_restore.changes
        assert change.channel == SETPOINT
        assert change.before == pytest.approx(self.start)
        assert change.reads == await self.machine.number(SETPOINT)
        count = await self.count()
        await self.handle.signal(f"leave-{state.pending_restore.revision}")
        error = await self.own.house.failure(self.handle)
        assert error.technical_details["verdict"] == "partial"
        assert error.technical_details["left_changed"]
        assert await self.count() == count


async def begun(own: Own, machine: Machine) -> Ramp:
    """A ramp that is rehearsed and approved."""
    position = await machine.number(SETPOINT)
    if position > 2:  # of its range
        await machine.set(SETPOINT, 0.0)
        position = 0.0
    handle = await own.house.start(RAMP)
    pending = await own.house.question(handle)
    assert pending.plan.count == PLANNED
    before = await machine.counts()
    await handle.signal(f"approve-{pending.revision}", {"operator": "jd"})
    return Ramp(own, machine, handle, before, position)
