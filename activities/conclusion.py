"""Conclude: the final notebook, and the freeing of the folder."""

import asyncio

import structlog
from temporalio import activity

from activities.folder import load_request, write_whole
from activities.folder_lock import free
from activities.house import House
from activities.journal_copy import copied_refusals, copied_writes
from activities.notebook import final_notebook
from activities.story import Evidence
from runpermit.errors import PythonExecutorException
from runpermit.models.journal import JournalRecords
from workflows.steps import ConcludeTask

log = structlog.get_logger()


class Conclusion:
    """Idempotent: the same notebook is written again."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="conclude")
    async def conclude(self, task: ConcludeTask) -> None:
        """The final notebook; then the folder is free for the next execution."""
        journal = await self._journal(task)
        await asyncio.to_thread(self._conclude, task, journal)

    async def _journal(self, task: ConcludeTask) -> JournalRecords | None:
        """What the gate's journal tells, where something may have been written.

        None where it does not answer: the notebook then says where to ask.
        """
        if not task.wrote:
            return None
        try:
            return await self._house.gate.records(task.workflow_id)
        except PythonExecutorException as error:
            log.warning("the gate's journal is not in the notebook", why=error.message)
            return None

    def _conclude(self, task: ConcludeTask, journal: JournalRecords | None) -> None:
        request = load_request(task.folder)
        # From the journal, not from what a run returned: a lost or stopped one returned nothing.
        evidence = Evidence(
            writes=copied_writes(task.folder.journal),
            refusals=copied_refusals(task.folder.journal),
            journal=journal,
        )
        servers = self._house.settings.control_system.name_servers
        text = final_notebook(task, request, evidence, servers)
        write_whole(task.notebook.notebook_path, text)
        free(task.folder.path, task.workflow_id, task.first_run_id)
