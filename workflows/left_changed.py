"""MACHINE LEFT CHANGED: ask what becomes of it, for as long as it takes, and do that."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError

from runpermit.errors import PythonExecutorException
from runpermit.models import (
    ApprovalRule,
    DecisionRecord,
    LeftBehind,
    PendingRestore,
    RestorePolicy,
    RestoreReport,
    Stage,
    Statement,
    Verb,
    Verdict,
)
from runpermit.page import page_link, units_of
from workflows import steps
from workflows.aftermath import Aftermath, undisturbed
from workflows.approval import RESTORE_VERBS, Question
from workflows.question import cli_options, reset_warnings
from workflows.retries import Step
from workflows.step_runner import cancel_requests, run_step

_TOLD = 5
_LOOKS_BEFORE_IT_ENDS = "a restore that is cancelled tells how far it came"
_TOLD_IN_BRIEF = "what the gate tells as left changed is so, however it reads"
_DEAF = "Request Cancellation was used already, and does nothing here: answer restore or leave."


class LeftChanged(Aftermath):
    """Nothing restores by itself, and nobody is asked twice for what could be put back."""

    def __init__(self) -> None:
        super().__init__()
        self._restore_questions = 0
        self._asked_sha256 = ""
        self._was_cancelled = False

    async def _ask_to_restore(self, reason: str) -> str:
        """Have somebody decide on what was left changed; what could not be done, in words.

        Whoever cancels in Temporal wants an end, and the machine is left as it is: in a restore,
        as it is by then. One that was stopped, or failed, is asked about again.
        """
        problem = ""
        while self._is_to_be_asked():
            answer = await self._left_to(reason, problem)
            if answer is None:
                return problem
            if answer.verb is Verb.LEAVE:
                await self._leave(answer)
                return problem
            before = cancel_requests()
            problem = await self._restore(answer)
            if not problem:
                return problem
            ended = cancel_requests() > before
            if ended and not workflow.patched(_LOOKS_BEFORE_IT_ENDS):
                return problem
            if await self._look_again() or ended:
                return problem
        return problem

    def _is_to_be_asked(self) -> bool:
        request = self._state.request
        wanted = request is not None and request.restore is not RestorePolicy.NEVER
        return wanted and any(change.restorable for change in self._left)

    async def _left_to(self, reason: str, problem: str) -> DecisionRecord | None:
        """The answer to the question, None where the execution was cancelled meanwhile."""
        self._restore_questions += 1
        info = workflow.info()
        pending = PendingRestore(
            binds=LeftBehind(
                workflow_id=info.workflow_id,
                first_run_id=info.first_execution_run_id,
                number=self._restore_questions,
                changes=self._left,
            ),
            reason=reason,
            read_at=self._read_at,
            notes=[
                *(note for note in (problem, _DEAF if self._was_cancelled else "") if note),
                *reset_warnings(),
            ],
            units=units_of(self._plan),
            rule=self._rule,
            asked_at=workflow.now(),
            page_link=page_link(
                self._deployment.web_ui, self._deployment.namespace, info.workflow_id, info.run_id
            ),
            cli_options=cli_options(self._deployment),
        )
        self._state.pending_restore = pending
        self._asked_sha256 = pending.sha256
        self._board.ask_to_restore(pending)
        answer = None
        try:
            answer = await self._desk.ask(
                Question(
                    number=pending.binds.number,
                    sha256=pending.sha256,
                    plain_yes=pending.binds.number == 1,
                    verbs=RESTORE_VERBS,
                    rule=self._rule,
                ),
                None,
                "MACHINE LEFT CHANGED",
            )
        except asyncio.CancelledError:
            workflow.logger.info("cancelled while it was asked what to put back: left as it is")
        self._state.pending_restore = None
        return answer

    @property
    def _rule(self) -> ApprovalRule:
        """One person has a machine put back, who needs to be known as well as for an approval."""
        return self._deployment.rule.model_copy(
            update={"persons": 1, "requester_may_approve": True}
        )

    async def _restore(self, answer: DecisionRecord) -> str:
        """Put back what can be; a stop or a cancel ends that behind the write under way."""
        self._desk.begin_aftermath()
        self._restored = None  # what one before it read is no longer so
        self._board.enter(Stage.RESTORING)
        restoring = asyncio.ensure_future(self._put_back(answer))
        self._desk.on_stop = restoring.cancel
        try:
            self._restored = await restoring
        except PythonExecutorException as error:
            return f"It could not be put back: {error.message}"
        except (asyncio.CancelledError, FailureError):
            return "Putting back was stopped: look at the machine."
        channels = self._restored.channels
        back = {channel.channel for channel in channels if channel.outcome.is_back}
        self._left = [change for change in self._left if change.channel not in back]
        again = [str(channel) for channel in channels if channel.outcome.may_be_tried_again]
        return f"Not all is back: {'; '.join(again[:_TOLD])}" if again else ""

    async def _put_back(self, answer: DecisionRecord) -> RestoreReport:
        now = await self._reached()
        if now is not None and now.inhibited:
            names = ", ".join(change.channel for change in self._left if change.restorable)
            self._board.enter(
                Stage.RESTORING,
                f"It waits. {now.inhibited}",
                listed=f"RESTORE WAITS while writes are inhibited: {names}",
            )
        return await run_step(
            Step.RESTORE,
            steps.restore,
            self._restore_task(answer),
            timeouts=self._deployment.timeouts,
            summary="put back what was left changed",
            host=self._deployment.host,
        )

    async def _leave(self, answer: DecisionRecord) -> None:
        """Have the gate know that somebody decided, so that it lists the machine no more."""
        try:
            await run_step(
                Step.LEAVE,
                steps.leave,
                self._restore_task(answer),
                timeouts=self._deployment.timeouts,
                summary="somebody knows",
                host=self._deployment.host,
            )
        except (PythonExecutorException, FailureError, asyncio.CancelledError) as failure:
            workflow.logger.warning("the gate goes on listing the machine: %s", failure)

    async def _look_again(self) -> bool:
        """What is left changed now that some of it may be back; whether it was cancelled meanwhile.

        What was known stands where nobody can be asked.
        """
        known, left, read_at = self._settled, self._left, self._read_at
        settled, cancelled = await undisturbed(self._settle(self._asked_about))
        if settled.verdict is Verdict.UNKNOWN:
            self._settled, self._left, self._read_at = known, left, read_at
        # Of a long value the gate tells the beginning or the length, which can be as before.
        alike = [one for one in self._left if not one.uncertain and one.reads == one.before]
        if alike and not workflow.patched(_TOLD_IN_BRIEF):
            self._left = [one for one in self._left if one not in alike]
        return cancelled

    def _restore_task(self, answer: DecisionRecord) -> steps.RestoreTask:
        info = workflow.info()
        statement = None
        if answer.signature is not None:
            statement = Statement(
                workflow_id=info.workflow_id,
                first_run_id=info.first_execution_run_id,
                sha256=self._asked_sha256,
                decision=Verb.RESTORE,
            )
        return steps.RestoreTask(
            folder=self._deployment.folder,
            execution=info.workflow_id,
            operator=answer.who,
            statement=statement,
            signature=answer.signature,
        )
