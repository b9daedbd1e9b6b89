"""How a step introduces itself to the gate."""

from temporalio import activity

from activities.house import House
from gate.client import Opening, SessionMode
from runpermit.limits import Condition
from runpermit.models import Permit


def opening(
    house: House,
    mode: SessionMode,
    attempt: int,
    *,
    permit: Permit | None = None,
    guards: list[Condition] | None = None,
) -> Opening:
    """The opening of a session for the execution whose activity this is."""
    info = activity.info()
    return Opening(
        execution=info.workflow_id or "",
        run_id=info.workflow_run_id or "",
        attempt=attempt,
        mode=mode,
        isolation=house.kernels.isolation,
        permit=permit,
        guards=guards or [],
    )
