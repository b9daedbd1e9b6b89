"""`python -m tests.gate.lenient_gate`: a gate whose permits let everything pass that limits do.

For tests of all that is judged beside the plan; those of permits run the gate as it is.
"""

import sys

import gate.permits.opening
from gate.__main__ import main
from gate.channel_access.values import Value
from gate.permits.enforcement import Enforcement
from runpermit.limits import LimitsValidator, ViolationType


class Lenient(Enforcement):
    def standing(self) -> tuple[ViolationType, str] | None:
        return None

    def limits(self, now: LimitsValidator) -> tuple[LimitsValidator, ...] | None:
        return (now,)

    def changed(self, *_: str | Value) -> str | None:
        return None

    def outside(self, *_: str | Value) -> str | None:
        return None


if __name__ == "__main__":
    gate.permits.opening.Enforcement = Lenient  # type: ignore[misc]
    sys.exit(main())
