"""Canned programs in place of a model: each behaviour is one way that an attempt can go."""

from collections.abc import Sequence

from activities.generators.interface import GeneratedCode, GenerationTask
from runpermit.config import GenerationSettings
from runpermit.errors import ContainerConfigurationError

_SUCCESS = """\
values = [1.0, 2.0, 3.0]
results = {"count": len(values), "mean": sum(values) / len(values)}
print("mean", results["mean"])
"""
_RUNTIME_ERROR = """\
values = []
results = {"mean": sum(values) / len(values)}
"""

# The channels are those of the demo's ring (demo/limits.json). No facility's limits list them,
# so that there a mock program can write nothing.
_PROGRAMS = {
    "success": _SUCCESS,
    "syntax_error": "results = {'mean': (1.0 + 2.0}\n",
    "runtime_error": _RUNTIME_ERROR,
    "missing_results": "mean = (1.0 + 2.0) / 2\nprint(mean)\n",
    "channel_write": (
        'write_channel("SR:HCM1:SP", 0.1)\nresults = {"readback": read_channel("SR:HCM1:RB")}\n'
    ),
    "channel_read": 'results = {"beam_current": read_channel("SR:BEAM:CURRENT")}\n',
    "security_risk": (
        'import subprocess\n\noutput = subprocess.run(["id"], capture_output=True, text=True)\n'
        'results = {"user": output.stdout}\n'
    ),
}
_ERROR_AWARE = "error_aware"
BEHAVIOURS = (*_PROGRAMS, _ERROR_AWARE)


class MockGenerator:
    """Gives the program of `behavior`, one of BEHAVIOURS, at every attempt.

    `error_aware` fails at run time until the task brings errors, and succeeds then. A
    `code_sequence` goes before: its n-th program is for the n-th attempt, and the last repeats.
    """

    def __init__(self, behavior: str = "success", code_sequence: Sequence[str] = ()) -> None:
        if behavior not in BEHAVIOURS:
            raise ContainerConfigurationError(
                f'generation.model = "{behavior}" is no behaviour of the mock generator. '
                f"Choose one of: {', '.join(BEHAVIOURS)}."
            )
        self._behavior = behavior
        self._sequence = tuple(code_sequence)

    async def generate(self, task: GenerationTask) -> GeneratedCode:
        """The canned program; depends on the task alone, so that a retry gives the same."""
        metadata = {"generator": "mock", "behavior": self._behavior}
        if self._sequence:
            index = min(max(task.attempt, 1), len(self._sequence)) - 1
            metadata["behavior"] = "code_sequence"
            return GeneratedCode(code=self._sequence[index], metadata=metadata)
        return GeneratedCode(code=self._program(task), metadata=metadata)

    def _program(self, task: GenerationTask) -> str:
        if self._behavior == _ERROR_AWARE:
            return _SUCCESS if task.errors else _RUNTIME_ERROR
        return _PROGRAMS[self._behavior]


def from_settings(settings: GenerationSettings) -> MockGenerator:
    """The behaviour that `generation.model` names; "success" where it is not set."""
    return MockGenerator(settings.model or "success")
