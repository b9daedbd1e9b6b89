"""What people and programs say to an execution, and what they can ask it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.api.sdk.v1 import WorkflowInteractionDefinition, WorkflowMetadata
from temporalio.exceptions import ApplicationError

from runpermit.errors import DecisionRefusedError
from runpermit.failures import to_application_error
from runpermit.models import (
    Decision,
    DecisionReceipt,
    DecisionRecord,
    DecisionWay,
    PendingApproval,
    PendingRestore,
    PythonExecutionState,
    Verb,
)
from runpermit.page import approval_page, restore_page
from workflows.desk import ApprovalDesk

_METADATA = "__temporal_workflow_metadata"  # Temporal's own query: what its Web UI shows


class Conversation:
    """Signals, update and queries of the workflow. No handler raises on what a stranger sends."""

    def __init__(self) -> None:
        self._state = PythonExecutionState()
        self._desk = ApprovalDesk()
        self._desk.on_refusal = self._refused
        if (all_of_it := workflow.get_query_handler(_METADATA)) is not None:
            workflow.set_query_handler(_METADATA, partial(self._metadata, all_of_it))

    @workflow.signal(
        description="Not from the page: choose approve-… with the digits that you read there."
    )
    async def approve(self, *decision: Any) -> None:  # noqa: ANN401
        """Approve the first revision. A later one, or one from another page: approve-<revision>."""
        await self._desk.receive(Verb.APPROVE, decision, DecisionWay.SIGNAL)

    @workflow.signal(description="Refuse what waits, whatever it is; the execution ends.")
    async def reject(self, *decision: Any) -> None:  # noqa: ANN401
        """Refuse what waits; the execution ends."""
        await self._desk.receive(Verb.REJECT, decision, DecisionWay.SIGNAL)

    @workflow.signal(
        description="Not from the page: choose revise-… with the digits that you read there."
    )
    async def revise(self, *decision: Any) -> None:  # noqa: ANN401
        """Send the code back to the model, with your comment."""
        await self._desk.receive(Verb.REVISE, decision, DecisionWay.SIGNAL)

    @workflow.signal(
        description="Not from the page: choose restore-… with the digits that you read there."
    )
    async def restore(self, *decision: Any) -> None:  # noqa: ANN401
        """Put back what the execution left changed."""
        await self._desk.receive(Verb.RESTORE, decision, DecisionWay.SIGNAL)

    @workflow.signal(description="Leave the machine as it is.")
    async def leave(self, *decision: Any) -> None:  # noqa: ANN401
        """Leave the machine as it is."""
        await self._desk.receive(Verb.LEAVE, decision, DecisionWay.SIGNAL)

    @workflow.signal(
        description='End the execution now, whatever it does. Your words: {"comment": "…"}'
    )
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

    def _metadata(self, all_of_it: Callable[[], WorkflowMetadata]) -> WorkflowMetadata:
        """What the SDK tells the Web UI, and what answers the page on top of its signals.

        Those of earlier questions are listened to, and not listed. What did not count is told when
        somebody looks: there may be thousands of it.
        """
        told = all_of_it()
        signals = told.definition.signal_definitions
        # While nothing is asked, one of them alone does something.
        first = None if self._desk.offered else Verb.STOP
        plain = [signal for signal in signals if signal.name in set(Verb)]
        plain.sort(key=lambda signal: signal.name != first)
        del signals[:]
        signals.extend(
            WorkflowInteractionDefinition(name=name, description=does)
            for name, does in self._desk.offered.items()
        )
        signals.extend(plain)
        asked, left = self._state.approval_interrupt_data, self._state.pending_restore
        if asked is not None and asked.not_counted is not None:
            told.current_details = approval_page(asked)
        elif left is not None and left.not_counted is not None:
            told.current_details = restore_page(left)
        return told

    def _refused(self, record: DecisionRecord) -> None:
        """Keep it with the question that waits: of a signal its sender is told nothing."""
        state, told = self._state, {"not_counted": record}
        if state.approval_interrupt_data is not None:
            state.approval_interrupt_data = state.approval_interrupt_data.model_copy(update=told)
        elif state.pending_restore is not None:
            state.pending_restore = state.pending_restore.model_copy(update=told)

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
