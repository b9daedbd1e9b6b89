"""After an apply: what the gate says was written, whether devices followed, what is put back."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow

from runpermit.errors import PythonExecutorException
from runpermit.models import (
    LeftChange,
    Permit,
    Plan,
    RestoreReport,
    Stage,
    Verdict,
    VerifiedChannel,
    WriteReport,
)
from runpermit.page import unknown_words
from runpermit.plans.words import value_text
from workflows import steps
from workflows.conversation import Conversation
from workflows.retries import Step
from workflows.stage_board import StageBoard
from workflows.step_runner import run_step

_Answer = TypeVar("_Answer")
# So often a gate that answers, and has not told what was written, is waited for once more.
_PATIENT = 10
_TOLD = 15  # of each kind, in an error
_TOLD_CHANNELS = 10


class Aftermath(Conversation):
    """Fence, then read, then decide: nothing here believes what an apply says of itself."""

    def __init__(self) -> None:
        super().__init__()
        self._board = StageBoard(self._state, lambda: self._desk.state.records)
        # Until the journal was asked about it, nobody knows what was written with it.
        self._permit: Permit | None = None
        self._settled: steps.Settled | None = None
        self._verified: list[VerifiedChannel] = []
        self._restored: RestoreReport | None = None
        self._left: list[LeftChange] = []
        self._plan: Plan | None = None
        # Set by the first steps of the lifecycle, before anything reads them.
        self._deployment: steps.Deployment
        self._asked_about: Permit

    async def _settle(self, permit: Permit) -> steps.Settled:
        """What the gate's journal says of `permit`; UNKNOWN where nobody could ask it in time."""
        asking = asyncio.ensure_future(
            run_step(
                Step.SETTLE,
                steps.settle,
                steps.SettleTask(**self._about(permit)),
                timeouts=self._deployment.timeouts,
                summary=f"what was written with permit {permit.id[:6]}",
                host=self._deployment.host,
            )
        )
        if not await self._told_soon(asking):
            self._board.enter(
                Stage.HOST_UNREACHABLE,
                f"{self._deployment.host} does not tell what was written. Look at the machine.",
                listed=unknown_words(self._deployment.host, self._plan),
            )
        try:
            settled = await asking
        except PythonExecutorException as error:
            settled = steps.Settled(
                verdict=Verdict.UNKNOWN,
                writes=WriteReport(forwarded=0, writes=[], journal=self._deployment.folder.journal),
                reason=error.message,
            )
        self._permit, self._asked_about = None, permit
        self._settled = settled
        if not settled.verdict.may_apply_again:
            self._left = settled.changes
        return settled

    async def _told_soon(self, asking: asyncio.Future[steps.Settled]) -> bool:
        """Whether the gate gives its word, however slowly, before its host counts as silent."""
        patience = timedelta(seconds=2 * self._deployment.timeouts.heartbeat)
        for _ in range(_PATIENT):
            try:
                await workflow.wait_condition(
                    asking.done, timeout=patience, timeout_summary="what was written is looked up"
                )
                break
            except TimeoutError:
                if await self._reached() is None:
                    break
        return asking.done()

    async def _reached(self) -> steps.Reached | None:
        """What the gate says at once, None where it or its host does not answer."""
        try:
            return await run_step(
                Step.REACH,
                steps.reach,
                steps.ReachTask(execution=workflow.info().workflow_id),
                timeouts=self._deployment.timeouts,
                summary="whether the host answers",
                host=self._deployment.host,
            )
        except PythonExecutorException:
            return None

    async def _verify(self) -> list[str]:
        """Whether the devices followed what was applied; a warning for each that did not."""
        self._board.enter(Stage.VERIFYING)
        try:
            verified = await run_step(
                Step.VERIFY,
                steps.verify,
                steps.VerifyTask(**self._about(self._asked_about)),
                timeouts=self._deployment.timeouts,
                summary="setpoints and devices",
                host=self._deployment.host,
            )
        except PythonExecutorException as error:
            return [f"What was written could not be verified: {error.message}"]
        self._verified = verified.channels
        return [line for channel in verified.channels for line in channel.warnings()]

    def _done(self) -> list[str]:
        """What was written and whether the devices followed, for the last page of a success."""
        if self._settled is None or not self._settled.writes.forwarded:
            return ["Nothing was written."]
        count = self._settled.writes.forwarded
        told = [
            f"{channel.channel} was set to {value_text(channel.written)}: "
            f"setpoint {'accepted' if channel.accepted else 'DIFFERS'}, "
            f"device {channel.outcome.replace('_', ' ')}"
            for channel in self._verified
        ]
        return [f"Written: {count} {'value' if count == 1 else 'values'}.", *_shown(told)]

    def _machine(self) -> list[str]:
        """How the machine was left, for the last page."""
        lines = [f"Left changed: {change}" for change in self._left]
        if self._restored is not None:
            lines += [f"Restore: {channel}" for channel in self._restored.channels]
        return _shown(lines)

    def _unknown(self) -> str:
        """Whose state nobody can tell, empty where that is not so."""
        if self._settled is None or self._settled.verdict is not Verdict.UNKNOWN:
            return ""
        return unknown_words(self._deployment.host, self._plan)

    def _about(self, permit: Permit) -> dict[str, Any]:
        return {
            "folder": self._deployment.folder,
            "permit": permit.id,
            "execution": permit.revision.workflow_id,
        }

    def _told(self) -> dict[str, Any]:
        """What an error tells of writes and restore, beside its message."""
        if self._settled is None:
            return {}
        told: dict[str, Any] = {"verdict": self._settled.verdict}
        if self._settled.verdict is not Verdict.UNKNOWN:
            told |= self._settled.writes.details()
        elif self._plan is not None:
            told["planned"] = _first([channel.channel for channel in self._plan.channels])
        if self._left:
            told["left_changed"] = _first([str(change) for change in self._left])
        if self._restored is not None:
            told["restored"] = _first([str(channel) for channel in self._restored.channels])
        return told


def _shown(lines: list[str]) -> list[str]:
    """As many as a page shows, and how many more there are."""
    more = len(lines) - _TOLD_CHANNELS
    if more <= 0:
        return lines
    return [*lines[:_TOLD_CHANNELS], f"{more} more channels: see the notebook."]


def _first(lines: list[str]) -> list[str]:
    """As many as an error keeps, and how many more there are."""
    more = len(lines) - _TOLD
    return lines if more <= 0 else [*lines[:_TOLD], f"and {more} more: see the journal"]


async def undisturbed(work: Coroutine[Any, Any, _Answer]) -> tuple[_Answer, bool]:
    """The answer of `work`, whoever cancels meanwhile; and whether somebody did."""
    task, cancelled = asyncio.ensure_future(work), False
    while True:
        try:
            return await asyncio.shield(task), cancelled
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            cancelled = True
