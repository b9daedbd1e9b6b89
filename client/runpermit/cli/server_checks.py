"""The doctor's look at Temporal: reachable, a worker there, the search attribute registered."""

from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.service import RPCError

from runpermit.cli.checks import Check, Verdict
from runpermit.cli.session import Session
from runpermit.client import RunpermitClient
from runpermit.connection import temporal_errors
from runpermit.errors import PythonExecutorException
from runpermit.names import STAGE_ATTRIBUTE, TASK_QUEUE

_CALL = timedelta(seconds=5)
# A worker asks for work at least once a minute; Temporal lists it for minutes after its end.
_FRESH = timedelta(seconds=90)


async def check_server(session: Session) -> list[Check]:
    """All checks that ask Temporal; only the first where it does not answer."""
    try:
        client = await session.client()
        with temporal_errors(client.temporal):
            await client.temporal.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=client.namespace), timeout=_CALL
            )
    except PythonExecutorException as error:
        return [Check(name="temporal", verdict=Verdict.FAIL, found=error.message)]
    found = f"{client.address}, namespace {client.namespace}"
    return [
        Check(name="temporal", verdict=Verdict.OK, found=found),
        await _worker(client),
        await _attribute(client, session.server_options),
    ]


async def _worker(client: RunpermitClient) -> Check:
    try:
        queue = await client.temporal.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=TASK_QUEUE),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            ),
            timeout=_CALL,
        )
    except RPCError as error:
        return Check(name="worker", verdict=Verdict.FAIL, found=error.message)
    since = datetime.now(UTC) - _FRESH
    polling = [
        poller.identity
        for poller in queue.pollers
        if poller.last_access_time.ToDatetime(tzinfo=UTC) > since
    ]
    if polling:
        found = f"{len(polling)} on task queue {TASK_QUEUE}: {', '.join(sorted(polling)[:5])}"
        return Check(name="worker", verdict=Verdict.OK, found=found)
    return Check(
        name="worker",
        verdict=Verdict.FAIL,
        found=f"none asks for work on task queue {TASK_QUEUE}",
        remedy="Start one: python worker.py. What waits is safe in Temporal meanwhile.",
    )


async def _attribute(client: RunpermitClient, options: str) -> Check:
    try:
        known = await client.temporal.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), timeout=_CALL
        )
    except RPCError as error:
        return Check(
            name="stage search", verdict=Verdict.WARN, found=f"can't be asked: {error.message}"
        )
    if STAGE_ATTRIBUTE in known.custom_attributes:
        return Check(
            name="stage search", verdict=Verdict.OK, found=f"{STAGE_ATTRIBUTE} is registered"
        )
    create = f"temporal operator search-attribute create --name {STAGE_ATTRIBUTE} --type Keyword"
    return Check(
        name="stage search",
        verdict=Verdict.WARN,
        found=f"{STAGE_ATTRIBUTE} is not registered: the Web UI can't list by stage",
        remedy=f"{create} {options}".strip(),
    )
