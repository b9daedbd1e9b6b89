"""`python -m tests.security.labs_gate`: a gate that keeps real plans, and is lenient beside them.

Programs that are to be contained by the limits alone come with a plan that was made up, of a
channel that no IOC has; those against the plan itself find the gate as it is.
"""

import sys

import gate.permits.opening
from gate.__main__ import main
from gate.permits.enforcement import Enforcement, Guarding, Watching
from runpermit.limits import LimitsValidator
from runpermit.models import Plan
from tests.gate.giving_permits import MADE_UP
from tests.gate.lenient_gate import Lenient


def enforcement(
    permit: str, plan: Plan, limits: LimitsValidator, guards: Guarding, devices: Watching
) -> Enforcement:
    """What keeps a session within `plan`."""
    made_up = all(channel.channel.startswith(MADE_UP) for channel in plan.channels)
    return (Lenient if made_up else Enforcement)(permit, plan, limits, guards, devices)


if __name__ == "__main__":
    gate.permits.opening.Enforcement = enforcement  # type: ignore[assignment,misc]
    sys.exit(main())
