"""Executions of which nobody could tell what they wrote, once the gate that knows is back."""

from collections.abc import Sequence

from pydantic import ValidationError

from runpermit.cli.gate_asking import ask_gate, control_socket, host_here
from runpermit.cli.session import Session
from runpermit.client import RunpermitClient
from runpermit.errors import InvalidRequestError, PythonExecutorException
from runpermit.models.journal import JournalRecords
from runpermit.waiting import WaitingExecution, memo_of

# All of the journal is read for it.
_PATIENCE_SECONDS = 120.0
_LEFT_ALONE = "left_alone"


def still_unknown(session: Session, waiting: Sequence[WaitingExecution]) -> list[WaitingExecution]:
    """Those of `waiting` that this host's gate does not know better.

    What its journal tells of a permit, or of somebody who left the machine as it is, is no longer
    unknown: where it was left changed, the gate lists that itself.
    """
    here = host_here(session) if any(one.state_unknown for one in waiting) else ""
    return [
        one
        for one in waiting
        if not (one.state_unknown and one.stage.is_final and one.host == here)
        or not _is_told(session, one.id)
    ]


async def ended_unknown(session: Session, client: RunpermitClient, execution_id: str) -> bool:
    """Whether that execution, which has ended, is of this host and nobody knows what it wrote.

    Raises ServiceUnavailableError.
    """
    try:
        described = await client.handle(execution_id).describe()
    except InvalidRequestError:  # Temporal has forgotten it
        return False
    memo = memo_of(await described.memo())
    return memo is not None and memo.state_unknown and memo.host == host_here(session)


def _is_told(session: Session, execution_id: str) -> bool:
    request = {"do": "records", "execution": execution_id}
    try:
        answer = ask_gate(control_socket(session, None), request, _PATIENCE_SECONDS)
        told = JournalRecords.model_validate(answer.get("journal"))
    except (PythonExecutorException, ValidationError):
        return False
    if told.chain is None or told.chain.broken:
        return False
    return any("permit" in one or one.get("event") == _LEFT_ALONE for one in told.records)
