"""Analyse: what a program is, and what it would write, told from its text alone."""

import asyncio

from temporalio import activity

from activities.analyser import analyse_code
from activities.house import House
from runpermit.models import AnalysisResult
from workflows.steps import AnalyseTask


class Analysis:
    """Pure but for the limits database, which it reads as it is now."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="analyse")
    async def analyse(self, task: AnalyseTask) -> AnalysisResult:
        """Syntax, calls, channels, and limits on constant writes.

        Raises CodeSyntaxError and ChannelLimitsViolationError, both feedback for the next attempt.
        """
        # A long program takes a while, and other executions go on meanwhile.
        return await asyncio.to_thread(
            analyse_code,
            task.code,
            validator=self._house.limits.validator,
            control=self._house.settings.control_system.execution_control(),
        )
