"""The main job in front of your eyes: `make demo`."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from demo.agent import RAMP_AND_MEASURE, RAMP_FOR_LONG, READ_AND_PLOT
from demo.stack import ROOT, running_stack
from runpermit import (
    DecisionRefusedError,
    Execution,
    PendingApproval,
    ProgressEvent,
    ProgressKind,
    PythonExecutionRequest,
    PythonExecutorException,
    PythonServiceResult,
    RunpermitClient,
    Stage,
    Verb,
)
from runpermit.models import PendingRestore
from runpermit.page import (
    change_lines,
    commands,
    plan_warnings,
    question,
    restore_question,
    write_lines,
)
from runpermit.plans.words import value_text
from runpermit.text import one_line, visible

_DIRECTORY = Path(os.environ.get("DEMO_DIRECTORY", ROOT / "demo-run")).resolve()
_BIN = Path(sys.executable).parent
_LOOK_SECONDS = 2.0
_WATCHED_SECONDS = 3.0
_INTERRUPTED = 130


async def demo() -> None:
    """Start everything, run the tasks, and take everything down again."""
    _end_when_told()
    model = _real_model()
    say("Starting Temporal, a storage ring (soft IOC) and its twin, a model server, the worker …")
    if model is None:
        say("The model's answers are recorded. OPENAI_API_KEY or OPENAI_BASE_URL give a real one.")
    _fresh(_DIRECTORY)
    async with running_stack(_DIRECTORY, model=model, virtual=True) as stack:
        say(f"Temporal Web UI: {stack.web_ui}")
        say(f"Logs and executions: {_relative(stack.directory)}")
        say("What an operator sees, and presses: docs/operators.md")
        say("To refuse every write, and to look at gate and sandbox, in another terminal:")
        for command in ("inhibit on", "inhibit off", f"doctor --address {stack.address}"):
            say(f"   {_relative(_BIN)}/runpermit {command} --config {_relative(stack.config)}")
        client = await RunpermitClient.connect(stack.address)
        await run(client, "1. An agent wants to read and plot", READ_AND_PLOT)
        await run(client, "2. An agent wants to ramp a corrector", RAMP_AND_MEASURE)
        await run(client, "3. Another ramp, and somebody stops it", RAMP_FOR_LONG, stopped=True)
        if _is_asked():
            say("\nAll of it stays for you to look at. Press Enter to take it down.")
            await _enter()
        say("\nDone. Everything is being taken down again.")


async def run(
    client: RunpermitClient, title: str, request: PythonExecutionRequest, *, stopped: bool = False
) -> None:
    """One task from request to result, or until it is `stopped` while it writes."""
    say(f"\n{title}\n{'─' * len(title)}\n“{request.user_query}”")
    execution = await client.start(request)
    say(f"execution {execution.id}")
    stopping: asyncio.Task[None] | None = None
    async with asyncio.TaskGroup() as others:
        async for event in execution.progress():
            tell(event)
            if event.pending is not None:
                await ask(client, execution, event.pending)
            if event.restore is not None:
                await ask_to_restore(client, execution, event.restore)
            if stopped and event.stage is Stage.APPLYING:
                stopping = others.create_task(stop(execution))
            elif stopping is not None and event.stage is not None:
                stopping.cancel()  # it came to its end, or to a question, before that
    try:
        show(await execution.result())
    except PythonExecutorException as ended:
        say(f"   No result: {visible(ended.message)}")
        for line in ended.technical_details.get("restored", []):
            say(f"   Put back:  {visible(str(line))}")
        if ended.folder_path is not None:
            say(f"   Folder:   {_relative(ended.folder_path)}")


def tell(event: ProgressEvent) -> None:
    """What happens, as it happens."""
    if event.kind is ProgressKind.STDOUT:
        for line in event.text.splitlines():
            say(f"      │ {visible(line)}")
    elif event.kind is ProgressKind.STAGE and event.stage is not None:
        say(f"   • {event.stage.replace('_', ' ')} {one_line(event.text, 200)}".rstrip())
    elif event.kind is ProgressKind.NOTICE:
        say(f"   ! {visible(event.text)}")


async def ask(client: RunpermitClient, execution: Execution, pending: PendingApproval) -> None:
    """Show what waits and how to answer; answer by the same signal where nobody can."""
    say(f"\n   IT WAITS FOR YOU: {question(pending.plan)}")
    for line in write_lines(pending.plan):
        say(f"      {line}")
    for warning in [*plan_warnings(pending.plan), *pending.warnings]:
        say(f"      ! {warning}")
    await _answered(client, execution, pending, Verb.APPROVE, Verb.REJECT)


async def ask_to_restore(
    client: RunpermitClient, execution: Execution, pending: PendingRestore
) -> None:
    """Show what was left changed, and have it put back in the same way."""
    say(f"\n   {restore_question(pending)}")
    for line in change_lines(pending):
        say(f"      {line}")
    await _answered(client, execution, pending, Verb.RESTORE, Verb.LEAVE)


async def _answered(
    client: RunpermitClient,
    execution: Execution,
    pending: PendingApproval | PendingRestore,
    yes: Verb,
    no: Verb,
) -> None:
    signal_name = f"{yes}-{pending.revision}"
    say(
        f"\n   In the Web UI: {pending.page_link}\n"
        f"   then More Actions → Send a Signal → {signal_name} "
        f"(or {no}-{pending.revision}) → Submit"
    )
    say("   Or in another terminal, from this folder:")
    target = f"{pending.binds.workflow_id} {pending.cli_options}"
    for command in [f"runpermit show {target}", *commands(pending)]:
        say(f"      {_relative(_BIN)}/{command}")
    if _is_asked():
        say("\n   Waiting for your answer … (Ctrl-C ends the demo)\n")
    else:
        say(
            f"\n   Nobody is asked here: sending the signal {signal_name} in {_LOOK_SECONDS:g} s.\n"
        )
        await asyncio.sleep(_LOOK_SECONDS)
        await client.temporal.get_workflow_handle(execution.id).signal(signal_name)


async def _enter() -> None:
    pressed = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, pressed.set)
    await pressed.wait()


def _is_asked() -> bool:
    """Whether there is somebody who answers and looks."""
    return os.environ.get("DEMO_APPROVE") != "1" and sys.stdin.isatty()


async def stop(execution: Execution) -> None:
    """What an operator does who sees enough."""
    await asyncio.sleep(_WATCHED_SECONDS)
    say("   ! An operator stops it: runpermit stop …")
    with contextlib.suppress(DecisionRefusedError):  # it was faster
        await execution.stop("demo", "that is far enough")


def show(result: PythonServiceResult) -> None:
    """What came out, and where it lies."""
    success = result.execution_result
    say(f"\n   Results, after {success.execution_time:.1f} s:")
    for name, value in success.results.items():
        say(f"      {visible(name)}: {one_line(str(value), 90)}")
    say(f"   Isolation: {result.isolation}")
    for write in result.writes.writes if result.writes else []:
        way = f"{value_text(write.old)} → {value_text(write.new)}"
        say(f"   Written:  {one_line(write.channel, 80)}: {way}, {write.outcome}")
    for channel in result.verified:
        say(f"   Verified: {channel.channel} and {channel.device}: {channel.outcome}")
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
