"""Machines left changed by executions that have ended: only the gate of this host knows them."""

import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from temporalio.client import WorkflowExecutionStatus

from runpermit.cli.deciding import YES_ALONE, confirmed, name_of
from runpermit.cli.exits import ExitCode
from runpermit.cli.gate_asking import ask_gate, control_socket, other_version
from runpermit.cli.gate_report import ask_for_report, report_here
from runpermit.cli.question import gate_text
from runpermit.cli.session import Session
from runpermit.cli.signed import Signing, statement_of
from runpermit.client import RunpermitClient
from runpermit.errors import (
    DecisionRefusedError,
    InvalidRequestError,
    PythonExecutorException,
    ServiceUnavailableError,
)
from runpermit.models import (
    ApprovalRule,
    LeftBehind,
    LeftChange,
    LeftMachine,
    PendingRestore,
    RestoreReport,
    Verb,
)
from runpermit.text import moment, one_line

QUESTIONS = {Verb.RESTORE: "Put back what can be?", Verb.LEAVE: "Leave it as it is?"}
# Steps, settling and an inhibited host take their time; asked again, it goes on.
_RESTORE_SECONDS = 3600.0
# The gate reads each channel that was written.
_TOLD_SECONDS = 60.0


def left_line(left: LeftMachine) -> str:
    """One of them, on a line."""
    channels = ", ".join(one_line(name, 60) for name in left.channels) or "its journal tells"
    return (
        f"MACHINE LEFT CHANGED (execution ended): {one_line(left.execution, 200)}, "
        f"{channels}, since {moment(left.at)}"
    )


def left_here(session: Session) -> list[LeftMachine]:
    """Those of this host's gate; none where it can't be asked."""
    report = report_here(session)
    return report.left if report is not None else []


async def nobody_waits_for(session: Session, left: list[LeftMachine]) -> list[LeftMachine]:
    """Those of `left` whose execution has ended, as far as Temporal can be asked."""
    try:
        client = await session.client() if left else None
    except PythonExecutorException:
        return left
    return [one for one in left if client and await _is_over(client, one.execution)]


async def _is_over(client: RunpermitClient, execution_id: str) -> bool:
    try:
        return await has_ended(client, execution_id)
    except PythonExecutorException:
        return True


async def has_ended(client: RunpermitClient, execution_id: str) -> bool:
    """Whether Temporal says so, or knows no such execution. Raises ServiceUnavailableError."""
    try:
        described = await client.handle(execution_id).describe()
    except InvalidRequestError:
        return True
    return described.status is not WorkflowExecutionStatus.RUNNING


def answer_at_gate(
    session: Session,
    socket: Path | None,
    execution_id: str,
    verb: Verb,
    operator: str | None,
    signing: Signing | None = None,
    *,
    yes: bool,
    unknown: bool = False,
) -> int:
    """Answer at the gate itself for an execution that has ended.

    Where nobody could tell what it wrote (`unknown`), it can be left as it is even where the gate
    lists nothing. Raises DecisionRefusedError where the gate lists no such machine.
    """
    path = control_socket(session, socket)
    try:
        report = ask_for_report(path, {"do": "status"})
    except ServiceUnavailableError as error:
        raise DecisionRefusedError(
            f"{one_line(execution_id, 200)} has ended, so that nothing waits for a decision, and "
            f"the gate that may know what it left changed can't be asked. {error.message}",
            "nothing waits for a decision",
        ) from None
    found = [one for one in report.left if one.execution == execution_id]
    if not found and not (unknown and verb is Verb.LEAVE):
        raise DecisionRefusedError(
            f"{one_line(execution_id, 200)} has ended, and the gate of this host ({path}) lists "
            "nothing that it left changed: nothing was done. Ask on the host where it wrote.",
            "nothing is left changed",
        )
    rule = ApprovalRule(assurance=report.approval.assurance)
    signs = signing is not None and signing.needed(rule)
    question = _question(session, path, found[0], rule, signs=signs) if found else None
    if question:
        session.output.question(gate_text(question), answer=False)
    elif found:
        session.output.note(left_line(found[0]))
    else:
        name = one_line(execution_id, 200)
        session.output.note(f"MACHINE STATE UNKNOWN: {name}. The gate lists no change.")
    if not yes and not confirmed(QUESTIONS[verb], YES_ALONE):
        session.output.note("Nothing was done.")
        return ExitCode.FAILED
    request: dict[str, Any] = {"do": verb, "execution": execution_id, "operator": name_of(operator)}
    if signs and signing and question:
        request |= {
            "operator": signing.operator(operator, rule),
            "statement": statement_of(verb, question).model_dump(mode="json"),
            "signature": signing.signature(session, verb, question),
        }
    if verb is Verb.LEAVE:
        return _left(session, path, request)
    return _restored(session, path, request)


def _question(
    session: Session, path: Path, left: LeftMachine, rule: ApprovalRule, *, signs: bool
) -> PendingRestore | None:
    """What the gate's journal says was left changed, and reads now, as a question.

    Where nobody `signs` it, it is answered without its values too: None where they can't be told.
    """
    request = {"do": "verdict", "permit": left.permit, "execution": left.execution}
    try:
        answer = ask_gate(path, request, _TOLD_SECONDS).get("verdict")
    except PythonExecutorException as error:
        if signs:
            raise
        session.output.note(f"No value can be shown. {error.message}", style="yellow")
        return None
    try:
        changes = TypeAdapter(list[LeftChange]).validate_python(
            answer.get("changes") if isinstance(answer, dict) else None
        )
    except ValidationError:
        raise other_version(path) from None
    binds = LeftBehind(
        workflow_id=left.execution, first_run_id=left.first_run_id, number=0, changes=changes
    )
    return PendingRestore(
        binds=binds,
        reason=f"Its last session ended {moment(left.at)}. The execution is over: the gate of this "
        "host answers for it.",
        rule=rule,
        asked_at=datetime.now(UTC),
    )


def _left(session: Session, path: Path, request: dict[str, Any]) -> int:
    was_listed = ask_gate(path, request).get("was_listed")
    if not isinstance(was_listed, bool):
        raise other_version(path)
    if session.output.as_json:
        session.output.document({"id": request["execution"], "gate": {"was_listed": was_listed}})
    else:
        session.output.answer("gate: it stays as it is, and is listed no more")
    return ExitCode.DONE


def _restored(session: Session, path: Path, request: dict[str, Any]) -> int:
    session.output.note("The execution has ended: the gate of this host puts back. Ctrl-C ends it.")
    # The event loop stands still meanwhile, and its Ctrl-C with it.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        answer = ask_gate(path, request, _RESTORE_SECONDS)
        report = RestoreReport.model_validate(answer.get("restored"))
    except ValidationError:
        raise other_version(path) from None
    except KeyboardInterrupt:
        raise ServiceUnavailableError(
            "Not everything is put back. The gate ends behind the write under way; say this again "
            "to go on.",
            "gate",
        ) from None
    finally:
        signal.signal(signal.SIGINT, ours)
    if session.output.as_json:
        told = {"restored": report.model_dump(mode="json")}
        session.output.document({"id": request["execution"], "gate": told})
    else:
        for channel in report.channels:
            session.output.answer(f"gate: {channel}")
        whole = "everything is back" if report.complete else "NOT everything is back"
        session.output.answer(f"gate: {whole}")
    return ExitCode.DONE if report.complete else ExitCode.FAILED
