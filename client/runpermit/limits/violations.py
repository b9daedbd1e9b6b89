"""The reasons for which a write is refused."""

from enum import StrEnum


class ViolationType(StrEnum):
    """Why a write was refused; the `violation_type` of a ChannelLimitsViolationError.

    `LimitsValidator` gives all but the last three, which need the machine's or the plan's state.
    """

    MIN_EXCEEDED = "MIN_EXCEEDED"
    MAX_EXCEEDED = "MAX_EXCEEDED"
    READ_ONLY_CHANNEL = "READ_ONLY_CHANNEL"
    UNLISTED_CHANNEL = "UNLISTED_CHANNEL"
    MAX_STEP_EXCEEDED = "MAX_STEP_EXCEEDED"
    STEP_CHECK_FAILED = "STEP_CHECK_FAILED"
    INVALID_VALUE = "INVALID_VALUE"
    NOT_ALLOWED = "NOT_ALLOWED"
    FIELD_NOT_LISTED = "FIELD_NOT_LISTED"
    LIMITS_UNAVAILABLE = "LIMITS_UNAVAILABLE"
    INHIBITED = "INHIBITED"
    CONDITION_FAILED = "CONDITION_FAILED"
    OUTSIDE_PLAN = "OUTSIDE_PLAN"
