"""How an execution ended, or where it stands: printed, and as an exit code."""

import json

from temporalio.client import WorkflowExecutionStatus

from runpermit.cli.exits import ExitCode, of_outcome
from runpermit.cli.session import Session
from runpermit.errors import PythonExecutorException
from runpermit.execution import Execution
from runpermit.models import PythonServiceResult, Stage, VerifiedChannel
from runpermit.page import succeeded
from runpermit.plans.words import value_text
from runpermit.text import one_line, visible
from runpermit.waiting import memo_of


async def report_end(session: Session, execution: Execution) -> int:
    """Wait for the end and print the result, or the error with which the execution ended."""
    try:
        result = await execution.result()
    except PythonExecutorException as error:
        code = of_outcome(error)
        session.output.failure(error, code, execution.id)
        return code
    if session.output.as_json:
        session.output.document(
            {"id": execution.id, "status": "succeeded", "result": result.model_dump(mode="json")}
        )
    else:
        session.output.answer(_result_text(result))
    return ExitCode.DONE


async def report_now(session: Session, execution: Execution) -> int:
    """Print where the execution stands without waiting; needs no worker."""
    described = await execution.describe()
    if described.status is not WorkflowExecutionStatus.RUNNING:
        return await report_end(session, execution)
    memo = memo_of(await described.memo())
    stage = memo.stage.value if memo else None
    follow = session.command("watch", execution.id)
    if session.output.as_json:
        session.output.document({"id": execution.id, "status": "running", "stage": stage})
    else:
        session.output.answer(f"{execution.id}: {stage or 'running'}")
        session.output.note(f"Follow it: {follow}")
    return ExitCode.WAITING


async def restore_waits(execution: Execution) -> str:
    """That its restore waits for an inhibit to be lifted, empty where none does."""
    described = await execution.describe()
    memo = memo_of(await described.memo())
    running = described.status is WorkflowExecutionStatus.RUNNING
    if not (running and memo and memo.stage is Stage.RESTORING and memo.question):
        return ""
    host = one_line(memo.host, 64)
    return (
        f"{one_line(memo.question, 200)}. It moves the machine as soon as writes pass. On {host} "
        "`runpermit inhibit status` tells by whom and why."
    )


def _result_text(result: PythonServiceResult) -> str:
    success = result.execution_result
    facts = [
        ("notebook", success.notebook_path),
        ("folder", success.folder_path),
        *(("figure", path) for path in success.figure_paths),
        ("ran", f"{success.execution_time:.2f} s, attempt {result.generation_attempt}, "
                f"isolation {result.isolation}"),
    ]  # fmt: skip
    lines = [json.dumps(success.results, indent=2), f"machine   {_machine_words(result)}"]
    lines += [f"{label:<9} {text}" for label, text in facts]
    if result.writes is not None:
        lines += [f"write     {visible(str(write))}" for write in result.writes.writes]
        more = result.writes.forwarded - len(result.writes.writes)
        lines += [f"write     and {more} more: {result.writes.where}"] if more else []
    lines += [f"verified  {visible(_followed(channel))}" for channel in result.verified]
    if result.restore is not None:
        lines += [f"restored  {visible(str(channel))}" for channel in result.restore.channels]
    lines += [f"warning   {warning}" for warning in result.analysis_warnings]
    return "\n".join(lines)


def _machine_words(result: PythonServiceResult) -> str:
    """What the last page says of the machine."""
    if result.writes is None or not result.writes.forwarded:
        return "This run wrote nothing to the machine."
    return succeeded(result.writes, result.verified, [], None).words


def _followed(channel: VerifiedChannel) -> str:
    accepted = "accepted" if channel.accepted else "NOT ACCEPTED"
    told = f"{channel.channel} reads {value_text(channel.reads)}, {accepted}"
    device = f"{channel.device} " if channel.device else "device "
    way = f"; {channel.on_the_way}" if channel.earlier else ""
    return f"{told}; {device}{channel.outcome.replace('_', ' ')}{way}"
