"""After an apply: what the gate says was written, whether devices followed, what is put back."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError

from runpermit.errors import PythonExecutorException
from runpermit.models import (
    LeftBehind,
    LeftChange,
    PendingRestore,
    Permit,
    RestorePolicy,
    RestoreReport,
    Stage,
    Verb,
    Verdict,
    VerifiedChannel,
    WriteReport,
)
from runpermit.page import page_link
from workflows import steps
from workflows.approval import RESTORE_VERBS, Question
from workflows.conversation import Conversation
from workflows.question import cli_options
from workflows.retries import Step
from workflows.stage_board import StageBoard
from workflows.step_runner import run_step

_Answer = TypeVar("_Answer")


class Aftermath(Conversation):
    """Fence, then read, then decide: nothing here believes what an apply says of itself."""

    def __init__(self) -> None:
        super().__init__()
        self._board = StageBoard(self._state)
        # Until the journal was asked about it, nobody knows what was written with it.
        self._permit: Permit | None = None
        self._settled: steps.Settled | None = None
        self._verified: list[VerifiedChannel] = []
        self._restored: RestoreReport | None = None
        self._left: list[LeftChange] = []
        # Set by the first steps of the lifecycle, before anything reads them.
        self._deployment: steps.Deployment
        self._asked_about: Permit

    async def _settle(self, permit: Permit) -> steps.Settled:
        """What the gate's journal says of `permit`; UNKNOWN where nobody could ask it in time."""
        asking = asyncio.ensure_future(
            run_step(
                Step.SETTLE,
                steps.settle,
                steps.SettleTask(folder=self._deployment.folder, permit=permit),
                timeouts=self._deployment.timeouts,
                summary=f"what was written with permit {permit.id[:6]}",
                host=self._deployment.host,
            )
        )
        patience = timedelta(seconds=2 * self._deployment.timeouts.heartbeat)
        try:
            await workflow.wait_condition(
                asking.done, timeout=patience, timeout_summary="until the host counts as silent"
            )
        except TimeoutError:
            self._board.enter(
                Stage.HOST_UNREACHABLE,
                f"{self._deployment.host} does not tell what was written. Look at the machine.",
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

    async def _verify(self) -> list[str]:
        """Whether the devices followed what was applied; a warning for each that did not."""
        self._board.enter(Stage.VERIFYING)
        try:
            verified = await run_step(
                Step.VERIFY,
                steps.verify,
                steps.VerifyTask(folder=self._deployment.folder, permit=self._asked_about),
                timeouts=self._deployment.timeouts,
                summary="setpoints and devices",
                host=self._deployment.host,
            )
        except PythonExecutorException as error:
            return [f"What was written could not be verified: {error.message}"]
        self._verified = verified.channels
        return [line for channel in verified.channels for line in channel.warnings()]

    async def _ask_to_restore(self, reason: str) -> str:
        """Ask what becomes of a machine that was left changed, and do it; why it was not done."""
        changes = self._left
        if not changes or self._state.request is None:
            return ""
        if self._state.request.restore is RestorePolicy.NEVER:
            return ""
        if not any(change.restorable for change in changes):
            return ""
        info = workflow.info()
        pending = PendingRestore(
            binds=LeftBehind(
                workflow_id=info.workflow_id,
                first_run_id=info.first_execution_run_id,
                number=1,
                changes=changes,
            ),
            reason=reason,
            asked_at=workflow.now(),
            page_link=page_link(
                self._deployment.web_ui, self._deployment.namespace, info.workflow_id, info.run_id
            ),
            cli_options=cli_options(self._deployment),
        )
        self._state.pending_restore = pending
        self._board.ask_to_restore(pending)
        answer = None
        try:
            answer = await self._desk.ask(
                Question(
                    number=1,
                    sha256=pending.sha256,
                    plain_yes=True,
                    verbs=RESTORE_VERBS,
                ),
                None,
                "MACHINE LEFT CHANGED",
            )
        except asyncio.CancelledError:
            # Whoever cancels wants an end, and nothing restores by itself.
            workflow.logger.info("cancelled while it was asked what to put back: left as it is")
        self._state.pending_restore = None
        if answer is None or answer.verb is not Verb.RESTORE:
            return ""
        return await self._restore(answer.operator)

    async def _restore(self, operator: str | None) -> str:
        """Put back what can be; a stop or a cancel ends that behind the write under way."""
        self._desk.begin_aftermath()
        self._board.enter(Stage.RESTORING)
        restoring = asyncio.ensure_future(
            run_step(
                Step.RESTORE,
                steps.restore,
                steps.RestoreTask(
                    folder=self._deployment.folder,
                    execution=workflow.info().workflow_id,
                    operator=operator,
                ),
                timeouts=self._deployment.timeouts,
                summary="put back what was left changed",
                host=self._deployment.host,
            )
        )
        self._desk.on_stop = restoring.cancel
        try:
            self._restored = await restoring
        except PythonExecutorException as error:
            return f"It could not be put back: {error.message}"
        except (asyncio.CancelledError, FailureError):
            return "Putting back was stopped: look at the machine."
        back = {channel.channel for channel in self._restored.channels if channel.outcome.is_back}
        self._left = [change for change in self._left if change.channel not in back]
        return ""

    def _told(self) -> dict[str, Any]:
        """What an error tells of writes and restore, beside its message."""
        if self._settled is None:
            return {}
        told: dict[str, Any] = {"verdict": self._settled.verdict}
        if self._settled.verdict is not Verdict.UNKNOWN:
            told |= self._settled.writes.details()
        if self._left:
            told["left_changed"] = [str(change) for change in self._left]
        if self._restored is not None:
            told["restored"] = [str(channel) for channel in self._restored.channels]
        return told


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
