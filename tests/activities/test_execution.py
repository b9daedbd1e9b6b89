import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from temporalio.testing import ActivityEnvironment

from activities.execution import Execution
from activities.inputs import manifest
from runpermit.errors import (
    CodeRuntimeError,
    ContainerConfigurationError,
    ExecutionTimeoutError,
    PythonExecutorException,
    WorkflowError,
)
from runpermit.models import ExecutionMode, RunProgress
from workflows.steps import Executed, ExecuteTask

Run = Callable[..., Awaitable[Executed]]
MARK = 'open("ran", "w").close()\nresults = {}\n'


@pytest.fixture
def execute(running: Any) -> Run:
    async def run(task: ExecuteTask) -> Any:
        return await ActivityEnvironment().run(Execution(running.house()).execute, task)

    return run


@pytest.fixture
def apply(running: Any) -> Run:
    async def run(task: ExecuteTask, **sections: Any) -> Any:
        return await ActivityEnvironment().run(Execution(running.house(**sections)).apply, task)

    return run


@pytest.fixture
def approved(desk: Any) -> Callable[..., ExecuteTask]:
    """The task of an approved program that would leave a file if it ran."""

    def make(mode: ExecutionMode = ExecutionMode.WRITE_ACCESS, **revision: Any) -> ExecuteTask:
        folder = desk.folder()
        (folder.work / "context.json").write_text("{}")
        binds = desk.revision(**({"code": MARK, "inputs": manifest(folder.work)} | revision))
        task: ExecuteTask = desk.execute_task(folder, MARK, mode=mode, approved=binds)
        return task

    return make


def ran(task: ExecuteTask) -> bool:
    return (task.folder.work / "ran").exists()


async def test_a_run_leaves_results_output_and_notebook(desk: Any, execute: Run) -> None:
    folder = desk.folder(suffix="-2")
    task = desk.execute_task(folder, 'print("hello")\nresults = {"a": [1, "ü"]}')
    success = (await execute(task)).success
    assert success.results == {"a": [1, "ü"]}
    assert success.stdout == "hello"
    assert success.folder_path == folder.path
    assert success.notebook_path == folder.path / "notebook-2.ipynb"
    assert success.notebook_link == f"{folder.link}/notebook-2.ipynb"
    assert json.loads((folder.path / "results-2.json").read_text()) == success.results
    notebook = nbformat.read(task.notebook.notebook_path, as_version=4)
    assert notebook.cells[1].source.endswith(task.code)
    assert notebook.cells[1].outputs[0].text == "hello\n"


async def test_results_over_256_kb_stay_in_the_folder(desk: Any, execute: Run) -> None:
    folder = desk.folder()
    success = (
        await execute(desk.execute_task(folder, 'results = {"long": "x" * 262_144, "short": 1}'))
    ).success
    file = folder.path / "results.json"
    assert success.results == {
        "_type": "file",
        "path": str(file),
        "bytes": file.stat().st_size,
        "keys": ["long", "short"],
    }
    assert len(json.loads(file.read_text())["long"]) == 262_144


async def test_long_output_keeps_head_and_tail(desk: Any, execute: Run) -> None:
    code = 'print("first")\nprint("x" * 200_000)\nprint("last")\nresults = {}'
    success = (await execute(desk.execute_task(desk.folder(), code))).success
    assert len(success.stdout.encode()) <= 64 * 1024
    assert success.stdout.startswith("first")
    assert success.stdout.endswith("last")


@pytest.mark.slow
async def test_figures_lie_in_the_folder_and_in_the_notebook(desk: Any, execute: Run) -> None:
    code = (
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('orbit.png')\nresults = {}"
    )
    task = desk.execute_task(desk.folder(), code)
    success = (await execute(task)).success
    assert task.folder.figures / "orbit.png" in success.figure_paths
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in success.figure_paths)
    notebook = nbformat.read(task.notebook.notebook_path, as_version=4)
    shown = [output for output in notebook.cells[1].outputs if output.output_type != "stream"]
    assert len(shown) == len(success.figure_paths) == 2


async def test_a_failing_program_is_told_with_its_folder_and_kept_as_a_notebook(
    desk: Any, execute: Run
) -> None:
    task = desk.execute_task(desk.folder(), 'print("so far")\nresults = 1 / 0', attempt=3)
    with pytest.raises(CodeRuntimeError, match="ZeroDivisionError") as raised:
        await execute(task)
    assert raised.value.folder_path == task.folder.path
    assert raised.value.execution_attempt == 3
    notebook = nbformat.read(task.notebook.notebook_path, as_version=4)
    assert "ZeroDivisionError" in notebook.cells[0].source
    assert notebook.cells[1].outputs[0].text == "so far\n"
    assert "Traceback" in notebook.cells[2].source
    assert not (task.folder.path / "results.json").exists()


async def test_a_program_that_runs_too_long_is_ended_and_kept(desk: Any, execute: Run) -> None:
    task = desk.execute_task(desk.folder(), "while True: pass", timeout=0.3)
    with pytest.raises(ExecutionTimeoutError) as raised:
        await execute(task)
    assert raised.value.timeout_seconds == 0.3
    assert raised.value.folder_path == task.folder.path
    assert task.notebook.notebook_path.exists()


async def test_while_it_runs_its_output_is_told(running: Any) -> None:
    environment = ActivityEnvironment()
    told: list[RunProgress] = []
    environment.on_heartbeat = told.append
    code = 'import time\nprint("now")\ntime.sleep(0.8)\nresults = {}'
    task = running.execute_task(running.folder(), code)
    await environment.run(Execution(running.house()).execute, task)
    assert any(progress.stdout_tail == "now\n" for progress in told)


async def test_what_was_approved_runs(approved: Any, apply: Run) -> None:
    task = approved()
    await apply(task)
    assert ran(task)


async def test_a_run_that_may_be_repeated_never_writes(approved: Any, execute: Run) -> None:
    task = approved()
    with pytest.raises(WorkflowError, match="repeatable"):
        await execute(task)
    assert not ran(task)


@pytest.mark.parametrize("differs", [{"attempt": 2}, {"workflow_run_id": "a-reset-run"}])
async def test_a_repetition_or_a_reset_of_an_approved_run_writes_nothing(
    differs: dict[str, Any], approved: Any, running: Any
) -> None:
    task = approved()
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, **differs)
    with pytest.raises(WorkflowError, match="writes nothing") as refused:
        await environment.run(Execution(running.house()).apply, task)
    assert refused.value.technical_details == {"verdict": "not_opened"}
    assert not ran(task)


async def test_without_an_approval_nothing_is_applied(desk: Any, apply: Run) -> None:
    task = desk.execute_task(desk.folder(), MARK, mode=ExecutionMode.WRITE_ACCESS)
    with pytest.raises(WorkflowError, match="Nothing was approved"):
        await apply(task)
    assert not ran(task)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"code": "results = {}"}, "code"),
        ({"inputs": {}}, "input files"),
        ({"limits_sha256": "0" * 64}, "limits"),
        ({"kernel_environment": "python 3, 3 packages, def"}, "kernel packages"),
    ],
)
@pytest.mark.parametrize(
    ("step", "mode"),
    [("apply", ExecutionMode.WRITE_ACCESS), ("execute", ExecutionMode.READ_ONLY)],
)
async def test_what_is_not_as_it_was_approved_does_not_run(
    changed: dict[str, Any],
    named: str,
    step: str,
    mode: ExecutionMode,
    approved: Any,
    apply: Run,
    execute: Run,
) -> None:
    task = approved(mode, **changed)
    with pytest.raises(WorkflowError, match=f"{named}\\.") as raised:
        await {"apply": apply, "execute": execute}[step](task)
    assert task.approved.sha256[:6] in raised.value.message
    assert not ran(task)


async def test_all_that_changed_is_named(approved: Any, apply: Run) -> None:
    task = approved(code="", inputs={})
    with pytest.raises(WorkflowError, match="code, input files"):
        await apply(task)


async def test_limits_that_changed_at_the_gate_since_the_approval_let_nothing_run(
    approved: Any, apply: Run, gate: Any
) -> None:
    task = approved()
    file = gate.folder / "limits.json"
    before = file.read_text()
    try:
        file.write_text("{}")
        await asyncio.sleep(0.5)
        with pytest.raises(WorkflowError, match="limits"):
            await apply(task)
    finally:
        file.write_text(before)
        await asyncio.sleep(0.5)
    assert not ran(task)


async def test_the_worker_s_own_limits_are_not_what_was_approved_and_are_told(
    approved: Any, apply: Run, tmp_path: Path
) -> None:
    file = tmp_path / "limits.json"
    file.write_text("{}")
    executed = await apply(task := approved(), limits={"file": file})
    assert ran(task)
    now = executed.in_force
    assert now.gate.limits_sha256 == task.approved.limits_sha256 != now.limits.binds


async def test_where_writes_were_disabled_meanwhile_nothing_is_applied(
    approved: Any, apply: Run
) -> None:
    task = approved()
    with pytest.raises(ContainerConfigurationError, match=r"control_system\.writes_enabled") as no:
        await apply(task, control_system={"writes_enabled": False})
    assert no.value.technical_details == {"verdict": "not_opened"}
    assert not ran(task)


async def test_a_real_control_system_is_written_like_the_demo_s(approved: Any, apply: Run) -> None:
    task = approved()
    await apply(task, control_system={"type": "epics"})
    assert ran(task)


async def test_a_run_twice_replaces_what_it_left(desk: Any, execute: Run) -> None:
    task = desk.execute_task(desk.folder(), "results = {}")
    first = (await execute(task)).success
    second = (await execute(task)).success
    assert first.model_copy(update={"execution_time": 0}) == second.model_copy(
        update={"execution_time": 0}
    )


async def test_a_work_folder_that_is_gone_is_told_and_nothing_runs(desk: Any, execute: Run) -> None:
    folder = desk.folder()
    folder.work.rmdir()
    with pytest.raises(PythonExecutorException, match="work"):
        await execute(desk.execute_task(folder, "results = {}"))
