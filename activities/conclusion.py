"""The notebooks between and at the end, and the freeing of the folder."""

import asyncio

from temporalio import activity

from activities.folder import disk, load_request, write_whole
from activities.folder_lock import free
from activities.house import House
from activities.notebook import attempt_notebook, final_notebook
from workflows.steps import ConcludeTask, NotebookTask


class Conclusion:
    """Both steps are idempotent: the same notebook is written again."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="write_notebook")
    async def write_notebook(self, task: NotebookTask) -> None:
        """The code as it waits for a decision."""
        write_whole(
            task.notebook.notebook_path, attempt_notebook(task.notebook, task.code, task.note)
        )

    @activity.defn(name="conclude")
    async def conclude(self, task: ConcludeTask) -> None:
        """The final notebook; then the folder is free for the next execution."""
        await asyncio.to_thread(self._conclude, task)

    def _conclude(self, task: ConcludeTask) -> None:
        request = load_request(task.folder)
        with disk(task.folder.figures):
            text = final_notebook(task, request, self._house.settings.control_system.name_servers)
        write_whole(task.notebook.notebook_path, text)
        free(task.folder.path, task.workflow_id, task.first_run_id)
