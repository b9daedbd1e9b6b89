"""What static analysis says of a program. It explains and chooses where to start; it protects
nothing.
"""

from enum import StrEnum
from typing import Any

from runpermit.models.modes import ExecutionMode
from runpermit.models.wire import Message


class Severity(StrEnum):
    """How bad the worst finding is; `error` means that the program must not run."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class ChannelUse(Message):
    """One place where the code reads or writes a channel.

    `channel` is None where the name is computed; `value` counts only where `value_known`.
    """

    call: str
    line: int
    channel: str | None = None
    value: Any = None
    value_known: bool = False


class AnalysisResult(Message):
    """Syntax, imports, risky calls, and the channels that the code reads and writes."""

    issues: list[str] = []
    recommendations: list[str] = []
    severity: Severity = Severity.INFO
    imports: list[str] = []
    reads: list[ChannelUse] = []
    writes: list[ChannelUse] = []
    has_epics_reads: bool = False
    has_epics_writes: bool = False
    execution_mode: ExecutionMode = ExecutionMode.READ_ONLY
