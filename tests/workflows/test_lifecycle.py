"""From request to result: attempts, feedback, and what ends an execution."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from runpermit.errors import (
    ChannelLimitsViolationError,
    CodeAnalysisError,
    CodeGenerationError,
    CodeRuntimeError,
    CodeSyntaxError,
    ContainerConfigurationError,
    ExecutionTimeoutError,
    MaxAttemptsExceededError,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.limits import LimitsFile
from runpermit.models import Memo, NotebookType, Stage
from runpermit.models.wire import canonical_sha256
from workflows.steps import Timeouts

DIVISION = CodeRuntimeError("division by zero", "Traceback: …", 1)


async def test_success(lab: Any) -> None:
    running = await lab.start()
    result = await running.result()

    assert result.execution_result.results == {"done": True}
    assert result.generated_code == lab.programs.read
    assert result.generation_attempt == 1
    assert result.decisions == []
    state = await running.state()
    assert [change.stage for change in state.stages] == [
        Stage.PREPARING,
        Stage.GENERATING,
        Stage.ANALYSING,
        Stage.EXECUTING,
        Stage.SUCCEEDED,
    ]
    assert state.is_successful
    assert not state.is_failed
    assert state.execution_result == result
    assert await running.handle.query("code") == lab.programs.read
    assert await running.failed_tasks() == 0


async def test_the_request_in_the_state_names_the_folder_that_was_made(lab: Any) -> None:
    running = await lab.start()
    await running.result()
    state = await running.state()

    assert state.request.execution_folder_path == "/srv/executions/2026-01/orbit"
    assert state.execution_folder.folder_path.name == "orbit"


async def test_notebooks_are_numbered_in_the_order_in_which_they_are_written(lab: Any) -> None:
    lab.script.runs = [DIVISION, {"done": True}]
    running = await lab.start()
    await running.result()
    notebooks = (await running.state()).execution_folder.notebook_attempts

    assert [notebook.attempt_number for notebook in notebooks] == [1, 2, 3, 4, 5]
    assert notebooks[0].notebook_path.name == "01_generation.ipynb"
    assert notebooks[3].notebook_path.name == "04_execution.ipynb"
    assert notebooks[4].notebook_type is NotebookType.FINAL_SUCCESS


async def test_the_next_generation_receives_the_error_of_the_last_run(lab: Any) -> None:
    lab.script.runs = [DIVISION, {"done": True}]
    lab.script.programs = [lab.programs.read, lab.programs.other_read]
    result = await (await lab.start()).result()

    first, second = lab.script.tasks("generate")
    assert first.errors == []
    [error] = second.errors
    assert error.error_message == "division by zero"
    assert error.error_type == "execution"
    assert error.failed_code == lab.programs.read
    assert error.traceback == "Traceback: …"
    assert result.generated_code == lab.programs.other_read
    assert result.generation_attempt == 2


async def test_syntax_errors_go_back_to_the_generator(lab: Any) -> None:
    lab.script.programs = [lab.programs.no_python, lab.programs.read]
    await (await lab.start()).result()

    [error] = lab.script.tasks("generate")[1].errors
    assert error.error_type == "syntax"
    assert len(lab.script.tasks("execute")) == 1


async def test_constants_beyond_the_limits_go_back_to_the_generator(lab: Any) -> None:
    lab.script.programs = [lab.programs.beyond_limits, lab.programs.read]
    await (await lab.start()).result()

    [error] = lab.script.tasks("generate")[1].errors
    assert error.error_type == "analysis"
    assert "SR:HCM1:SP" in error.error_message
    assert lab.script.tasks("apply") == []


async def test_the_code_of_an_earlier_attempt_is_never_analysed_for_a_failed_generation(
    lab: Any,
) -> None:
    nothing = CodeGenerationError("the model gave no code", 2, [])
    lab.script.programs = [lab.programs.read, nothing, lab.programs.other_read]
    lab.script.runs = [DIVISION, {"done": True}]
    result = await (await lab.start()).result()

    analysed = [task.code for task in lab.script.tasks("analyse")]
    assert analysed == [lab.programs.read, lab.programs.other_read]
    assert lab.script.tasks("generate")[2].errors[1].failed_code is None
    assert result.generation_attempt == 3


async def test_attempts_exhausted_ends_with_the_chain(lab: Any) -> None:
    nothing = CodeGenerationError("the model gave no code", 1, [])
    lab.script.programs = [nothing, lab.programs.no_python, lab.programs.read]
    lab.script.runs = [DIVISION]
    running = await lab.start(retries=3)
    error = await running.failure()

    assert isinstance(error, MaxAttemptsExceededError)
    assert error.max_attempts == 3
    assert error.error_chain[0] == "the model gave no code"
    assert error.error_chain[2] == "division by zero"
    assert str(error.folder_path) == "/srv/executions/2026-01/orbit"
    assert len(lab.script.tasks("generate")) == 3
    [conclusion] = lab.script.tasks("conclude")
    assert conclusion.stage == Stage.FAILED
    assert "division by zero" in conclusion.failure
    state = await running.state()
    assert state.is_failed
    assert not state.is_successful


async def test_a_next_generation_is_told_of_the_last_five_failures_at_most(lab: Any) -> None:
    lab.script.runs = [CodeRuntimeError(f"failure {n}", "", n) for n in range(1, 8)]
    await (await lab.start(retries=7)).failure()

    told = [error.error_message for error in lab.script.tasks("generate")[-1].errors]
    assert told == [f"failure {n}" for n in range(2, 7)]


@pytest.mark.parametrize(
    ("code", "failure", "kind"),
    [
        ("read", DIVISION, CodeRuntimeError),
        ("no_python", None, CodeSyntaxError),
        ("beyond_limits", None, ChannelLimitsViolationError),
    ],
)
async def test_approved_code_ends_with_its_first_failure_itself(
    lab: Any, code: str, failure: Exception | None, kind: type[Exception]
) -> None:
    lab.script.runs = [failure]
    error = await (await lab.start(approved_code=getattr(lab.programs, code))).failure()

    assert type(error) is kind
    assert lab.script.tasks("generate") == []


async def test_approved_code_that_reads_runs_at_once(lab: Any) -> None:
    result = await (await lab.start(approved_code=lab.programs.read)).result()

    assert result.generated_code == lab.programs.read
    assert result.generation_attempt == 1
    assert lab.script.tasks("generate") == []


async def test_approved_code_that_writes_must_be_approved_like_any_other(lab: Any) -> None:
    running = await lab.start(approved_code=lab.programs.write)
    pending = await running.pending()

    assert pending.code == lab.programs.write
    assert lab.script.tasks("apply") == []


async def test_an_outage_is_tried_again_with_the_same_input(lab: Any) -> None:
    away = ServiceUnavailableError("the model does not answer", "model")
    lab.script.programs = [away, away, lab.programs.read]
    running = await lab.start()
    await running.result()

    tries = lab.script.tasks("generate")
    assert len(tries) == 3
    assert tries[0] == tries[1] == tries[2]
    state = await running.state()
    assert state.generation_attempt == 1
    assert state.error_chain == []


async def test_an_outage_that_lasts_ends_with_its_last_cause_in_bounded_time(lab: Any) -> None:
    lab.script.programs = [ServiceUnavailableError("the model does not answer", "model")]
    lab.script.deployment = {"timeouts": Timeouts(generation=60, retry=120, host=100)}
    running = await lab.start()
    error = await running.failure()

    assert isinstance(error, ServiceUnavailableError)
    assert error.message == "the model does not answer"
    assert error.service == "model"
    stages = (await running.state()).stages
    took = stages[-1].at - stages[0].at
    assert took < timedelta(seconds=60 + 30 + 120 + 100 + 60)
    assert 4 < len(lab.script.tasks("generate")) < 12
    assert [task.stage for task in lab.script.tasks("conclude")] == [Stage.FAILED]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ContainerConfigurationError("generation.model is not set"), ContainerConfigurationError),
        (ValueError("nobody foresaw this"), WorkflowError),
    ],
)
async def test_wrong_settings_and_the_unforeseen_end_at_once_with_one_try(
    lab: Any, failure: Exception, kind: type[Exception]
) -> None:
    lab.script.programs = [failure]
    error = await (await lab.start()).failure()

    assert type(error) is kind
    assert str(failure) in str(error)
    assert len(lab.script.tasks("generate")) == 1


async def test_a_timeout_of_the_code_is_not_run_again(lab: Any) -> None:
    lab.script.runs = [ExecutionTimeoutError(600)]
    error = await (await lab.start()).failure()

    assert isinstance(error, ExecutionTimeoutError)
    assert error.timeout_seconds == 600
    assert len(lab.script.tasks("execute")) == 1


async def test_a_failed_preparation_ends_without_a_notebook(lab: Any) -> None:
    lab.script.preparations = [ContainerConfigurationError("executions.root can't be written")]
    error = await (await lab.start()).failure()

    assert isinstance(error, ContainerConfigurationError)
    assert lab.script.tasks("conclude") == []


async def test_a_notebook_that_can_t_be_written_does_not_hide_the_failure(lab: Any) -> None:
    lab.script.runs = [ExecutionTimeoutError(600)]
    lab.script.conclusions = [ContainerConfigurationError("the disk is read-only")]
    running = await lab.start()

    assert isinstance(await running.failure(), ExecutionTimeoutError)
    assert (await running.state()).current_stage is Stage.FAILED


async def test_the_code_runs_as_long_as_the_request_says_and_the_deployment_allows(
    lab: Any,
) -> None:
    await (await lab.start(timeout_seconds=30)).result()
    await (await lab.start(timeout_seconds=100_000)).result()
    await (await lab.start()).result()

    assert [task.timeout for task in lab.script.tasks("execute")] == [30, 600, 600]


async def test_a_run_that_only_reads_is_done_again_where_its_worker_was_lost(lab: Any) -> None:
    lost = asyncio.Event()

    async def silent(_task: Any) -> dict[str, Any]:
        await lost.wait()
        return {}

    lab.script.runs = [silent, {"done": True}]
    lab.script.deployment = {"timeouts": Timeouts(heartbeat=0.3)}
    result = await (await lab.start()).result()
    lost.set()

    assert result.execution_result.results == {"done": True}
    assert result.generation_attempt == 1


async def test_refused_code_is_named_by_the_analysis(lab: Any, script: Any) -> None:
    async def refused(_task: Any) -> Any:
        raise CodeAnalysisError("The code is refused: eval", ["eval in line 1"])

    script.runs = [refused, {"done": True}]
    await (await lab.start()).result()

    [error] = script.tasks("generate")[1].errors
    assert error.analysis_issues == ["eval in line 1"]


async def test_the_memo_tells_the_stage_and_the_request_without_a_worker(lab: Any) -> None:
    running = await lab.start(user_query="x" * 10_000)
    await running.result()
    description = await running.handle.describe()
    memo = Memo.model_validate(await description.memo())

    assert memo.stage is Stage.SUCCEEDED
    assert memo.host == "testhost"
    state = await running.state()
    sent = state.request.model_copy(update={"execution_folder_path": None})
    assert memo.request_sha256 == canonical_sha256(sent)


async def test_the_memo_stays_below_two_kilobytes(lab: Any) -> None:
    name = "SR:" + "A" * 500
    lab.script.limits = LimitsFile(lab.script.limits.path, allow_unlisted=True)
    writes = "".join(f"write_channel({name + str(n)!r}, {n})\n" for n in range(50))
    running = await lab.start(approved_code=writes + "results = {}\n")
    await running.pending()
    description = await running.handle.describe()
    memo = description.raw_description.workflow_execution_info.memo

    assert memo.ByteSize() < 2048
    assert (await running.state()).current_stage is Stage.AWAITING_APPROVAL


async def test_every_payload_of_a_history_is_strict_json(lab: Any, strictly: Any) -> None:
    lab.script.runs = [
        ChannelLimitsViolationError("SR:X", float("nan"), "INVALID_VALUE", "no", float("-inf")),
    ]
    lab.script.applies = [{"value": {"_type": "float", "value": "nan"}}]
    running = await lab.start()
    await running.pending()
    await running.signal("approve")
    await running.result()

    payloads = await running.payloads()
    assert len(payloads) > 20
    for payload in payloads:
        strictly(payload)
