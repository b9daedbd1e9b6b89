from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from runpermit.errors import ContainerConfigurationError, InvalidRequestError
from workflows.refusals import refuse_caller_retries, refuse_writes


def started(**how: Any) -> Any:
    plain: dict[str, Any] = {
        "retry_policy": None,
        "cron_schedule": None,
        "run_timeout": None,
        "execution_timeout": None,
    }
    return SimpleNamespace(**(plain | how))


def deployed(**how: Any) -> Any:
    limits = SimpleNamespace(enabled=True, error=None)
    plain = {"writes_enabled": True, "control_system_type": "mock", "limits": limits}
    return SimpleNamespace(**(plain | how))


def test_a_plain_start_is_accepted() -> None:
    refuse_caller_retries(started())
    refuse_writes(deployed(), started())


@pytest.mark.parametrize("how", [{"retry_policy": object()}, {"cron_schedule": "0 3 * * *"}])
def test_a_start_that_temporal_would_repeat_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="never repeated") as refused:
        refuse_caller_retries(started(**how))
    assert refused.value.field == "retry_policy"


@pytest.mark.parametrize(
    ("how", "setting"),
    [
        ({"writes_enabled": False}, "control_system.writes_enabled"),
        ({"control_system_type": "epics"}, "control_system.type"),
        ({"limits": SimpleNamespace(enabled=True, error="line 3: comma")}, "line 3: comma"),
    ],
)
def test_writes_are_refused_with_the_setting_named(how: dict[str, Any], setting: str) -> None:
    with pytest.raises(ContainerConfigurationError, match=setting):
        refuse_writes(deployed(**how), started())


@pytest.mark.parametrize("name", ["run_timeout", "execution_timeout"])
def test_writes_are_refused_under_a_timeout_of_the_caller(name: str) -> None:
    with pytest.raises(ContainerConfigurationError, match="timeout"):
        refuse_writes(deployed(), started(**{name: timedelta(hours=1)}))
