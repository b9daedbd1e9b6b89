"""What a check of the doctor says."""

from enum import StrEnum

from runpermit.models.wire import Message


class Verdict(StrEnum):
    """How a check came out; `fail` means that executions can't run as configured."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(Message):
    """One finding, and what to do about it."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""
