"""The client: start executions, come back to them, list those that wait."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from runpermit.connection import connect, temporal_errors
from runpermit.errors import InvalidRequestError
from runpermit.execution import Execution
from runpermit.models import PythonExecutionRequest, PythonServiceResult, accept_request
from runpermit.names import TASK_QUEUE, WORKFLOW
from runpermit.text import visible
from runpermit.waiting import WaitingExecution, memo_of, waits

_ID_BYTES = 200
_RUNNING = f"WorkflowType = '{WORKFLOW}' AND ExecutionStatus = 'Running'"
_ENDED_BADLY = (
    f"WorkflowType = '{WORKFLOW}' AND ExecutionStatus IN ('Failed', 'Canceled', 'Terminated')"
)
_UNKNOWN_FOR = timedelta(days=30)


class RunpermitClient:
    """Starts executions and finds them again. Make one with `connect`.

    `temporal` is the Temporal client below; one made elsewhere must have
    `runpermit.payloads.data_converter`.
    """

    def __init__(self, temporal: Client) -> None:
        self.temporal = temporal

    @classmethod
    async def connect(
        cls,
        address: str | None = None,
        *,
        namespace: str | None = None,
        profile: str | None = None,
        config_file: str | Path | None = None,
        timeout: float = 5,
    ) -> "RunpermitClient":
        """A client for the Temporal server that its own settings name.

        These are temporal.toml (`config_file`, `profile`) and TEMPORAL_* variables; `address`
        and `namespace` override them. Raises ServiceUnavailableError after `timeout` seconds at
        most, ContainerConfigurationError where the settings can't be read.
        """
        return cls(await connect(address, namespace, profile, config_file, timeout))

    @property
    def address(self) -> str:
        """Where Temporal listens, as `host:port`."""
        return self.temporal.service_client.config.target_host

    @property
    def namespace(self) -> str:
        """Temporal's namespace."""
        return self.temporal.namespace

    async def start(
        self,
        request: PythonExecutionRequest | Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002  (Temporal's word)
    ) -> Execution:
        """Start an execution; the same `id` and request again return the one that exists.

        Raises InvalidRequestError, before anything starts, for a request that is not acceptable
        and for an `id` that belongs to another request.
        """
        accepted = accept_request(dict(request) if isinstance(request, Mapping) else request)
        name = _checked(id) if id is not None else _readable_id(accepted)
        with temporal_errors(self.temporal):
            try:
                await self.temporal.start_workflow(
                    WORKFLOW,
                    accepted,
                    id=name,
                    task_queue=TASK_QUEUE,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    memo={"request_sha256": accepted.sha256},
                )
            except WorkflowAlreadyStartedError:
                return await self._existing(name, accepted)
        return self.handle(name)

    def handle(self, id: str) -> Execution:  # noqa: A002  (Temporal's word)
        """The execution of that id, running or closed. Nothing is asked of the server yet."""
        return Execution(self.temporal, _checked(id))

    async def execute(
        self,
        request: PythonExecutionRequest | Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002  (Temporal's word)
    ) -> PythonServiceResult:
        """Start an execution and wait for its result; raises what `Execution.result` raises."""
        execution = await self.start(request, id=id)
        return await execution.result()

    async def pending(self) -> list[WaitingExecution]:
        """The executions that wait for an operator. Needs no worker to answer.

        First those that left the machine changed, then those of which nobody could tell what they
        wrote, for 30 days after their end, then those that wait for an approval; of each the oldest
        first.

        The stage is read from each memo, so that it works where RunpermitStage is not registered
        and for executions that are older than its registration.
        """
        found = []
        since = (datetime.now(UTC) - _UNKNOWN_FOR).isoformat()
        with temporal_errors(self.temporal):
            for query in (_RUNNING, f"{_ENDED_BADLY} AND CloseTime > '{since}'"):
                found += await self._waiting(query)
        return sorted(
            found, key=lambda one: (not one.left_changed, not one.state_unknown, one.since)
        )

    async def _waiting(self, query: str) -> list[WaitingExecution]:
        found = []
        async for listed in self.temporal.list_workflows(query):
            memo = memo_of(await listed.memo())
            runs = listed.status is WorkflowExecutionStatus.RUNNING
            if memo and (memo.state_unknown or (runs and waits(memo))):
                found.append(
                    WaitingExecution(
                        id=listed.id,
                        run_id=listed.run_id,
                        stage=memo.stage,
                        started_at=listed.start_time,
                        attempt=memo.attempt,
                        question=memo.question,
                        first_writes=memo.first_writes,
                        sha256=memo.sha256,
                        host=memo.host,
                        requester=memo.requester,
                        asked_at=memo.asked_at,
                        approvals=memo.approvals,
                        persons=memo.persons,
                        state_unknown=memo.state_unknown,
                    )
                )
        return found

    async def running(self) -> list[Execution]:
        """All executions that have not ended, whatever they do. Needs no worker to answer."""
        with temporal_errors(self.temporal):
            return [
                self.handle(listed.id) async for listed in self.temporal.list_workflows(_RUNNING)
            ]

    async def _existing(self, name: str, request: PythonExecutionRequest) -> Execution:
        execution = self.handle(name)
        memo = memo_of(await (await execution.describe()).memo())
        if memo is None or memo.request_sha256 != request.sha256:
            raise InvalidRequestError(
                f"The id {name} belongs to another request. An id is used once: leave it out or "
                "choose a new one; to come back to that execution, send the very same request or "
                "use handle(id).",
                "id",
            )
        return execution


def _checked(name: str) -> str:
    if not name or len(name.encode(errors="replace")) > _ID_BYTES or visible(name, keep="") != name:
        raise InvalidRequestError(
            f"An id has 1 to {_ID_BYTES} bytes of visible text, this one has not.", "id"
        )
    return name


def _readable_id(request: PythonExecutionRequest) -> str:
    return f"{request.execution_folder_name}-{secrets.token_hex(4)}"
