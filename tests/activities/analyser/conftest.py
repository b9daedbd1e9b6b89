from collections.abc import Callable

import pytest

from activities.analyser import analyse_code
from runpermit.limits import LimitsValidator
from runpermit.models.analysis import AnalysisResult
from runpermit.models.modes import ExecutionControlConfig


@pytest.fixture
def analyse() -> Callable[..., AnalysisResult]:
    def run(
        code: str, validator: LimitsValidator | None = None, *, writes: bool = True
    ) -> AnalysisResult:
        control = ExecutionControlConfig(control_system_writes_enabled=writes)
        return analyse_code(
            code, validator=validator or LimitsValidator(None, enabled=False), control=control
        )

    return run
