"""Stop: at this host's gate, and through Temporal."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from runpermit.cli.completion import waiting_ids
from runpermit.cli.deciding import Operator, Reason, name_of
from runpermit.cli.exits import ExitCode, of_call
from runpermit.cli.gate_asking import Socket, ask_gate, control_socket, other_version
from runpermit.cli.session import Session, add_command
from runpermit.errors import (
    DecisionRefusedError,
    InvalidRequestError,
    PythonExecutorException,
)
from runpermit.text import one_line

_GATE_SECONDS = 10.0
_AT_ONCE = 20


@dataclass
class _Stopped:
    """What came of one of the two ways: what it reached, and why it did not."""

    reached: list[str] = field(default_factory=list)
    missed: dict[str, str] = field(default_factory=dict)
    error: PythonExecutorException | None = None

    def document(self, name: str) -> dict[str, Any]:
        """Both, for programs."""
        error = self.error.message if self.error else None
        return {name: self.reached, "missed": self.missed, "error": error}


async def stop(
    session: Session,
    reason: Reason,
    execution_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="The execution, as `runpermit pending` lists it.",
            autocompletion=waiting_ids,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Stop all executions, whatever they do.")
    ] = False,
    socket: Socket = None,
    operator: Operator = None,
) -> int:
    """End an execution, whatever it does.

    On the host of its gate this goes to the gate first, which writes nothing more from then on.
    The execution itself is told through Temporal; that counts even while no worker answers.
    """
    if (execution_id is None) is not everything:
        raise InvalidRequestError("Name one execution, or say --all.", "ID")
    who = name_of(operator)
    # On its way before anything that may have to wait for the network.
    at_gate = asyncio.get_running_loop().run_in_executor(
        None, _stop_at_gate, session, socket, execution_id, who, reason
    )
    told = await _tell_temporal(session, execution_id, who, reason)
    stopped = await at_gate
    if execution_id is not None and not stopped.error and not told.error:
        # Until here it holds for what was approved before; now for all of this execution, and for
        # no later one of its id.
        first_run = await _first_run(session, execution_id)
        again = _stop_at_gate(session, socket, execution_id, who, reason, first_run)
        stopped.reached += [name for name in again.reached if name not in stopped.reached]
    return _report(session, execution_id, stopped, told)


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    examples = ["stop scan-42 --reason 'beam lost'", "stop --all --reason 'vacuum alarm'"]
    add_command(app, "stop", stop, examples)


async def _first_run(session: Session, execution_id: str) -> str | None:
    """Which execution of that id it is; None where Temporal does not tell."""
    try:
        described = await (await session.client()).handle(execution_id).describe()
    except PythonExecutorException:
        return None
    return described.raw_description.workflow_execution_info.first_run_id


def _stop_at_gate(
    session: Session,
    socket: Path | None,
    execution_id: str | None,
    operator: str,
    reason: str,
    first_run_id: str | None = None,
) -> _Stopped:
    request = {"do": "stop", "execution": execution_id, "operator": operator, "reason": reason}
    if first_run_id:
        request["first_run_id"] = first_run_id
    try:
        path = control_socket(session, socket)
        sessions = ask_gate(path, request, _GATE_SECONDS).get("stopped")
    except PythonExecutorException as error:
        return _Stopped(error=error)
    if not isinstance(sessions, list):
        return _Stopped(error=other_version(path))
    return _Stopped([str(name) for name in sessions])


async def _tell_temporal(
    session: Session, execution_id: str | None, operator: str, reason: str
) -> _Stopped:
    told = _Stopped()
    try:
        client = await session.client()
        if execution_id is not None:
            await client.handle(execution_id).stop(operator, reason)
            told.reached.append(execution_id)
            return told
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def end(execution_id: str) -> None:
            try:
                async with at_once:
                    await client.handle(execution_id).stop(operator, reason)
                told.reached.append(execution_id)
            except DecisionRefusedError:
                return  # it has ended meanwhile
            except PythonExecutorException as error:
                told.missed[execution_id] = error.message
                told.error = error

        await asyncio.gather(*(end(execution.id) for execution in await client.running()))
    except PythonExecutorException as error:
        told.error = error
    return told


def _report(session: Session, execution_id: str | None, at_gate: _Stopped, told: _Stopped) -> int:
    """Which of both worked. The code is that of Temporal: there alone the execution ends."""
    code = of_call(told.error) if told.error else ExitCode.DONE
    output = session.output
    if output.as_json:
        document: dict[str, Any] = {"id": execution_id, "gate": at_gate.document("stopped")}
        document["temporal"] = told.document("sent")
        if told.error:
            document["error"] = output.described(told.error, code)
        output.document(document)
        return code
    if at_gate.error:
        alone = " The stop went through Temporal alone." if told.reached else ""
        output.note(f"gate: NOT TOLD.{alone} {at_gate.error.message}", style="yellow")
    elif at_gate.reached:
        output.answer(f"gate: nothing more is written by {_names(at_gate.reached)}")
    else:
        output.answer("gate: no session was open, so that nothing was being written")
    for name in told.reached:
        output.answer(f"Temporal: stop sent to {one_line(name, 200)}")
    for name, why in told.missed.items():
        output.answer(
            f"Temporal: NOT STOPPED: {one_line(name, 200)}. {one_line(why, 300)}", style="bold red"
        )
    if not told.reached and not told.error:
        output.answer("Temporal: nothing runs")
    if told.error:
        output.failure(told.error, code)
    elif execution_id is not None:
        output.note(f"See it end: {session.command('watch', execution_id)}")
    return code


def _names(names: list[str]) -> str:
    return ", ".join(one_line(name, 200) for name in names)
