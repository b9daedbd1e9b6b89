"""Prepare: the folder, the stored request, and the deployment's word for the workflow."""

import asyncio
import json
from pathlib import Path
from urllib.parse import quote

from temporalio import activity
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.folder import (
    existing_folder_path,
    make_folders,
    new_folder_path,
    write_whole,
)
from activities.folder_lock import take
from activities.house import House
from activities.identity import started_by_principal
from runpermit.config import check_settings
from runpermit.errors import ContainerConfigurationError, ServiceUnavailableError
from runpermit.models import ApprovalRule, NotebookAttempt, NotebookType
from runpermit.names import STAGE_ATTRIBUTE
from workflows.steps import Deployment, Folder, PrepareTask, Timeouts

_TYPES = {
    "generation": NotebookType.CODE_GENERATION_ATTEMPT,
    "approval": NotebookType.PRE_EXECUTION,
    "execution": NotebookType.EXECUTION_ATTEMPT,
}


class Preparation:
    """The first step. Idempotent: asked again, it finds what it made."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="prepare")
    async def prepare(self, task: PrepareTask) -> Deployment:
        """Make or re-open the folder, store the request, and tell the deployment.

        Raises ContainerConfigurationError for settings that must be mended or a disk that can't
        be written, ServiceUnavailableError for a full one or a gate that does not answer,
        InvalidRequestError for a folder outside the root or in use.
        """
        settings = self._house.settings
        wrong = check_settings(settings)
        if wrong:
            raise ContainerConfigurationError(" ".join(wrong))
        client = activity.client()
        rule = settings.approval.rule
        requesters = await _requesters(task, rule, client)
        gate, search_attributes, foreign_details = await asyncio.gather(
            self._house.gate.status(),
            _registered(client),
            _has_foreign_details(task.workflow_id, client),
        )
        folder = await self._open(task, client)
        return Deployment(
            host=self._house.host,
            folder=folder,
            notebooks=_earlier_notebooks(folder),
            writes_enabled=settings.control_system.writes_enabled,
            control_system_type=settings.control_system.type,
            approval_mode=settings.approval.mode,
            rule=rule,
            requesters=requesters,
            question_expiry=settings.approval.question_expiry,
            plan_max_age=settings.approval.plan_max_age,
            timeouts=Timeouts(
                run=settings.timeouts.run,
                generation=settings.generation.timeout,
                heartbeat=settings.timeouts.heartbeat,
                retry=settings.timeouts.retry,
                host=settings.timeouts.host,
                rehearsal=settings.rehearsal.timeout,
                verdict=settings.timeouts.verdict,
            ),
            isolation=self._house.kernels.isolation,
            limits=self._house.limits.status(),
            gate=gate,
            search_attributes=search_attributes,
            web_ui=settings.links.web_ui,
            foreign_details=foreign_details,
            address=self._house.address,
            namespace=client.namespace,
        )

    async def _open(self, task: PrepareTask, client: Client) -> Folder:
        root = self._house.settings.executions.root.resolve()
        existing = task.request.existing_execution_folder
        if existing is None:
            path = new_folder_path(root, task)
            make_folders(root, path.parent, path)
        else:
            path = existing_folder_path(root, existing)
        holder = await take(path, task.workflow_id, task.first_run_id, client)
        folder = Folder(
            path=path,
            link=self._link(path),
            suffix=holder.suffix,
            request_sha256=task.request.sha256,
        )
        make_folders(folder.attempts, folder.work)
        write_whole(path / f"request{folder.suffix}.json", task.request.model_dump_json(indent=2))
        context = task.request.capability_context_data
        if context is not None or not (folder.work / "context.json").exists():
            write_whole(folder.work / "context.json", json.dumps(context or {}, allow_nan=False))
        return folder

    def _link(self, path: Path) -> str:
        base = self._house.settings.links.notebooks.rstrip("/")
        root = self._house.settings.executions.root.resolve()
        below = path.resolve().relative_to(root).as_posix()
        return f"{base}/{quote(below)}" if base else path.as_uri()


async def _requesters(task: PrepareTask, rule: ApprovalRule, client: Client) -> list[str]:
    """Who asked for it, where they may not approve it. Raises ContainerConfigurationError."""
    if rule.requester_may_approve:
        return []
    started_by = await started_by_principal(
        client, task.workflow_id, activity.info().workflow_run_id or ""
    )
    known = [name for name in (task.request.requester, started_by) if name]
    if not known:
        raise ContainerConfigurationError(
            "approval.requester_may_approve = false, and nobody knows who asked for this: the "
            "request has no `requester`, and Temporal names no principal of its start. Say who "
            "asks, in `requester`."
        )
    return known


async def _registered(client: Client) -> list[str]:
    """Those of our search attributes that this namespace has; none where nobody can tell."""
    try:
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError:
        return []
    kind = listed.custom_attributes.get(STAGE_ATTRIBUTE)
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    return [STAGE_ATTRIBUTE] if kind == keyword else []


async def _has_foreign_details(workflow_id: str, client: Client) -> bool:
    """Whether the requester put words of their own beside our page in the Web UI."""
    try:
        description = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise ServiceUnavailableError(
            f"Temporal does not describe us: {error}", "temporal"
        ) from None
    return bool(await description.static_summary() or await description.static_details())


def _earlier_notebooks(folder: Folder) -> list[NotebookAttempt]:
    """The notebooks that an earlier execution left in the folder, so that none is overwritten."""
    found = []
    for path in sorted(folder.attempts.glob("*_*.ipynb")):
        number, _, stage = path.stem.partition("_")
        if number.isdecimal() and stage in _TYPES and folder.suffix:
            found.append(
                NotebookAttempt(
                    notebook_type=_TYPES[stage],
                    attempt_number=int(number),
                    stage=stage,
                    notebook_path=path,
                    notebook_link=folder.link_to(path),
                )
            )
    return found
