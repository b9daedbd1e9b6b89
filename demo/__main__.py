"""The main job in front of your eyes: `make demo`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from demo.agent import READ_AND_PLOT, STEP_AND_MEASURE
from demo.stack import ROOT, running_stack
from runpermit import (
    Execution,
    PendingApproval,
    ProgressKind,
    PythonExecutionRequest,
    PythonExecutorException,
    PythonServiceResult,
    RunpermitClient,
)
from runpermit.page import commands, question, write_lines
from runpermit.text import one_line, visible

_DIRECTORY = Path(os.environ.get("DEMO_DIRECTORY", ROOT / "demo-run")).resolve()
_BIN = Path(sys.executable).parent
_LOOK_SECONDS = 3.0
_INTERRUPTED = 130


async def demo() -> None:
    """Start everything, run both tasks, and take everything down again."""
    _end_when_told()
    model = _real_model()
    say("Starting Temporal, a storage ring (soft IOC), a model server and the worker …")
    if model is None:
        say("The model's answers are recorded. OPENAI_API_KEY or OPENAI_BASE_URL give a real one.")
    _fresh(_DIRECTORY)
    async with running_stack(_DIRECTORY, model=model) as stack:
        say(f"Temporal Web UI: {stack.web_ui}")
        say(f"Logs and executions: {_relative(stack.directory)}")
        say("To refuse every write, and to look at gate and sandbox, in another terminal:")
        for command in ("inhibit on", "inhibit off", "doctor"):
            say(f"   {_relative(_BIN)}/runpermit {command} --config {_relative(stack.config)}")
        client = await RunpermitClient.connect(stack.address)
        await run(client, "1. An agent wants to read and plot", READ_AND_PLOT)
        await run(client, "2. An agent wants to step a corrector", STEP_AND_MEASURE)
        say("\nDone. Everything is being taken down again.")


async def run(client: RunpermitClient, title: str, request: PythonExecutionRequest) -> None:
    """One task from request to result, with all that happens between."""
    say(f"\n{title}\n{'─' * len(title)}\n“{request.user_query}”")
    execution = await client.start(request)
    say(f"execution {execution.id}")
    async for event in execution.progress():
        if event.kind is ProgressKind.STDOUT:
            for line in event.text.splitlines():
                say(f"      │ {visible(line)}")
        elif event.kind is ProgressKind.STAGE and event.stage is not None:
            say(f"   • {event.stage.replace('_', ' ')} {one_line(event.text, 200)}".rstrip())
        elif event.kind is ProgressKind.QUESTION and event.pending is not None:
            await ask(client, execution, event.pending)
        elif event.kind is ProgressKind.NOTICE:
            say(f"   ! {visible(event.text)}")
    try:
        show(await execution.result())
    except PythonExecutorException as ended:
        say(f"   No result: {visible(ended.message)}")


async def ask(client: RunpermitClient, execution: Execution, pending: PendingApproval) -> None:
    """Show what waits and how to answer; answer by the same signal where nobody can."""
    approve = f"approve-{pending.revision}"
    say(f"\n   IT WAITS FOR YOU: {question(pending.plan)}")
    for line in write_lines(pending.plan):
        say(f"      {line}")
    for warning in pending.warnings:
        say(f"      ! {warning}")
    say(
        f"\n   In the Web UI: {pending.page_link}\n"
        f"   then More Actions → Send a Signal → {approve} (or reject-{pending.revision}) → Submit"
    )
    say("   Or in another terminal, from this folder:")
    target = f"{pending.binds.workflow_id} {pending.cli_options}"
    for command in [f"runpermit show {target}", *commands(pending)]:
        say(f"      {_relative(_BIN)}/{command}")
    if os.environ.get("DEMO_APPROVE") == "1" or not sys.stdin.isatty():
        say(f"\n   Nobody is asked here: sending the signal {approve} in {_LOOK_SECONDS:g} s.\n")
        await asyncio.sleep(_LOOK_SECONDS)
        await client.temporal.get_workflow_handle(execution.id).signal(approve)
    else:
        say("\n   Waiting for your answer … (Ctrl-C ends the demo)\n")


def show(result: PythonServiceResult) -> None:
    """What came out, and where it lies."""
    success = result.execution_result
    say(f"\n   Results, after {success.execution_time:.1f} s:")
    for name, value in success.results.items():
        say(f"      {visible(name)}: {one_line(str(value), 90)}")
    say(f"   Isolation: {result.isolation}")
    for write in result.writes.writes if result.writes else []:
        say(f"   Written:  {write}")
    for warning in result.analysis_warnings:
        say(f"   ! {visible(warning)}")
    say(f"   Notebook: {_relative(success.notebook_path)}")
    for figure in success.figure_paths:
        say(f"   Figure:   {_relative(figure)}")


def say(text: str) -> None:
    """Print at once: progress is shown while it happens."""
    print(text, flush=True)


def _real_model() -> dict[str, str] | None:
    """A real endpoint's variables where the environment names one."""
    key, url = os.environ.get("OPENAI_API_KEY"), os.environ.get("OPENAI_BASE_URL")
    if not key and not url:
        return None
    # Local servers want no key, the openai client wants one all the same.
    found = {"OPENAI_API_KEY": key or "none"}
    return found | ({"OPENAI_BASE_URL": url} if url else {})


def _end_when_told() -> None:
    """Ctrl-C, SIGTERM and a closed terminal take everything down; said again, in a hurry."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  (a coroutine runs in one)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _fresh(directory: Path) -> None:
    """No logs of an earlier demo, and no inhibit that it left; its executions stay."""
    directory.mkdir(parents=True, exist_ok=True)
    for left in (*directory.glob("*.log"), directory / "journal" / "inhibit.json"):
        left.unlink(missing_ok=True)


def _relative(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def main() -> int:
    """Run the demo; the exit status."""
    try:
        asyncio.run(demo())
    except (KeyboardInterrupt, asyncio.CancelledError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of an impatient user, on the last metres
        say("\nStopped; everything was taken down.")
        return _INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
