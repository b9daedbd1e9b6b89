"""A gate that keeps no session to its plan: the pyepics tests write what nobody ever rehearsed.

Everything else of it is the gate: records, values, limits, locks, journal.
"""

import sys

from gate import opening
from gate.__main__ import main
from gate.enforcement import Enforcement
from gate.values import Value


class Unbound(Enforcement):
    """Lets pass what no plan has, and goes on after a refusal."""

    def latch(self, channel: str, reason: str) -> None:
        """Pass over it."""

    def outside(self, channel: str, live: Value, value: Value) -> str | None:
        """Find nothing outside."""
        del channel, live, value


if __name__ == "__main__":
    opening.Enforcement = Unbound  # type: ignore[misc]
    sys.exit(main())
