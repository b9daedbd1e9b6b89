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
from workflows.refusals import accept_start, refuse_writes, refused_in_reading, refused_write

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


@pytest.mark.parametrize("value", [0.1, 3, "On", [1, 2]])
def test_a_write_refused_in_reading_is_planned_as_the_gate_told_it(value: Any) -> None:
    write = refused_write(ChannelLimitsViolationError("A", value, "NOT_ALLOWED", "reads only"))
    assert (write.channel, write.value, write.value_known) == ("A", value, True)
    assert write.line is None
    assert f"a write to A = {value} in the read-only run" in refused_in_reading(write)


@pytest.mark.parametrize("value", [None, {"_type": "array", "count": 9999}, list(range(20))])
def test_a_value_that_was_not_told_whole_is_not_taken_for_known(value: Any) -> None:
    write = refused_write(ChannelLimitsViolationError("A", value, "NOT_ALLOWED", "reads only"))
    assert (write.value, write.value_known) == (None, False)
    assert "a write to A = a value" in refused_in_reading(write)
