"""Conclude: the final notebook, and the freeing of the folder."""

import asyncio

from temporalio import activity

from activities.folder import load_request, write_whole
from activities.folder_lock import free
from activities.house import House
from activities.journal_copy import copied_writes
from activities.notebook import final_notebook
from workflows.steps import ConcludeTask


class Conclusion:
    """Idempotent: the same notebook is written again."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="conclude")
    async def conclude(self, task: ConcludeTask) -> None:
        """The final notebook; then the folder is free for the next execution."""
        await asyncio.to_thread(self._conclude, task)

    def _conclude(self, task: ConcludeTask) -> None:
        request = load_request(task.folder)
        # From the journal, not from what a run returned: a lost or stopped one returned nothing.
        writes = copied_writes(task.folder.journal)
        servers = self._house.settings.control_system.name_servers
        text = final_notebook(task, request, writes, servers)
        write_whole(task.notebook.notebook_path, text)
        free(task.folder.path, task.workflow_id, task.first_run_id)
