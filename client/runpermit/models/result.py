"""What comes back from an execution."""

from pathlib import Path
from typing import Any

from runpermit.models.approval import DecisionRecord
from runpermit.models.modes import Isolation
from runpermit.models.plan import Plan
from runpermit.models.restore import RestoreReport, VerifiedChannel
from runpermit.models.wire import Message
from runpermit.models.writes import WriteReport


class PythonExecutionSuccess(Message):
    """What one run of the code left. `execution_time` in seconds."""

    results: dict[str, Any]
    stdout: str
    execution_time: float
    folder_path: Path
    notebook_path: Path
    notebook_link: str
    figure_paths: list[Path] = []

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values; `execution_time` is called `execution_time_seconds`."""
        fields = self.model_dump(mode="json")
        fields["execution_time_seconds"] = fields.pop("execution_time")
        return fields


class PythonServiceResult(Message):
    """The result of an execution that succeeded; a failed one raises instead.

    `writes` is None where the code could only read. `verified` tells of each channel that was
    written whether its device followed. `restore` is what was put back, where that was asked for.
    """

    execution_result: PythonExecutionSuccess
    generated_code: str
    generation_attempt: int = 1
    analysis_warnings: list[str] = []
    isolation: Isolation | None = None
    plan: Plan | None = None
    writes: WriteReport | None = None
    verified: list[VerifiedChannel] = []
    restore: RestoreReport | None = None
    decisions: list[DecisionRecord] = []
