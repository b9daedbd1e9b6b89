"""Input of any shape ends with a typed error, never with a task that fails for ever."""

from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload, Payloads, WorkflowType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.common import RetryPolicy

from runpermit.errors import ContainerConfigurationError, InvalidRequestError
from runpermit.models import Stage
from runpermit.names import TASK_QUEUE


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ([], "request"),
        ([{}, {}], "request"),
        ([None], "request"),
        ([[1, 2]], "request"),
        (["run this"], "request"),
        ([3], "request"),
        ([{}], "user_query"),
        ([{"user_query": "a", "task_objective": "b", "execution_folder_name": "../c"}],
         "execution_folder_name"),
        ([{"user_query": "a", "task_objective": "b", "execution_folder_name": "c", "colour": 1}],
         "colour"),
        ([{"user_query": "a", "task_objective": "b", "execution_folder_name": "c",
           "execution_folder_path": "/etc"}], "execution_folder_path"),
        ([{"user_query": "a", "task_objective": "b", "execution_folder_name": "c",
           "retries": 21}], "retries"),
    ],
)  # fmt: skip
async def test_input_that_is_no_request_fails_typed(
    lab: Any, inputs: list[Any], field: str
) -> None:
    running = await lab.start(inputs=inputs)
    error = await running.failure()

    assert isinstance(error, InvalidRequestError)
    assert error.field == field
    assert lab.script.calls == []
    state = await running.state()
    assert state.current_stage is Stage.FAILED
    assert state.failure_reason == error.message
    assert await running.failed_tasks() == 0


@pytest.mark.parametrize(
    "payload",
    [
        Payload(metadata={"encoding": b"no/such"}, data=b"\x00\xff"),
        Payload(metadata={"encoding": b"json/plain"}, data=b"{not json"),
        Payload(metadata={"encoding": b"json/plain"}, data=b'{"user_query": NaN}'),
        Payload(metadata={"encoding": b"json/plain"}, data=b'{"a":' * 5000),
        Payload(metadata={"encoding": b"json/plain"}, data=b'{"user_query": "\\ud800"}'),
        Payload(data=b"{}"),
    ],
    ids=["encoding", "broken", "nan", "deep", "surrogate", "no encoding"],
)
async def test_input_that_can_t_be_decoded_fails_typed(lab: Any, payload: Payload) -> None:
    await lab.client.workflow_service.start_workflow_execution(
        StartWorkflowExecutionRequest(
            namespace="default",
            workflow_id="raw",
            request_id="raw",
            workflow_type=WorkflowType(name="PythonExecution"),
            task_queue=TaskQueue(name=TASK_QUEUE),
            input=Payloads(payloads=[payload]),
        )
    )
    running = lab.attach("raw")
    error = await running.failure()

    assert isinstance(error, InvalidRequestError)
    assert await running.failed_tasks() == 0


async def test_a_number_that_is_none_is_refused_with_its_place(lab: Any) -> None:
    text = b'{"user_query":"a","task_objective":"b","execution_folder_name":"c",'
    text += b'"capability_context_data":{"orbit":[1,NaN]}}'
    await lab.client.workflow_service.start_workflow_execution(
        StartWorkflowExecutionRequest(
            namespace="default",
            workflow_id="raw",
            request_id="raw",
            workflow_type=WorkflowType(name="PythonExecution"),
            task_queue=TaskQueue(name=TASK_QUEUE),
            input=Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=text)]),
        )
    )
    error = await lab.attach("raw").failure()

    assert isinstance(error, InvalidRequestError)
    assert "capability_context_data.orbit[1]" in error.message


async def test_an_execution_that_temporal_would_retry_is_refused(lab: Any) -> None:
    running = await lab.start_with({"retry_policy": RetryPolicy(maximum_attempts=2)})
    error = await running.failure()

    assert isinstance(error, InvalidRequestError)
    assert error.field == "retry_policy"
    assert lab.script.calls == []


@pytest.mark.parametrize("option", ["run_timeout", "execution_timeout"])
async def test_under_a_timeout_of_the_caller_nothing_writes(lab: Any, option: str) -> None:
    running = await lab.start_with({option: timedelta(hours=1)}, approved_code=lab.programs.write)
    error = await running.failure()

    assert isinstance(error, ContainerConfigurationError)
    assert "run or execution timeout" in error.message
    assert lab.script.tasks("apply", "draft") == []


async def test_under_a_timeout_of_the_caller_reads_run(lab: Any) -> None:
    running = await lab.start_with({"run_timeout": timedelta(hours=1)})

    assert (await running.result()).execution_result.results == {"done": True}


@pytest.mark.parametrize(
    ("deployment", "setting"),
    [
        ({"writes_enabled": False}, "control_system.writes_enabled"),
        ({"isolation": "none"}, "kernels.isolation"),
        ({"limits": {"enabled": True, "path": "/srv/limits.json", "sha256": None, "channels": 0,
                     "allow_unlisted": False, "error": "/srv/limits.json line 3: a comma"}},
         "/srv/limits.json line 3"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("given", [True, False], ids=["approved code", "generated"])
async def test_writes_where_none_may_be_are_a_matter_of_configuration(
    lab: Any, deployment: dict[str, Any], setting: str, *, given: bool
) -> None:
    lab.script.deployment = deployment
    lab.script.programs = [lab.programs.write]
    fields = {"approved_code": lab.programs.write} if given else {}
    error = await (await lab.start(**fields)).failure()

    assert isinstance(error, ContainerConfigurationError)
    assert setting in error.message
    assert len(lab.script.tasks("generate")) == (0 if given else 1)
    assert lab.script.tasks("apply", "draft") == []
