"""Openings of sessions that write: each measured one needs a permit of its own."""

import itertools
from datetime import UTC, datetime

from gate.client import GateClient, Opening, SessionMode
from runpermit.models import Declaration, Isolation, Permit, Plan, Revision
from runpermit.plans import build_plan

EXECUTION = "bench"
_numbers = itertools.count(1)


def opening(mode: SessionMode, permit: Permit | None = None) -> Opening:
    """What a measured session says of itself."""
    return Opening(
        execution=EXECUTION,
        run_id=EXECUTION,
        attempt=1,
        mode=mode,
        isolation=Isolation.FULL,
        permit=permit,
    )


async def permit_for(gate: GateClient, plan: Plan) -> Permit:
    """A permit for `plan` that was never used."""
    revision = Revision(
        workflow_id=EXECUTION,
        first_run_id=EXECUTION,
        number=next(_numbers),
        code="",
        plan=plan,
        limits_sha256=(await gate.status()).limits_sha256,
        inputs={},
        kernel_environment="",
    )
    return Permit(revision=revision, decided_at=datetime.now(UTC))


async def declared_permit(gate: GateClient, *channels: str) -> Permit:
    """A permit to write `channels` as their limits allow, often."""
    known = await gate.describe(channels)
    ranges = [
        Declaration(
            channel=channel.channel,
            low=channel.min_value or 0,
            high=channel.max_value or 0,
            max_writes=1_000_000,
        )
        for channel in known
    ]
    plan = build_plan(
        writes=[],
        left_out=0,
        channels=known,
        reads=[],
        unknown=[],
        machine=[],
        upstream="",
        declared=ranges,
        problem="",
        waits=None,
        at=datetime.now(UTC),
    )
    return await permit_for(gate, plan)
