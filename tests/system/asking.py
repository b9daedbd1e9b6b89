"""How the tests of plans ask, answer and look."""

import asyncio
from pathlib import Path
from typing import Any

from demo.model_server import PROGRAMS
from runpermit.models import PendingApproval, PendingRestore, PythonServiceResult, Stage
from tests.system.machine import Machine

_OURS = Path(__file__).parent / "programs"


def program(name: str) -> str:
    """A recorded program of the demo, or one of ours."""
    own = _OURS / f"{name}.py"
    return (own if own.exists() else PROGRAMS / f"{name}.py").read_text()


async def approve(handle: Any, pending: PendingApproval) -> None:
    await handle.signal(f"approve-{pending.revision}", {"operator": "jd"})


async def next_question(house: Any, handle: Any, after: int) -> PendingApproval:
    """The question that follows number `after`."""
    async with asyncio.timeout(60):
        while True:
            pending: PendingApproval = await house.question(handle)
            if pending.number > after:
                return pending
            await asyncio.sleep(0.1)


async def rehearsed(
    house: Any, machine: Machine, code: str, **fields: Any
) -> tuple[Any, PendingApproval]:
    """Start it, and wait for its question: until then the machine has received nothing."""
    before = await machine.counts()
    handle = await house.start(code, **fields)
    pending = await house.question(handle)
    assert await machine.since(before) == {}
    return handle, pending


async def applied(house: Any, handle: Any, pending: PendingApproval) -> PythonServiceResult:
    """Approve it; its result, whose report agrees with its plan."""
    await approve(handle, pending)
    result: PythonServiceResult = await house.result(handle)
    assert result.writes is not None
    assert result.plan == pending.plan
    return result


async def left_changed(house: Any, handle: Any) -> PendingRestore:
    """The question about a machine that was left changed."""
    pending: PendingRestore | None = (
        await house.reach(handle, Stage.AWAITING_RESTORE)
    ).pending_restore
    assert pending is not None
    return pending
