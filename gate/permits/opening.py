"""Whether a permit opens a session: all that must be as it was approved, judged in one order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from gate.channel_access.ioc_circuit import IocLostError
from gate.channel_access.reading import ChannelReader
from gate.channel_access.values import UnfitValueError
from gate.channel_access.watched_channel import WatchedIocs
from gate.messages import Opening, Permit, SessionMode
from gate.permits.approvals import Approvals
from gate.permits.claims import Claims
from gate.permits.enforcement import Enforcement
from gate.permits.index import CLOCKS_APART
from gate.permits.permits import Permits, Presented
from gate.policy.conditions import ConditionReader, holds, worded
from gate.policy.devices import Devices
from gate.policy.guards import Guards
from gate.policy.inhibit import Inhibit
from gate.policy.watched_limits import limits_in_force
from runpermit.config import Settings
from runpermit.errors import ContainerConfigurationError, PlanOutdatedError, WorkflowError
from runpermit.limits import Condition, LimitsFile, LimitsValidator
from runpermit.models import MachineState, Plan
from runpermit.text import one_line

# A decision later than that was not made yet.
_AHEAD_SECONDS = CLOCKS_APART.total_seconds()


@dataclass(frozen=True)
class Admission:
    """A session that may open: its permit, not yet consumed, and what keeps it within that.

    `devices` sees where its writes lead.
    """

    permit: Presented
    enforcement: Enforcement
    guards: Guards
    devices: Devices


class Opener:
    """Judges openings. Until its permit is consumed, a refusal leaves everything as it was."""

    def __init__(
        self,
        settings: Settings,
        permits: Permits,
        approvals: Approvals,
        claims: Claims,
        inhibit: Inhibit,
        limits: LimitsFile,
        reader: ChannelReader,
        iocs: WatchedIocs,
    ) -> None:
        self._settings = settings
        self._permits = permits
        self._approvals = approvals
        self._claims = claims
        self._inhibit = inhibit
        self._limits = limits
        self._reader = reader
        self._conditions = ConditionReader(reader)
        self._iocs = iocs

    @contextlib.asynccontextmanager
    async def admitted(self, opening: Opening) -> AsyncIterator[Admission | None]:
        """What binds a session that writes, whose channels are held meanwhile; else None.

        Raises PlanOutdatedError for what a new revision can mend, ServiceUnavailableError where
        another execution holds a channel, DecisionRefusedError where its approvals do not count,
        WorkflowError for a permit that is not to be used, or while writes are inhibited.
        """
        permit = _permit(opening)
        if permit is None:
            yield None
            return
        plan, presented = permit.revision.plan, await Presented.of(permit)
        self._permits.refuse_used(presented)
        if permit.revision.workflow_id != opening.execution:
            raise WorkflowError("The permit is another execution's.", "applying")
        self._refuse_inhibited()
        self._refuse_old(permit)
        await self._approvals.known(presented)
        await self._permits.check_issue(presented)
        limits = await self._approved_limits(permit)
        _refuse_plan(plan)
        await self._refuse_changed(plan, limits)
        guards = await Guards.open([*self._settings.gate.guards, *opening.guards], self._iocs)
        try:
            _refuse_violated(guards)
            held = self._claims.hold(
                opening.execution, _channels(plan), self._settings.gate.claim_wait
            )
            async with held:
                # Waiting took its time: whatever is no longer so since then counts.
                self._permits.refuse_used(presented)
                self._refuse_old(permit)
                presented = await self._approvals.known(presented)
                limits = await self._approved_limits(permit)
                await self._refuse_changed(plan, limits)
                _refuse_violated(guards)
                self._refuse_inhibited()
                devices = Devices(_channels(plan), limits, self._iocs)
                try:
                    enforcement = Enforcement(presented.id, plan, limits, guards, devices)
                    yield Admission(presented, enforcement, guards, devices)
                finally:
                    await devices.close()
        finally:
            await guards.close()

    def _refuse_inhibited(self) -> None:
        why = self._inhibit.refusal()
        if why is not None:
            raise WorkflowError(f"{one_line(why, 1000)}. Nothing was written.", "applying")

    def _refuse_old(self, permit: Permit) -> None:
        if permit.decided_at.tzinfo is None:
            raise WorkflowError("The permit does not say when it was given.", "applying")
        age, most = _age(permit), self._settings.approval.permit_max_age
        if -_AHEAD_SECONDS <= age <= most:
            return
        why = (
            f"The approval is {age:.0f} s old, and is good for {most:g} s (approval.permit_max_age)"
            if age > most
            else f"The approval is dated {-age:.0f} s ahead of the gate's clock"
        )
        raise _outdated([why])

    async def _approved_limits(self, permit: Permit) -> LimitsValidator:
        """The limits in force, if they are those that were approved."""
        validator, status = await limits_in_force(self._limits), self._limits.status()
        if status.binds != permit.revision.limits_sha256:
            wrong = f": {status.error}" if status.error else ""
            raise _outdated([f"The limits database is not the one that was approved{wrong}"])
        return validator

    async def _refuse_changed(self, plan: Plan, limits: LimitsValidator) -> None:
        """Refuse where the machine is in another state than when the plan was made."""
        entries = [limits.find(channel.channel) for channel in plan.channels]
        conditions = dict.fromkeys(
            condition for entry in entries if entry is not None for condition in entry.conditions
        )
        found = await asyncio.gather(
            *(self._changed(state) for state in plan.machine),
            *(self._conditions.failure(condition) for condition in conditions),
        )
        if changed := list(dict.fromkeys(why for why in found if why is not None)):
            raise _outdated(changed)

    async def _changed(self, then: MachineState) -> str | None:
        """Why a machine-state channel is not as it was, None where it is."""
        try:
            told = then.model_dump(include={"channel", "op", "value"})
            condition = Condition.model_validate(told)
            reading = await self._reader.read(condition.channel)
        except ValidationError:
            return f"{one_line(then.channel, 100)} {then.op}: no condition that can be judged"
        except (IocLostError, LookupError, UnfitValueError) as error:
            return f"{worded(condition)} can't be judged: {error}"
        if holds(condition, reading) is then.holds:
            return None
        was = "held" if then.holds else "did not hold"
        return (
            f"{worded(condition)} {was} when it was rehearsed; {then.channel} reads {reading} now"
        )


def _permit(opening: Opening) -> Permit | None:
    writes = opening.mode is SessionMode.APPLY
    if writes and opening.permit is None:
        raise ContainerConfigurationError("a session that writes needs a permit")
    if not writes and opening.permit is not None:
        raise ContainerConfigurationError(f"a {opening.mode} session takes no permit")
    return opening.permit


def _age(permit: Permit) -> float:
    return (datetime.now(UTC) - permit.decided_at).total_seconds()


def _refuse_plan(plan: Plan) -> None:
    if not plan.may_be_approved:
        raise WorkflowError("Its plan is incomplete, and can't be approved.", "applying")
    if not plan.writes and not plan.declared:
        raise WorkflowError("Its plan has no writes.", "applying")


def _refuse_violated(guards: Guards) -> None:
    why = guards.refusal()
    if why is not None:
        raise _outdated([why])


def _channels(plan: Plan) -> list[str]:
    names = [write.channel for write in plan.writes]
    names += [channel.channel for channel in plan.channels]
    names += [declared.channel for declared in plan.declared]
    return list(dict.fromkeys(names))


def _outdated(changed: list[str]) -> PlanOutdatedError:
    return PlanOutdatedError(
        f"What was approved is no longer so: {'; '.join(changed[:3])}. Nothing was written.",
        changed,
    )
