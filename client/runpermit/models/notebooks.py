"""The notebooks of an execution, and the folder that holds them."""

from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from runpermit.models.wire import Message


class NotebookType(StrEnum):
    """At which point of an execution a notebook was written."""

    CODE_GENERATION_ATTEMPT = "code_generation_attempt"
    PRE_EXECUTION = "pre_execution"
    EXECUTION_ATTEMPT = "execution_attempt"
    FINAL_SUCCESS = "final_success"
    FINAL_FAILURE = "final_failure"


class NotebookAttempt(Message):
    """One notebook: where it lies and what it tells."""

    notebook_type: NotebookType
    attempt_number: int
    stage: str
    notebook_path: Path
    notebook_link: str
    error_context: str | None = None
    created_at: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return self.model_dump(mode="json")


class PythonExecutionContext(BaseModel):
    """The folder of an execution and its notebooks so far."""

    model_config = ConfigDict(extra="forbid")

    folder_path: Path | None = None
    folder_url: str | None = None
    attempts_folder: Path | None = None
    context_file_path: Path | None = None
    notebook_attempts: list[NotebookAttempt] = []

    @property
    def is_initialized(self) -> bool:
        """Whether the folder exists."""
        return self.folder_path is not None

    def add_notebook_attempt(self, attempt: NotebookAttempt) -> None:
        """Keep a record of one more notebook."""
        self.notebook_attempts.append(attempt)

    def get_next_attempt_number(self) -> int:
        """The number of the next notebook, from 1."""
        return len(self.notebook_attempts) + 1
