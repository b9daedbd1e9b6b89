"""What a run left, brought into the folder of its execution."""

import json
from pathlib import Path
from typing import Any

from activities.folder import make_folders, write_whole
from activities.notebook import attempt_notebook
from kernels.interface import RunOutcome
from runpermit.models import PythonExecutionSuccess
from runpermit.models.wire import RESULTS_BYTES
from runpermit.text import bounded, one_line
from workflows.steps import ApplyTask, ExecuteTask

_STDOUT_BYTES = 64 * 1024


def collect(task: ExecuteTask | ApplyTask, outcome: RunOutcome) -> PythonExecutionSuccess:
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
