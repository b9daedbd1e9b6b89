"""Analyse: what a program is, and what it would write, told from its text alone."""

import asyncio

from temporalio import activity

from activities.analyser import analyse_code
from activities.house import House
from runpermit.errors import ChannelLimitsViolationError
from runpermit.limits import LimitsValidator, ViolationType
from runpermit.models import (
    AnalysisResult,
    ChannelUse,
    ExecutionControlConfig,
    ExecutionMode,
    Plan,
    PlanKind,
    PlannedWrite,
)
from workflows.steps import Analysed, AnalyseTask


class Analysis:
    """Pure but for the limits database, which it reads as it is now."""

    def __init__(self, house: House) -> None:
        self._house = house

    @activity.defn(name="analyse")
    async def analyse(self, task: AnalyseTask) -> Analysed:
        """Syntax, calls, channels; limits on constant writes and on one that the gate refused.

        Raises CodeSyntaxError and ChannelLimitsViolationError, both feedback for the next attempt.
        """
        validator = self._house.limits.validator
        control = self._house.settings.control_system.execution_control()
        # A long program takes a while, and other executions go on meanwhile.
        analysis = await asyncio.to_thread(
            analyse_code, task.code, validator=validator, control=control
        )
        if task.refused is None:
            return Analysed(analysis=analysis, plan=_plan(analysis, validator))
        return _with_refused(analysis, task.refused, validator, control)


def _plan(analysis: AnalysisResult, validator: LimitsValidator) -> Plan:
    return Plan(writes=[_planned(write, validator) for write in analysis.writes])


def _with_refused(
    analysis: AnalysisResult,
    write: PlannedWrite,
    validator: LimitsValidator,
    control: ExecutionControlConfig,
) -> Analysed:
    """What the code is since the gate saw it write, whatever its text says."""
    mode = control.get_execution_mode(
        has_epics_writes=True, has_epics_reads=analysis.has_epics_reads
    )
    if mode is ExecutionMode.WRITE_ACCESS:
        _judge(write, validator)
    return Analysed(
        analysis=analysis.model_copy(update={"has_epics_writes": True, "execution_mode": mode}),
        plan=Plan(kind=PlanKind.REFUSED_READ_ONLY, writes=[_told(write, validator)]),
    )


def _judge(write: PlannedWrite, validator: LimitsValidator) -> None:
    if write.channel is None or not write.value_known:
        return
    try:
        validator.static_check(write.channel, write.value)
    except ChannelLimitsViolationError as violation:
        # Other code would not mend the limits database.
        if violation.violation_type != ViolationType.LIMITS_UNAVAILABLE:
            raise


def _planned(use: ChannelUse, validator: LimitsValidator) -> PlannedWrite:
    write = PlannedWrite(
        channel=use.channel, value=use.value, value_known=use.value_known, line=use.line
    )
    return _told(write, validator)


def _told(write: PlannedWrite, validator: LimitsValidator) -> PlannedWrite:
    """`write` with what the limits database says of its channel."""
    entry = validator.find(write.channel) if write.channel else None
    if entry is None:
        return write
    return write.model_copy(
        update={
            "description": entry.description or "",
            "units": entry.units or "",
            "min_value": entry.min_value,
            "max_value": entry.max_value,
        }
    )
