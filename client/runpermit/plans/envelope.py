"""What an approved plan lets a program write."""

from runpermit.models.plan import Plan
from runpermit.plans.values import Value


class Envelope:
    """What `plan` still allows; counts what was forwarded. One for the session of a permit."""

    def __init__(self, plan: Plan) -> None:
        self._channels = {channel.channel: channel for channel in plan.channels}

    def drift(self, channel: str, live: Value | None) -> str | None:
        """Why `channel`, which reads `live` before its first write, is no longer as planned."""
        return "is not in the approved plan" if channel not in self._channels else None

    def refusal(self, channel: str, value: Value) -> str | None:
        """Why the next write may not set `channel` to `value`, None where it may."""
        return "is not in the approved plan" if channel not in self._channels else None

    def forwarded(self, channel: str, value: Value) -> None:
        """Count a write that was let pass; the next one is judged after it."""
