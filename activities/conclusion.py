"""Conclude: the final notebook, and the freeing of the folder."""

import asyncio

from temporalio import activity

from activities.folder import load_request, write_whole
from activities.folder_lock import free
from activities.house import House
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
        text = final_notebook(task, request, self._house.settings.control_system.name_servers)
        write_whole(task.notebook.notebook_path, text)
        free(task.folder.path, task.workflow_id, task.first_run_id)
