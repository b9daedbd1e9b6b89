"""From what the kernel said, and what lies in its folder, to the outcome of a run."""

import re
from typing import Any

from kernels.conversation import Ending, Run
from kernels.folder import take_figures, take_results, with_unique_names
from kernels.inside.report import RESULTS_FILE
from kernels.interface import RunOutcome
from kernels.tree import Stamps
from runpermit.errors import CodeRuntimeError, ExecutionTimeoutError, PythonExecutorException
from runpermit.text import bounded, visible

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]")
_MESSAGE_BYTES = 2048


def outcome_of(
    run: Run, work: int, before: Stamps, *, timeout: float, attempt: int, kernel_end: str
) -> RunOutcome:
    """Judge `run`, by the kernel protocol alone, and collect what it left in the open `work`."""
    error = _error(run, timeout, attempt, kernel_end)
    results = None
    if error is None:
        try:
            results = _results(run.reply, work)
        except (OSError, ValueError, RecursionError) as problem:
            error = CodeRuntimeError(bounded(str(problem), _MESSAGE_BYTES), "", attempt)
    files, left_out = take_figures(work, before)
    return RunOutcome(
        stdout=run.output.text,
        results=results,
        figures=with_unique_names(run.figures + files),
        execution_time=run.seconds,
        error=error,
        left_out=tuple(run.left_out + left_out),
    )


def _error(
    run: Run, timeout: float, attempt: int, kernel_end: str
) -> PythonExecutorException | None:
    if run.ending is Ending.TIMED_OUT:
        return ExecutionTimeoutError(timeout)
    if run.ending is Ending.KERNEL_ENDED:
        return CodeRuntimeError(
            f"The kernel process ended ({kernel_end}) while the code ran, so there are no results. "
            "Code must end by itself, without os._exit, and within the memory it has.",
            "",
            attempt,
        )
    if run.reply.get("status") == "ok":
        return None
    name, text = _text(run.reply, "ename") or "Error", _text(run.reply, "evalue")
    lines = run.reply.get("traceback")
    traceback = "\n".join(map(str, lines)) if isinstance(lines, list) else ""
    return CodeRuntimeError(
        bounded(f"{name}: {text}" if text else name, _MESSAGE_BYTES),
        bounded(visible(_ANSI.sub("", traceback))),
        attempt,
    )


def _results(reply: dict[str, Any], work: int) -> dict[str, Any]:
    """Take the results that the reply announces. Raises ValueError where there are none."""
    payload = reply.get("payload")
    report = payload[0] if isinstance(payload, list) and payload else None
    if not isinstance(report, dict) or report.get("source") != "runpermit":
        raise ValueError("The kernel ended the code without a report of its results.")
    problem, sha256 = report.get("problem"), report.get("sha256")
    if problem is not None or not isinstance(sha256, str):
        raise ValueError(str(problem))
    return take_results(work, RESULTS_FILE, sha256)


def _text(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    return visible(_ANSI.sub("", value)) if isinstance(value, str) else ""
