"""One execution, seen from outside: ask, follow, answer, wait for its result."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import TerminatedError
from temporalio.service import RPCError, RPCStatusCode

from runpermit.connection import is_outage, temporal_errors
from runpermit.errors import (
    DecisionRefusedError,
    InvalidRequestError,
    ServiceUnavailableError,
    UnreadableMessageError,
)
from runpermit.failures import unwrap
from runpermit.following import follow
from runpermit.models import (
    UNAUTHORED,
    Decision,
    DecisionReceipt,
    DecisionRecord,
    PendingApproval,
    PendingRestore,
    PythonExecutionState,
    PythonServiceResult,
    Verb,
)
from runpermit.progress import ProgressEvent

_CALL = timedelta(seconds=10)
_DECISION = timedelta(seconds=15)
_RECONNECT_SECONDS = 1.0
_SIGNAL_LOOKS, _SIGNAL_SECONDS = 60, 0.25
# What a query comes back with where Temporal is there and no worker takes it.
_NO_WORKER = {
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
}


class Execution:
    """One execution by its id. Made by RunpermitClient.start and RunpermitClient.handle.

    What is asked of the workflow (`state`, `pending_approval`, `pending_restore`, `code`, and the
    answers) raises ServiceUnavailableError where no worker answers, InvalidRequestError where
    there is no such execution, UnreadableMessageError where this client is older than the worker.
    """

    def __init__(self, temporal: Client, id: str) -> None:  # noqa: A002  (Temporal's word)
        self.id = id
        self._temporal = temporal
        self._handle = temporal.get_workflow_handle(id, result_type=PythonServiceResult)

    async def state(self) -> PythonExecutionState:
        """Everything about the execution."""
        state: PythonExecutionState = await self._query("state", PythonExecutionState)
        return state

    async def pending_approval(self) -> PendingApproval | None:
        """The question that waits for an operator, or None."""
        pending: PendingApproval | None = await self._query(
            "pending_approval", PendingApproval | None
        )
        return pending

    async def pending_restore(self) -> PendingRestore | None:
        """The question whether to put back what it left changed, or None."""
        pending: PendingRestore | None = await self._query("pending_restore", PendingRestore | None)
        return pending

    async def code(self) -> str | None:
        """The latest program, or None before there is one."""
        code: str | None = await self._query("code", str | None)
        return code

    async def describe(self) -> WorkflowExecutionDescription:
        """What Temporal itself knows: status, memo, running activities. Needs no worker."""
        with temporal_errors(self._temporal, self.id):
            return await self._handle.describe(rpc_timeout=_CALL)

    def progress(self) -> AsyncIterator[ProgressEvent]:
        """What happens, as it happens, from the beginning of the execution to its end.

        Every stage once, attempts, growing stdout, writes as they are confirmed, questions. Goes on
        through outages of Temporal and of the workers. Raises InvalidRequestError where there is no
        such execution.
        """
        return follow(self)

    async def approve(
        self,
        operator: str | None,
        sha256: str,
        comment: str | None = None,
        signature: str | None = None,
    ) -> DecisionReceipt:
        """Approve the revision with that sha256 (64 hex digits), and no other.

        `signature`: see `runpermit.signing`; beside one, `operator` is needed only where the key
        stands for several names. Raises DecisionRefusedError where it does not count: another
        revision waits, or none, or it had to be signed.
        """
        return await self._decide(Verb.APPROVE, operator, comment, sha256, signature)

    async def reject(self, operator: str, reason: str) -> DecisionReceipt:
        """End the execution without running what waits. Raises DecisionRefusedError."""
        return await self._decide(Verb.REJECT, operator, reason)

    async def revise(
        self, operator: str, comment: str, sha256: str | None = None
    ) -> DecisionReceipt:
        """Send what waits back to the generator, with `comment`. Raises DecisionRefusedError.

        Without `sha256` the revision is meant that waits at this moment.
        """
        if sha256 is None:
            pending = await self.pending_approval()
            sha256 = pending.sha256 if pending else None
        return await self._decide(Verb.REVISE, operator, comment, sha256)

    async def restore(
        self,
        operator: str | None,
        comment: str | None = None,
        sha256: str | None = None,
        signature: str | None = None,
    ) -> DecisionReceipt:
        """Put back what the execution left changed. Raises DecisionRefusedError.

        Without `sha256` the question is meant that waits at this moment; `signature` as in
        `approve`.
        """
        return await self._answer_restore(Verb.RESTORE, operator, comment, sha256, signature)

    async def leave(
        self, operator: str, comment: str | None = None, sha256: str | None = None
    ) -> DecisionReceipt:
        """Leave the machine as it is: the other answer to MACHINE LEFT CHANGED.

        Without `sha256` the question is meant that waits at this moment. Raises
        DecisionRefusedError.
        """
        return await self._answer_restore(Verb.LEAVE, operator, comment, sha256)

    async def stop(self, operator: str, reason: str) -> None:
        """End the execution at whatever stage. Durable, even while no worker answers.

        Raises DecisionRefusedError where it has ended already.
        """
        decision = _decision(Verb.STOP, operator, reason)
        with temporal_errors(self._temporal, self.id):
            try:
                await self._handle.signal("stop", decision, rpc_timeout=_CALL)
            except RPCError as error:
                await self._refuse_if_ended(error)
                raise

    async def result(self) -> PythonServiceResult:
        """Wait for the end, through outages of Temporal; the result, or the execution's error.

        Raises the exception of runpermit.errors with which the execution ended: rejected, expired
        and stopped are WorkflowError with that `stage`.
        """
        while True:
            with temporal_errors(self._temporal, self.id):
                try:
                    result: PythonServiceResult = await self._handle.result()
                except WorkflowFailureError as failure:
                    if not await self._was_reset(failure):
                        raise unwrap(failure) from failure
                except RPCError as error:
                    if not is_outage(error):
                        raise
                else:
                    return result
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _was_reset(self, failure: WorkflowFailureError) -> bool:
        """Whether the run that we waited for was ended by a reset, as far as can be told now.

        The one that follows goes on, or has come to its own end since.
        """
        if not isinstance(failure.cause, TerminatedError):
            return False
        try:
            described = await self._handle.describe(rpc_timeout=_CALL)
        except RPCError as error:
            if not is_outage(error):
                raise
            return True  # the next look tells
        return described.status is not WorkflowExecutionStatus.TERMINATED

    async def _answer_restore(
        self,
        verb: Verb,
        operator: str | None,
        comment: str | None,
        sha256: str | None,
        signature: str | None = None,
    ) -> DecisionReceipt:
        if sha256 is None:
            pending = await self.pending_restore()
            if pending is None:
                raise DecisionRefusedError(
                    f"Execution {self.id} asks nothing about a machine left changed: nothing was "
                    "sent.",
                    "nothing waits for a decision",
                )
            sha256 = pending.sha256
        return await self._decide(verb, operator, comment, sha256, signature)

    async def _query(self, name: str, kind: Any) -> Any:  # noqa: ANN401  (a type expression)
        with temporal_errors(self._temporal, self.id):
            try:
                return await self._handle.query(name, result_type=kind, rpc_timeout=_CALL)
            except RPCError as error:
                if error.status in _NO_WORKER:
                    raise ServiceUnavailableError(
                        f"No worker answers for execution {self.id} ({error.message}). Start one, "
                        "or look at `runpermit doctor`; the execution itself is safe in Temporal.",
                        "worker",
                    ) from error
                raise

    async def _decide(
        self,
        verb: Verb,
        operator: str | None,
        comment: str | None,
        sha256: str | None = None,
        signature: str | None = None,
    ) -> DecisionReceipt:
        decision = _decision(verb, operator, comment, sha256, signature)
        try:
            return await self._update(verb, decision)
        except DecisionRefusedError as error:
            if error.reason != UNAUTHORED:
                raise
        return await self._signal(verb, decision)

    async def _signal(self, verb: Verb, decision: Decision) -> DecisionReceipt:
        """Send it by the way whose author Temporal records, and wait for what became of it."""
        known = (await self.state()).decisions
        with temporal_errors(self._temporal, self.id):
            await self._handle.signal(verb, decision, rpc_timeout=_CALL)
        for _ in range(_SIGNAL_LOOKS):
            await asyncio.sleep(_SIGNAL_SECONDS)
            for record in (await self.state()).decisions:
                ours = (record.verb, record.sha256, record.comment) == (
                    verb, decision.sha256, decision.comment
                )  # fmt: skip
                if ours and record not in known:
                    return _receipt(verb, record)
        raise ServiceUnavailableError(
            f"{verb} was sent to execution {self.id}, and is not judged yet: look at its state "
            "before sending it again.",
            "worker",
        )

    async def _update(self, verb: Verb, decision: Decision) -> DecisionReceipt:
        with temporal_errors(self._temporal, self.id):
            try:
                receipt: DecisionReceipt = await self._handle.execute_update(
                    "decide", decision, result_type=DecisionReceipt, rpc_timeout=_DECISION
                )
            except WorkflowUpdateFailedError as failure:
                raise _refused(failure) from failure
            except UnreadableMessageError as answer:
                raise UnreadableMessageError(
                    f"{verb} was sent to execution {self.id}, and counts: look at its state. "
                    f"{answer.message}",
                    answer.field,
                ) from None
            except WorkflowUpdateRPCTimeoutOrCancelledError as unanswered:
                if isinstance(unanswered.__cause__, asyncio.CancelledError):
                    raise unanswered.__cause__ from None
                raise ServiceUnavailableError(
                    f"{verb} was sent to execution {self.id}, and was not answered in "
                    f"{_DECISION.seconds} s: its worker is down, or the gate that verifies "
                    "signatures. It may have arrived, and count later: look at the state before "
                    "sending it again.",
                    "worker",
                ) from unanswered
            except RPCError as error:
                await self._refuse_if_ended(error)
                raise
            else:
                return receipt

    async def _refuse_if_ended(self, error: RPCError) -> None:
        """Raise DecisionRefusedError if `error` only says that the execution is closed."""
        if error.status is not RPCStatusCode.NOT_FOUND:
            return
        described = await self._handle.describe(rpc_timeout=_CALL)
        status = described.status.name.lower() if described.status else "closed"
        raise DecisionRefusedError(
            f"Execution {self.id} has ended ({status}): nothing can be decided any more.",
            "the execution has ended",
        ) from error


def _decision(
    verb: Verb,
    operator: str | None,
    comment: str | None,
    sha256: str | None = None,
    signature: str | None = None,
) -> Decision:
    try:
        return Decision(
            decision=verb, operator=operator, comment=comment, sha256=sha256, signature=signature
        )
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "decision"
        raise InvalidRequestError(f"{field}: {first['msg']}.", field) from None


def _receipt(verb: Verb, record: DecisionRecord) -> DecisionReceipt:
    if not record.accepted:
        raise DecisionRefusedError(
            f"The decision did not count: {record.reason.rstrip('.')}.", record.reason
        )
    return DecisionReceipt.of(verb, record)


def _refused(failure: WorkflowUpdateFailedError) -> DecisionRefusedError:
    """Whatever failed the update, the decision does not count."""
    error = unwrap(failure)
    if isinstance(error, DecisionRefusedError):
        return error
    return DecisionRefusedError(f"The decision does not count: {error.message}", error.message)
