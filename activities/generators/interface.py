"""What every generator takes and gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from runpermit.limits import ChannelLimitsConfig
from runpermit.models import ExecutionError, PythonExecutionRequest
from workflows.steps import GeneratedCode

__all__ = ["CodeGenerator", "GeneratedCode", "GenerationTask"]


@dataclass(frozen=True)
class GenerationTask:
    """All that a generator may know of the program it shall write.

    `attempt` counts from 1; `errors` are the failures so far, oldest first. `kernel_packages`
    are what the program can import beside the standard library; empty where that is not known.
    """

    request: PythonExecutionRequest
    attempt: int = 1
    errors: Sequence[ExecutionError] = ()
    channels: Mapping[str, ChannelLimitsConfig] = field(default_factory=dict)
    writes_enabled: bool = False
    kernel_packages: Sequence[str] = ()


@runtime_checkable
class CodeGenerator(Protocol):
    """Writes one program for a task.

    A generator keeps nothing from call to call that changes its answer: activities are retried,
    and workers restart. It raises CodeGenerationError for an answer that is no program,
    ServiceUnavailableError for an outage and ContainerConfigurationError for a wrong setting.
    """

    async def generate(self, task: GenerationTask) -> GeneratedCode:
        """The program for `task`; it may have syntax errors, which analysis tells best."""
        ...
