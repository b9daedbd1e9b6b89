import base64
from collections.abc import Awaitable, Callable
from typing import Any

import nbformat
import pytest
from temporalio.testing import ActivityEnvironment

from activities.conclusion import Conclusion
from activities.folder_lock import Holder
from activities.journal_copy import copy_journal
from gate.client import Opening, SessionMode, SessionReport
from runpermit.errors import ContainerConfigurationError
from runpermit.models import (
    Isolation,
    NotebookType,
    PythonExecutionSuccess,
    Stage,
    Verdict,
    WriteOutcome,
    WriteRecord,
)
from workflows.steps import ConcludeTask, Folder

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
Step = Callable[..., Awaitable[None]]


@pytest.fixture
def conclude(desk: Any) -> Step:
    async def run(task: ConcludeTask) -> None:
        await ActivityEnvironment().run(Conclusion(desk.house()).conclude, task)

    return run


@pytest.fixture
def task(desk: Any) -> ConcludeTask:
    folder: Folder = desk.folder()
    lock(folder, "wf", "run")
    folder.figures.mkdir()
    figure = folder.figures / "orbit.png"
    figure.write_bytes(PNG)
    return ConcludeTask(
        folder=folder,
        workflow_id="wf",
        first_run_id="run",
        stage=Stage.SUCCEEDED,
        code="results = {}",
        model={},
        attempt=1,
        isolation=Isolation.FULL,
        plan=None,
        warnings=[],
        decisions=[],
        result=PythonExecutionSuccess(
            results={},
            stdout="hello",
            execution_time=1,
            folder_path=folder.path,
            notebook_path=folder.notebook,
            notebook_link=folder.link_to(folder.notebook),
            figure_paths=[figure],
        ),
        failure=None,
        wrote=False,
        notebook=desk.notebook(folder).model_copy(
            update={
                "notebook_type": NotebookType.FINAL_SUCCESS,
                "notebook_path": folder.notebook,
            }
        ),
    )


def lock(folder: Folder, workflow_id: str, first_run_id: str) -> None:
    holder = Holder(workflow_id=workflow_id, first_run_id=first_run_id, suffix="")
    (folder.path / ".lock").write_text(holder.model_dump_json())


async def test_the_final_notebook_is_written_and_the_folder_freed(
    task: ConcludeTask, conclude: Step
) -> None:
    await conclude(task)
    notebook = nbformat.read(task.folder.notebook, as_version=4)
    assert [output.output_type for output in notebook.cells[2].outputs] == [
        "stream",
        "display_data",
    ]
    assert not (task.folder.path / ".lock").exists()


async def test_repeated_it_writes_the_same_and_leaves_the_next_holder_alone(
    task: ConcludeTask, conclude: Step
) -> None:
    await conclude(task)
    first = task.folder.notebook.read_bytes()
    lock(task.folder, "next", "2")
    await conclude(task)
    assert task.folder.notebook.read_bytes() == first
    assert (task.folder.path / ".lock").exists()


async def test_a_figure_that_is_gone_is_left_out(task: ConcludeTask, conclude: Step) -> None:
    (task.folder.figures / "orbit.png").unlink()
    await conclude(task)
    assert task.folder.notebook.exists()
    assert not (task.folder.path / ".lock").exists()


async def test_an_execution_without_any_code_has_a_final_notebook_too(
    task: ConcludeTask, conclude: Step
) -> None:
    await conclude(
        task.model_copy(
            update={
                "code": None,
                "result": None,
                "stage": Stage.FAILED,
                "failure": "No key.",
            }
        )
    )
    notebook = nbformat.read(task.folder.notebook, as_version=4)
    assert "No key." in notebook.cells[0].source
    assert len(notebook.cells) == 2


async def test_a_request_that_was_changed_is_no_story_to_tell(
    task: ConcludeTask, conclude: Step
) -> None:
    (task.folder.path / "request.json").write_text("{}")
    with pytest.raises(ContainerConfigurationError, match="was changed"):
        await conclude(task)
    assert not task.folder.notebook.exists()


@pytest.mark.parametrize(
    ("wrote", "verdict", "warned"),
    [
        (True, None, True),
        (True, Verdict.UNKNOWN, True),
        (True, Verdict.PARTIAL, False),
        (False, None, False),
    ],
)
async def test_where_nobody_told_what_was_written_the_gate_s_journal_is_named(
    task: ConcludeTask, conclude: Step, *, wrote: bool, verdict: Verdict | None, warned: bool
) -> None:
    # No gate answers in this test: the notebook is written all the same.
    await conclude(task.model_copy(update={"wrote": wrote, "verdict": verdict}))
    story = nbformat.read(task.folder.notebook, as_version=4).cells[0].source
    line = "What was written is not known here: see the gate's journal (gate.journal), execution wf"
    assert (line in story) is warned


async def test_the_writes_are_told_from_the_journal_not_from_the_run_s_answer(
    task: ConcludeTask, conclude: Step
) -> None:
    write = WriteRecord(channel="SR:X", old=0, new=1, outcome=WriteOutcome.CONFIRMED)
    opening = Opening(
        execution="wf", run_id="run", attempt=1, mode=SessionMode.APPLY, isolation=Isolation.FULL
    )
    copy_journal(
        task.folder.journal, opening, SessionReport(session="apply-1", forwarded=1, writes=[write])
    )
    await conclude(task.model_copy(update={"result": None, "stage": Stage.STOPPED}))
    notebook = nbformat.read(task.folder.notebook, as_version=4)
    assert "Writes, as the gate recorded them" in notebook.cells[0].source
    assert "RUNPERMIT_RERUN_WRITES" in notebook.cells[2].source
