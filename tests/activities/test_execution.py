import json
from collections.abc import Awaitable, Callable
from typing import Any

import nbformat
import pytest
from temporalio.testing import ActivityEnvironment

from activities.execution import Execution
from runpermit.errors import CodeRuntimeError, ExecutionTimeoutError, PythonExecutorException
from runpermit.models import RunProgress
from workflows.steps import Executed, ExecuteTask

Run = Callable[..., Awaitable[Executed]]


@pytest.fixture
def execute(running: Any) -> Run:
    async def run(task: ExecuteTask) -> Any:
        return await ActivityEnvironment().run(Execution(running.house()).execute, task)

    return run


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
