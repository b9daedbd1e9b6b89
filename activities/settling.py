"""Settle and verify: what the gate says of an apply, and whether the devices followed."""

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path

import structlog
from pydantic import ValidationError
from temporalio import activity

from activities.folder import disk
from activities.heartbeat import heartbeating
from activities.house import House
from runpermit.models import Verdict, WriteReport
from runpermit.models.wire import Message
from workflows.steps import Executed, Reached, ReachTask, Settled, SettleTask, Verified, VerifyTask

log = structlog.get_logger()


class Applied(Message):
    """What an apply left in the folder, for whoever asks what came of `permit`."""

    permit: str
    executed: Executed


class Settling:
    """All are idempotent: the gate fences what is still open, and tells the same again."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="settle")
    async def settle(self, task: SettleTask) -> Settled:
        """Fence, then read. Raises ServiceUnavailableError while the gate does not answer."""
        folder = task.folder
        async with heartbeating():
            told = await self._house.gate.verdict(task.permit, task.execution)
        read_at = datetime.now(UTC)
        executed = None
        if told.verdict is Verdict.COMPLETED:
            executed = await asyncio.to_thread(_executed, folder.applied, task.permit)
        return Settled(
            verdict=told.verdict,
            writes=WriteReport.of(told.writes, told.forwarded, folder.journal),
            changes=[change.brief() for change in told.changes],
            read_at=read_at,
            reason=told.reason,
            executed=executed,
        )

    @activity.defn(name="reach")
    async def reach(self, task: ReachTask) -> Reached:
        """Little more than an answer. Raises ServiceUnavailableError while the gate gives none."""
        del task
        return Reached(inhibited=(await self._house.gate.status()).inhibited)

    @activity.defn(name="verify")
    async def verify(self, task: VerifyTask) -> Verified:
        """Wait for the devices. Raises ServiceUnavailableError while the gate does not answer."""
        async with heartbeating():
            channels = await self._house.gate.verify(task.permit, task.execution)
        return Verified(channels=channels)


def _executed(path: Path, permit: str) -> Executed | None:
    """What the apply with `permit` left; None where it was lost before."""
    with disk(path), contextlib.suppress(FileNotFoundError):
        try:
            applied = Applied.model_validate_json(path.read_bytes())
        except ValidationError as error:
            log.warning("what an apply left can't be read", path=str(path), why=str(error))
            return None
        return applied.executed if applied.permit == permit else None
    return None
