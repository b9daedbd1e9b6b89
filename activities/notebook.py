"""Builds notebooks: those of the way, and the final one that tells the story and re-runs."""

import base64
import json
import re

import nbformat
from nbformat import v4

from activities.folder import disk
from activities.rerun import first_cell, guarded
from activities.story import Evidence, told_story
from kernels.interface import RunOutcome
from runpermit.models import NotebookAttempt, PlanKind, PythonExecutionRequest
from runpermit.text import bounded, fenced, visible
from workflows.steps import ConcludeTask, Folder

_OUTPUT_BYTES = 256 * 1024
_RUN = re.compile(r"(\d+)_(?:execution|apply)\.ipynb")


def attempt_notebook(
    notebook: NotebookAttempt, code: str, note: str, outcome: RunOutcome | None = None
) -> str:
    """One notebook of the way, as text: header, code, and what came out if it ran.

    Its code cell refuses to run: what an attempt would have written is written by nobody's click.
    """
    header = (
        f"# {notebook.stage}, notebook {notebook.attempt_number:02d}\n\n"
        f"{notebook.created_at or ''}\n\n{fenced(bounded(note))}"
    )
    cells = [v4.new_markdown_cell(header), v4.new_code_cell(guarded(code))]
    if outcome is not None:
        cells[-1].outputs = _outputs(outcome.stdout, [figure.content for figure in outcome.figures])
        if outcome.error is not None:
            trace = getattr(outcome.error, "traceback_info", "")
            if trace:
                cells.append(v4.new_markdown_cell(f"## Traceback\n\n{fenced(bounded(trace))}"))
    return _text(cells)


def final_notebook(
    task: ConcludeTask,
    request: PythonExecutionRequest,
    evidence: Evidence,
    name_servers: list[str],
) -> str:
    """The final notebook, as text. Its code cell refuses to run where the code writes."""
    planned = task.plan is not None and task.plan.kind is not PlanKind.READS_ONLY
    writing = bool(task.wrote or evidence.writes or evidence.refusals or planned)
    cells = [
        v4.new_markdown_cell(told_story(task, request, evidence)),
        v4.new_code_cell(first_cell(name_servers, refuses=writing)),
    ]
    if task.code is not None:
        cells.append(v4.new_code_cell(guarded(task.code) if writing else task.code))
        if task.result is None:
            cells[-1].outputs = _outputs_of_the_last_run(task.folder, task.code)
        else:
            figures = [
                path.read_bytes()
                for path in task.result.figure_paths
                if path.is_file() and not path.is_symlink()
            ]
            cells[-1].outputs = _outputs(task.result.stdout, figures)
    if task.result is not None:
        name = f"results{task.folder.suffix}.json"
        load = f'results_of_the_run = json.loads(Path("../{name}").read_text())\nresults_of_the_run'
        cells += [v4.new_markdown_cell("## Results, as they were"), v4.new_code_cell(load)]
        shown = json.dumps(task.result.results, indent=1, ensure_ascii=False)
        cells[-1].outputs = _outputs(shown, [])
    return _text(cells)


def _outputs_of_the_last_run(folder: Folder, code: str) -> list[nbformat.NotebookNode]:
    """What `code` had printed and drawn when it failed: the run's own notebook has it.

    An earlier execution's notebooks may lie in the folder as well: its code must be this one.
    """
    with disk(folder.attempts):
        found = (_RUN.fullmatch(path.name) for path in folder.attempts.glob("*.ipynb"))
        for run in sorted(filter(None, found), key=lambda run: int(run[1]), reverse=True):
            try:
                text = (folder.attempts / run[0]).read_text(encoding="utf-8")
                cells = nbformat.reads(text, as_version=4).cells
            except ValueError:
                continue
            for cell in cells:
                if cell.cell_type == "code" and cell.source == guarded(code):
                    outputs: list[nbformat.NotebookNode] = cell.outputs
                    return outputs
    return []


def _outputs(stdout: str, figures: list[bytes]) -> list[nbformat.NotebookNode]:
    outputs = []
    if stdout:
        outputs.append(
            v4.new_output("stream", name="stdout", text=visible(bounded(stdout, _OUTPUT_BYTES)))
        )
    for content in figures:
        kind = "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"
        outputs.append(
            v4.new_output("display_data", data={kind: base64.b64encode(content).decode()})
        )
    return outputs


def _text(cells: list[nbformat.NotebookNode]) -> str:
    notebook = v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
    )
    # Random ids would make the same notebook differ each time it is written.
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    text: str = nbformat.writes(notebook)
    return text
