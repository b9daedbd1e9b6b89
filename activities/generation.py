"""Generate: a model writes one program."""

import asyncio

from temporalio import activity

from activities.folder import load_request, write_whole
from activities.generators.interface import GenerationTask
from activities.heartbeat import heartbeating
from activities.house import House
from activities.notebook import attempt_notebook
from workflows.steps import GeneratedCode, GenerateTask


class Generation:
    """Repeatable: it costs a model call and changes nothing else."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="generate")
    async def generate(self, task: GenerateTask) -> GeneratedCode:
        """The program, also as the notebook of this attempt.

        Raises CodeGenerationError for an answer that is no program, ServiceUnavailableError for
        an outage, ContainerConfigurationError for a wrong key, address or model.
        """
        database = self._house.limits.validator.database
        async with heartbeating():
            generated = await self._house.generator().generate(
                GenerationTask(
                    request=await asyncio.to_thread(load_request, task.folder),
                    attempt=task.attempt,
                    errors=task.errors,
                    channels=database.channels if database else {},
                    writes_enabled=self._house.settings.control_system.writes_enabled,
                    kernel_packages=self._house.kernel_packages,
                )
            )
        text = attempt_notebook(task.notebook, generated.code, "As the generator wrote it.")
        await asyncio.to_thread(write_whole, task.notebook.notebook_path, text)
        return generated
