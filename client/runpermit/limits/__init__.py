"""What may be written to which channel: the facility's limits database and the rules on it.

Pure rules that gate, rehearsal, analysis and command line share; only `LimitsFile` reads a disk.
"""

from runpermit.limits.database import LimitsDatabase
from runpermit.limits.entry import (
    ChannelLimitsConfig,
    Condition,
    ConditionOperator,
    Readback,
    TargetValue,
    Verification,
    VerificationLevel,
)
from runpermit.limits.file import LimitsFile, LimitsStatus
from runpermit.limits.rules import CurrentValue
from runpermit.limits.validator import LimitsValidator
from runpermit.limits.violations import ViolationType

__all__ = [
    "ChannelLimitsConfig",
    "Condition",
    "ConditionOperator",
    "CurrentValue",
    "LimitsDatabase",
    "LimitsFile",
    "LimitsStatus",
    "LimitsValidator",
    "Readback",
    "TargetValue",
    "Verification",
    "VerificationLevel",
    "ViolationType",
]
