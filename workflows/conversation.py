"""What people and programs say to an execution, and what they can ask it."""

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from runpermit.errors import DecisionRefusedError
from runpermit.failures import to_application_error
from runpermit.models import (
    Decision,
    DecisionReceipt,
    DecisionWay,
    PendingApproval,
    PendingRestore,
    PythonExecutionState,
    Verb,
)
from workflows.desk import ApprovalDesk


class Conversation:
    """Signals, update and queries of the workflow. No handler raises on what a stranger sends."""

    def __init__(self) -> None:
        self._state = PythonExecutionState()
        self._desk = ApprovalDesk()

    @workflow.signal
    async def approve(self, *decision: Any) -> None:  # noqa: ANN401
        """Approve the first revision. A later one, or one from another page: approve-<revision>."""
        await self._desk.receive(Verb.APPROVE, decision, DecisionWay.SIGNAL)

    @workflow.signal
    async def reject(self, *decision: Any) -> None:  # noqa: ANN401
        """Refuse what waits; the execution ends."""
        await self._desk.receive(Verb.REJECT, decision, DecisionWay.SIGNAL)

    @workflow.signal
    async def revise(self, *decision: Any) -> None:  # noqa: ANN401
        """Send the code back to the model, with your comment."""
        await self._desk.receive(Verb.REVISE, decision, DecisionWay.SIGNAL)

    @workflow.signal
    async def restore(self, *decision: Any) -> None:  # noqa: ANN401
        """Put back what the execution left changed."""
        await self._desk.receive(Verb.RESTORE, decision, DecisionWay.SIGNAL)

    @workflow.signal
    async def leave(self, *decision: Any) -> None:  # noqa: ANN401
        """Leave the machine as it is."""
        await self._desk.receive(Verb.LEAVE, decision, DecisionWay.SIGNAL)

    @workflow.signal
    async def stop(self, *decision: Any) -> None:  # noqa: ANN401
        """End the execution now, whatever it does."""
        await self._desk.receive(Verb.STOP, decision, DecisionWay.SIGNAL)

    @workflow.update
    async def decide(self, *decision: Any) -> DecisionReceipt:  # noqa: ANN401
        """Say what a signal would, and be told at once whether it counted."""
        verb = _verb(decision)
        record = await self._desk.receive(verb, decision, DecisionWay.UPDATE)
        if verb is None or not record.accepted:
            raise _refused(record.reason)
        return DecisionReceipt.of(verb, record)

    @workflow.query(name="state")
    def state(self) -> PythonExecutionState:
        """Where the execution stands; at most 1 MB."""
        decisions = list(self._desk.state.records)
        return self._state.model_copy(update={"decisions": decisions}).fitting()

    @workflow.query
    def pending_approval(self) -> PendingApproval | None:
        """The question that waits, or nothing."""
        return self._state.approval_interrupt_data

    @workflow.query
    def pending_restore(self) -> PendingRestore | None:
        """The question about a machine that was left changed, or nothing."""
        return self._state.pending_restore

    @workflow.query
    def code(self) -> str | None:
        """The program of the present attempt."""
        return self._state.generated_code


def _refused(reason: str) -> ApplicationError:
    error = DecisionRefusedError(f"The decision did not count: {reason}.", reason)
    return to_application_error(error, non_retryable=True)


def _verb(arguments: tuple[Any, ...]) -> Verb | None:
    argument = arguments[0] if arguments else None
    if isinstance(argument, Decision):
        return argument.decision
    said = argument.get("decision") if isinstance(argument, dict) else None
    return Verb(said) if isinstance(said, str) and said in set(Verb) else None
