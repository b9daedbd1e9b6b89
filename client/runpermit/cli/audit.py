"""What the gate's journal tells of an execution, and whether it can be believed."""

import typer
from pydantic import ValidationError

from runpermit.cli.exits import ExitCode
from runpermit.cli.gate_asking import Socket, ask_gate, control_socket, other_version
from runpermit.cli.session import ExecutionId, Session, add_command
from runpermit.errors import ServiceUnavailableError
from runpermit.journal_story import story
from runpermit.models.journal import JournalChain, JournalRecords
from runpermit.text import one_line

# All of the journal is read for it.
_PATIENCE_SECONDS = 120.0


async def audit(session: Session, execution_id: ExecutionId, socket: Socket = None) -> int:
    """Tell an execution from the gate's journal, and verify the journal's hash chain.

    Permits, sessions, every write intended, forwarded and read back, refusals, stops and what was
    put back. Needs neither Temporal nor a worker, but the gate of the host where it wrote. Exit
    code 1 where the chain is broken.
    """
    path = control_socket(session, socket)
    request = {"do": "records", "execution": execution_id}
    try:
        told = JournalRecords.model_validate(ask_gate(path, request, _PATIENCE_SECONDS)["journal"])
    except (KeyError, ValidationError):
        raise other_version(path) from None
    if told.chain is None:
        raise ServiceUnavailableError(
            f"The gate at {path} did not follow its journal's chain. Update it.", "gate"
        )
    code = ExitCode.FAILED if told.chain.broken else ExitCode.DONE
    if session.output.as_json:
        session.output.document({"id": execution_id, **told.model_dump(mode="json")})
        return code
    for line in story(told.records):
        session.output.answer(line)
    if not told.records:
        session.output.answer(f"The journal tells nothing of {one_line(execution_id, 200)}.")
    if told.left_out:
        session.output.answer(
            f"{told.left_out} records are left out here: `python -m gate.journal.reading` prints "
            "all."
        )
    _tell_chain(session, told.chain)
    return code


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    add_command(app, "audit", audit, ["audit scan-42", "audit scan-42 --json"])


def _tell_chain(session: Session, chain: JournalChain) -> None:
    output = session.output
    if chain.broken:
        output.answer(f"JOURNAL BROKEN: {one_line(chain.broken, 400)}", style="bold red")
        output.answer("Records before it hold. Keep the journal as evidence.")
    elif chain.last is None:
        output.answer("The journal is empty.")
    else:
        output.answer(f"Records {chain.first} to {chain.last} of the journal hold.")
        output.answer(f"sha256 of the last one's line: {chain.head}")
    if chain.torn:
        output.note(f"The last line is not whole and was left out: {one_line(chain.torn, 400)}")
