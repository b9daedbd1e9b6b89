"""Builds notebooks: those of the way, and the final one that tells the story and re-runs."""

import ast
import base64
import json
from collections.abc import Iterable

import nbformat
from nbformat import v4

from kernels.interface import RunOutcome
from runpermit.models import (
    DecisionRecord,
    NotebookAttempt,
    PythonExecutionRequest,
    WriteRecord,
)
from runpermit.models.writes import INLINE_WRITES
from runpermit.page import write_lines
from runpermit.text import bounded, fenced, markdown, visible
from workflows.steps import ConcludeTask, Folder

_OUTPUT_BYTES = 256 * 1024
RERUN_VARIABLE = "RUNPERMIT_RERUN_WRITES"

_GUARD = f"""\
import os as _os

if _os.environ.get("{RERUN_VARIABLE}") != "1":
    raise RuntimeError(
        "This code may write to the machine. Running it here would write without gate or "
        "limits. If that is what you want, start Jupyter with {RERUN_VARIABLE}=1."
    )

"""

_FIRST_CELL = """\
# Reading, as the code did it. Channel Access must be reachable from here.
import json, os
from pathlib import Path

os.environ.setdefault("EPICS_CA_NAME_SERVERS", {name_servers!r})
import epics

def read_channel(name):
    value = epics.caget(name, timeout=3)
    if value is None:
        raise RuntimeError(f"{{name}}: no answer over Channel Access")
    return value

def write_channel(name, value):
    if os.environ.get({variable!r}) != "1":
        raise RuntimeError(f"{{name}}: writing from a notebook is refused ({variable} is not 1)")
    if epics.caput(name, value, wait=True) != 1:
        raise RuntimeError(f"{{name}}: the put failed")

def write_channels(values):
    for name, value in values.items():
        write_channel(name, value)

class ChannelLimitsViolationError(Exception):
    pass  # the gate's refusal of a write; here there is no gate

# The code ran in this folder.
if Path("work").is_dir():
    os.chdir("work")
_context = Path("context.json")
context = json.loads(_context.read_text()) if _context.exists() else {{}}"""


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
    writes: list[WriteRecord],
    name_servers: list[str],
) -> str:
    """The final notebook, as text. Its code cell refuses to run where the code writes."""
    first = _FIRST_CELL.format(name_servers=" ".join(name_servers), variable=RERUN_VARIABLE)
    cells = [v4.new_markdown_cell(_story(task, request, writes)), v4.new_code_cell(first)]
    if task.code is not None:
        writing = task.wrote or writes or (task.plan is not None and task.plan.writes)
        code = guarded(task.code) if writing else task.code
        cells.append(v4.new_code_cell(code))
        if task.result is not None:
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


def guarded(code: str) -> str:
    """`code` that raises unless RUNPERMIT_RERUN_WRITES=1.

    The guard stands before the first statement that does anything: behind docstring and
    `__future__` imports, which must come first. Code that can't be parsed is returned behind a
    guard as well.
    """
    # As the parser counts lines: a lone carriage return ends one, too.
    code = code.replace("\r\n", "\n").replace("\r", "\n")
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _GUARD + code
    for position, statement in enumerate(body):
        docstring = position == 0 and (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        )
        future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if not docstring and not future:
            return _split(code, statement)
    return code


def _split(code: str, statement: ast.stmt) -> str:
    """`code` with the guard before `statement`, even where another stands on the same line."""
    decorators = getattr(statement, "decorator_list", [])
    line = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    lines = code.encode().split(b"\n")
    column = statement.col_offset if line == statement.lineno else 0
    before = b"\n".join([*lines[: line - 1], lines[line - 1][:column]]).decode()
    after = b"\n".join([lines[line - 1][column:], *lines[line:]]).decode()
    separator = "\n" if before and not before.endswith("\n") else ""
    return f"{before}{separator}{_GUARD}{after}"


def _story(task: ConcludeTask, request: PythonExecutionRequest, writes: list[WriteRecord]) -> str:
    parts = [
        f"# {markdown(request.execution_folder_name, 80)}: {task.stage}",
        f"Execution {markdown(task.workflow_id, 200)}, attempt {task.attempt}, "
        f"isolation {task.isolation}.",
        f"## Question\n\n{fenced(bounded(request.user_query))}\n\n"
        f"Task:\n\n{fenced(bounded(request.task_objective))}",
    ]
    if task.failure:
        parts.append(f"## Why it ended\n\n{fenced(bounded(task.failure))}")
    if task.warnings:
        parts.append("## Warnings\n\n" + _list(task.warnings))
    if task.plan is not None and task.plan.writes:
        parts.append("## Plan\n\n" + fenced("\n".join(write_lines(task.plan))))
    if task.wrote and not task.writes_known:
        parts.append(
            "## Writes\n\nWhat was written is not known here: see the gate's journal "
            f"(gate.journal), execution {markdown(task.workflow_id, 200)}."
        )
    if writes:
        parts.append("## Writes, as the gate recorded them\n\n" + _table(writes, task.folder))
    if task.decisions:
        parts.append("## Decisions\n\n" + _list(_decision(record) for record in task.decisions))
    if task.model:
        facts = (f"{key}: {value}" for key, value in task.model.items())
        parts.append("## Model\n\n" + fenced(bounded("\n".join(facts))))
    return "\n\n".join(parts)


def _table(writes: list[WriteRecord], folder: Folder) -> str:
    rows = [
        (write.at, write.channel, write.old, write.new, write.outcome, write.read_back)
        for write in writes[:INLINE_WRITES]
    ]
    heads = ("at", "channel", "before", "written", "outcome", "read back")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(markdown(str(cell), 80) for cell in row) + " |" for row in rows]
    more = len(writes) - len(rows)
    rest = f"\n\n{more} more: see {folder.journal.name}." if more else ""
    return "\n".join(lines) + rest


def _decision(record: DecisionRecord) -> str:
    counted = "" if record.accepted else f" (did not count: {record.reason})"
    who = record.operator or "unnamed"
    comment = f": {record.comment}" if record.comment else ""
    shown = f" {record.revision}" if record.revision else ""
    return (
        f"{record.at:%Y-%m-%d %H:%M:%S} UTC {record.verb or 'no decision'}{shown} by {who} "
        f"({record.assurance}, not verified){counted}{comment}"
    )


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {markdown(item, 500)}" for item in items)


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
