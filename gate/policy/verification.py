"""Whether a write was taken: what is read back, compared as the channel's `verification` says.

The record's setpoint is read back for `callback` and `readback` alike.
"""

import math

from gate.channel_access.values import Value
from gate.messages import WriteOutcome
from runpermit.limits import ChannelLimitsConfig, VerificationLevel

# Of the value, where the limits database says none; a whole number reads back exactly.
DEFAULT_TOLERANCE = 0.001
_MINOR = 1


def outcome(
    sent: Value, read: Value, severity: int, entry: ChannelLimitsConfig | None
) -> WriteOutcome:
    """What became of a write of `sent` that reads back as `read`, in alarm of `severity`."""
    level = entry.verification.level if entry is not None else VerificationLevel.CALLBACK
    if level is VerificationLevel.NONE:
        return WriteOutcome.NOT_VERIFIED
    if not same(sent, read, entry):
        return WriteOutcome.DIFFERS
    return WriteOutcome.ALARM if severity > _MINOR else WriteOutcome.CONFIRMED


def same(sent: Value, read: Value, entry: ChannelLimitsConfig | None) -> bool:
    """Whether `read` is `sent`, within the channel's tolerance."""
    if isinstance(sent, tuple) or isinstance(read, tuple):
        sent = sent if isinstance(sent, tuple) else (sent,)
        read = read if isinstance(read, tuple) else (read,)
        return len(sent) == len(read) and all(
            same(one, other, entry) for one, other in zip(sent, read, strict=True)
        )
    if isinstance(sent, str) or isinstance(read, str):
        return sent == read
    return math.isclose(sent, read, rel_tol=0, abs_tol=tolerance(sent, entry))


def tolerance(value: float, entry: ChannelLimitsConfig | None) -> float:
    """How far from `value` a channel may read that was set to it."""
    verification = entry.verification if entry is not None else None
    if verification is not None and verification.tolerance_absolute is not None:
        return verification.tolerance_absolute
    if verification is not None and verification.tolerance_percent is not None:
        return abs(value) * verification.tolerance_percent / 100
    return 0 if isinstance(value, int) else abs(value) * DEFAULT_TOLERANCE
