"""Analyse: what a program is, and what it would write, told from its text alone."""

import asyncio

from temporalio import activity

from activities.analyser import analyse_code
from activities.house import House
from runpermit.limits import LimitsValidator
from runpermit.models import AnalysisResult, ChannelUse, Plan, PlannedWrite
from workflows.steps import Analysed, AnalyseTask


class Analysis:
    """Pure but for the limits database, which it reads as it is now."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="analyse")
    async def analyse(self, task: AnalyseTask) -> Analysed:
        """Syntax, calls, channels; limits on constant writes.

        Raises CodeSyntaxError and ChannelLimitsViolationError, both feedback for the next attempt.
        """
        validator = self._house.limits.validator
        control = self._house.settings.control_system.execution_control()
        # A long program takes a while, and other executions go on meanwhile.
        analysis = await asyncio.to_thread(
            analyse_code, task.code, validator=validator, control=control
        )
        return Analysed(analysis=analysis, plan=_plan(analysis, validator))


def _plan(analysis: AnalysisResult, validator: LimitsValidator) -> Plan:
    return Plan(writes=[_planned(write, validator) for write in analysis.writes])


def _planned(write: ChannelUse, validator: LimitsValidator) -> PlannedWrite:
    entry = validator.find(write.channel) if write.channel else None
    return PlannedWrite(
        channel=write.channel,
        value=write.value,
        value_known=write.value_known,
        line=write.line,
        description=entry.description or "" if entry else "",
        units=entry.units or "" if entry else "",
        min_value=entry.min_value if entry else None,
        max_value=entry.max_value if entry else None,
    )
