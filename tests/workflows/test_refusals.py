from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from runpermit.errors import (
    ChannelLimitsViolationError,
    ContainerConfigurationError,
    InvalidRequestError,
)
from runpermit.models import GateStatus, Isolation
from workflows.refusals import accept_start, refuse_writes, refused_in_reading

REQUEST = {"user_query": "?", "task_objective": "!", "execution_folder_name": "orbit"}
OPEN = GateStatus(
    inhibited=None,
    writes=True,
    limits_error=None,
    limits_enabled=True,
    limits_sha256="0" * 64,
    journal_protected=True,
)


def started(**how: Any) -> Any:
    plain: dict[str, Any] = {
        "workflow_id": "orbit-1",
        "retry_policy": None,
        "cron_schedule": None,
        "run_timeout": None,
        "execution_timeout": None,
    }
    return SimpleNamespace(**(plain | how))


def deployed(**how: Any) -> Any:
    limits = SimpleNamespace(enabled=True, error=None)
    plain = {"writes_enabled": True, "isolation": Isolation.FULL, "limits": limits, "gate": OPEN}
    return SimpleNamespace(**(plain | how))


def test_a_plain_start_is_accepted() -> None:
    assert accept_start((REQUEST,), started()).execution_folder_name == "orbit"
    refuse_writes(deployed(), started())


@pytest.mark.parametrize("how", [{"retry_policy": object()}, {"cron_schedule": "0 3 * * *"}])
def test_a_start_that_temporal_would_repeat_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="never repeated") as refused:
        accept_start((REQUEST,), started(**how))
    assert refused.value.field == "retry_policy"


def test_a_workflow_id_that_forges_lines_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="line breaks") as refused:
        accept_start((REQUEST,), started(workflow_id="orbit\nAPPROVED"))
    assert refused.value.field == "id"


@pytest.mark.parametrize(
    ("how", "setting"),
    [
        ({"writes_enabled": False}, "control_system.writes_enabled"),
        ({"isolation": Isolation.NONE}, "kernels.isolation"),
        ({"limits": SimpleNamespace(enabled=True, error="line 3: comma")}, "line 3: comma"),
        ({"gate": OPEN.model_copy(update={"writes": False})}, "writes_enabled.*its own settings"),
        ({"gate": OPEN.model_copy(update={"no_writes": "gate.shared_user"})}, "gate.shared_user"),
        ({"gate": OPEN.model_copy(update={"limits_error": "gone"})}, "gate.*limits: gone"),
    ],
)
def test_writes_are_refused_with_the_setting_named(how: dict[str, Any], setting: str) -> None:
    with pytest.raises(ContainerConfigurationError, match=setting):
        refuse_writes(deployed(**how), started())


@pytest.mark.parametrize("name", ["run_timeout", "execution_timeout"])
def test_writes_are_refused_under_a_timeout_of_the_caller(name: str) -> None:
    with pytest.raises(ContainerConfigurationError, match="timeout"):
        refuse_writes(deployed(), started(**{name: timedelta(hours=1)}))


@pytest.mark.parametrize(
    ("value", "said"), [(0.1, "0.1"), ("On", "On"), ([1, 2], "[1, 2]"), ("a\nb", "a b")]
)
def test_a_write_refused_in_reading_is_told_on_one_line(value: Any, said: str) -> None:
    why = refused_in_reading(ChannelLimitsViolationError("A", value, "NOT_ALLOWED", "reads only"))
    assert f"a write to A = {said} in the read-only run" in why


def test_of_a_long_value_that_was_refused_the_beginning_is_told() -> None:
    why = refused_in_reading(ChannelLimitsViolationError("A", list(range(900)), "V", "reads only"))
    assert len(why) < 200
