"""After an apply: what the gate says was written, whether devices followed, what is put back."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
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
from runpermit.page import Machine, ended, planned, succeeded, unknown_words
from workflows import steps
from workflows.conversation import Conversation
from workflows.retries import Step
from workflows.stage_board import StageBoard
from workflows.step_runner import run_step

_Answer = TypeVar("_Answer")
# So often a gate that answers, and has not told what was written, is waited for once more.
_PATIENT = 10
_TOLD = 15  # of each kind, in an error


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
        self._read_at: datetime | None = None
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
                planned("It was to write:", self._plan),
                unknown_words(self._deployment.host, self._plan),
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
            self._left, self._read_at = settled.changes, settled.read_at
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

    def _done(self) -> Machine:
        """What was written and whether the devices followed, for the last page of a success."""
        if self._settled is None or not self._settled.writes.forwarded:
            return self._untouched()
        return succeeded(
            self._settled.writes, self._verified, self._left, self._plan, self._read_at
        )

    def _machine(self) -> Machine:
        """How the machine was left, for the last page."""
        if self._left or self._restored is not None:
            restored = self._restored.channels if self._restored is not None else []
            return ended(self._left, restored, self._plan, self._read_at)
        settled = self._settled
        if self._permit is None and (settled is None or settled.verdict.may_apply_again):
            return self._untouched()
        if settled is None or settled.verdict is Verdict.UNKNOWN:
            return planned("Nobody can tell what of this was written:", self._plan)
        written = settled.writes.forwarded
        return Machine(f"Values written: {written}. All channels read as before.")

    def _untouched(self) -> Machine:
        """That nothing was written, as far as this run can tell."""
        info = workflow.info()
        if info.run_id == info.first_execution_run_id:
            return Machine("Nothing was written to the machine.")
        return Machine("This run wrote nothing to the machine. The run before the reset may have.")

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
