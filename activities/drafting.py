"""Draft: what a person will be asked to approve, and all that the answer binds."""

import asyncio

from temporalio import activity

from activities.folder import write_whole
from activities.house import House
from activities.inputs import manifest
from activities.notebook import attempt_notebook
from workflows.steps import Draft, DraftTask, Folder, InForce, Stock


class Drafting:
    """Idempotent: the same notebook is written again, and stock is taken anew."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="draft")
    async def draft(self, task: DraftTask) -> Draft:
        """The code as a notebook, its plan; input files, limits, packages, gate as they are now.

        Raises ServiceUnavailableError while the gate does not answer.
        """
        stock = await take_stock(self._house, task.folder)
        await asyncio.to_thread(self._draft, task)
        return Draft(**dict(stock), run_id=activity.info().workflow_run_id or "")

    def _draft(self, task: DraftTask) -> None:
        text = attempt_notebook(task.notebook, task.code, "It waits for approval.")
        write_whole(task.notebook.notebook_path, text)
        write_whole(task.folder.plan, task.plan.model_dump_json(indent=2))


async def take_stock(house: House, folder: Folder) -> Stock:
    """What an approval of a program in `folder` binds, as it is now.

    Raises ServiceUnavailableError while the gate does not answer.
    """
    return Stock(
        **dict(await in_force(house)),
        inputs=await asyncio.to_thread(manifest, folder.work),
        kernel_environment=house.kernel_environment,
    )


async def in_force(house: House) -> InForce:
    """What holds at gate and worker now. Raises ServiceUnavailableError without a gate."""
    return InForce(
        gate=await house.gate.status(), limits=await asyncio.to_thread(house.limits.status)
    )
