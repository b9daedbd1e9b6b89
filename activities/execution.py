"""Execute and apply: run a program in a kernel of its own, and collect what it left."""

import asyncio
import json
from pathlib import Path
from typing import Any

from temporalio import activity

from activities.drafting import take_stock
from activities.folder import make_folders, write_whole
from activities.heartbeat import StdoutTail, heartbeating
from activities.house import House
from activities.notebook import attempt_notebook
from kernels.interface import RunOutcome
from runpermit.errors import (
    ContainerConfigurationError,
    PythonExecutorException,
    WorkflowError,
)
from runpermit.models import ExecutionMode, PythonExecutionSuccess, Revision
from runpermit.models.wire import RESULTS_BYTES
from runpermit.text import bounded, one_line
from workflows.steps import NOT_OPENED, ExecuteTask

_STDOUT_BYTES = 64 * 1024


class Execution:
    """Runs code on this host."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="execute")
    async def execute(self, task: ExecuteTask) -> PythonExecutionSuccess:
        """Run a program that reads. Repeatable: a lost worker's run is simply done again.

        Raises WorkflowError for a mode that writes: a run that may be repeated never gets it.
        """
        if task.mode is not ExecutionMode.READ_ONLY:
            raise WorkflowError(f"A repeatable run may not be {task.mode}.", "executing")
        return await self._run(task)

    @activity.defn(name="apply")
    async def apply(self, task: ExecuteTask) -> PythonExecutionSuccess:
        """Run an approved program that writes. Scheduled with one attempt, so at most once.

        The worker that applies asks its own settings: the question may have waited for days.
        Raises ContainerConfigurationError where writes are not possible any more, WorkflowError
        where what was approved is not what would run, or where this is not the one time.
        """
        self._refuse_writes()
        info = activity.info()
        if task.approved is None:
            raise _not_opened("Nothing was approved: no write.")
        if info.attempt > 1 or info.workflow_run_id != task.approved.first_run_id:
            raise _not_opened(
                "This is a reset or a repetition of a run that may have written: it writes "
                "nothing. Start a new execution."
            )
        return await self._run(task)

    def _refuse_writes(self) -> None:
        control = self._house.settings.control_system
        if not control.writes_enabled or control.type != "mock":
            raise ContainerConfigurationError(
                "control_system.writes_enabled and control_system.type of this worker do not allow "
                f'writes any more: {control.writes_enabled}, "{control.type}".',
                {"verdict": NOT_OPENED},
            )

    async def _refuse_changes(self, task: ExecuteTask, approved: Revision) -> None:
        """Raise WorkflowError where code, inputs, limits or packages are not those approved."""
        run_id = activity.info().workflow_run_id or ""
        try:
            now = await asyncio.to_thread(take_stock, self._house, task.folder, run_id)
        except PythonExecutorException as error:
            error.technical_details["verdict"] = NOT_OPENED
            raise
        same = {
            "code": task.code == approved.code,
            "input files": now.inputs == approved.inputs,
            "limits": now.limits.binds == approved.limits_sha256,
            "kernel packages": now.kernel_environment == approved.kernel_environment,
        }
        changed = [name for name, unchanged in same.items() if not unchanged]
        if changed:
            raise _not_opened(
                f"Not run: since the approval of revision {approved.sha256[:6]} these changed: "
                f"{', '.join(changed)}. Start the execution again."
            )

    async def _run(self, task: ExecuteTask) -> PythonExecutionSuccess:
        if task.approved is not None:
            await self._refuse_changes(task, task.approved)
        tail = StdoutTail()
        async with (
            heartbeating(tail),
            self._house.kernels.session(task.mode, task.folder.work) as kernel,
        ):
            outcome = await kernel.run(
                task.code, timeout=task.timeout, attempt=task.attempt, on_stdout=tail.add
            )
        return await asyncio.to_thread(_collect, task, outcome)


def _not_opened(message: str) -> WorkflowError:
    return WorkflowError(message, "applying", technical_details={"verdict": NOT_OPENED})


def _collect(task: ExecuteTask, outcome: RunOutcome) -> PythonExecutionSuccess:
    """Put everything into the folder; raise the run's error, if it had one."""
    folder = task.folder
    figures = _store_figures(folder.figures, outcome)
    write_whole(
        task.notebook.notebook_path,
        attempt_notebook(
            task.notebook,
            task.code,
            "As it ran." if outcome.error is None else outcome.error.message,
            outcome=outcome,
        ),
    )
    if outcome.error is not None:
        outcome.error.folder_path = folder.path
        raise outcome.error
    text = json.dumps(outcome.results, indent=2, ensure_ascii=False, allow_nan=False)
    results_file = folder.path / f"results{folder.suffix}.json"
    write_whole(results_file, text)
    return PythonExecutionSuccess(
        results=_inline(outcome.results or {}, text, results_file),
        stdout=bounded("\n".join([outcome.stdout, *outcome.left_out]).strip("\n"), _STDOUT_BYTES),
        execution_time=outcome.execution_time,
        folder_path=folder.path,
        notebook_path=folder.notebook,
        notebook_link=folder.link_to(folder.notebook),
        figure_paths=figures,
    )


def _store_figures(place: Path, outcome: RunOutcome) -> list[Path]:
    make_folders(place)
    paths = []
    for figure in outcome.figures:
        path = place / figure.name
        write_whole(path, figure.content)
        paths.append(path)
    return paths


def _inline(results: dict[str, Any], text: str, file: Path) -> dict[str, Any]:
    """The results themselves, or where they lie if they are too large for a message."""
    size = len(text.encode())
    if size <= RESULTS_BYTES:
        return results
    keys = [one_line(key, 80) for key in list(results)[:100]]
    return {"_type": "file", "path": str(file), "bytes": size, "keys": keys}
