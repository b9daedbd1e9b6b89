"""Permits for tests: for a plan that was made up, or one that lets nothing in particular pass."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from runpermit.models import (
    Declaration,
    MachineState,
    Permit,
    Plan,
    PlanKind,
    PlannedChannel,
    PlannedWrite,
    Revision,
)
from runpermit.models.permit import Yes

MADE_UP = "X:"  # how the channels begin that no IOC has


def declared(channel: str, live: float, low: float, high: float, most: int) -> Plan:
    """The plan of a program that said `plan(channel, low, high, most)`."""
    return Plan(
        kind=PlanKind.DECLARED,
        channels=[PlannedChannel(channel=channel, live=live, tolerance=0.5, restorable=True)],
        declared=[Declaration(channel=channel, low=low, high=high, max_writes=most)],
    )


def planned(
    writes: Sequence[tuple[str, float]],
    live: dict[str, float] | None = None,
    tolerance: float = 0.5,
    machine: Sequence[MachineState] = (),
    **fields: Any,
) -> Plan:
    """The plan of a program whose rehearsal wrote these numbers, to channels that read `live`."""
    live = live or {}
    channels = []
    for name in dict.fromkeys(channel for channel, _ in writes):
        values = [value for channel, value in writes if channel == name]
        channels.append(
            PlannedChannel(
                channel=name,
                live=live.get(name, 0.0),
                writes=len(values),
                low=min(values),
                high=max(values),
                last=values[-1],
                tolerance=tolerance,
                **({"restorable": True} | fields),
            )
        )
    return Plan(
        kind=PlanKind.COMPLETE,
        writes=[PlannedWrite(channel=name, new=value) for name, value in writes],
        channels=channels,
        machine=list(machine),
        rehearsed_at=datetime.now(UTC),
    )


def of_its_own() -> Plan:
    """A plan whose only channel no other one has, so that nobody waits for it."""
    return declared(f"{MADE_UP}{secrets.token_hex(8)}", 0, 0, 0, 1)


def permit(
    plan: Plan, execution: str, limits_sha256: str, code: str | None = None, **fields: Any
) -> Permit:
    """A yes to `plan`, just now; to other `code` than every other one, where none is given."""
    revision = Revision(
        workflow_id=execution,
        first_run_id="r",
        number=1,
        code=code if code is not None else f"# {secrets.token_hex(8)}",
        plan=plan,
        limits_sha256=limits_sha256,
        inputs={},
        kernel_environment="",
    )
    return Permit.model_validate(
        {"revision": revision, "decided_at": datetime.now(UTC), "approvals": [Yes(operator="jd")]}
        | fields
    )
