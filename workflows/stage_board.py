"""Where an execution stands, published where people look: details, memo, search attribute."""

from collections.abc import Callable, Sequence

from temporalio import workflow
from temporalio.common import SearchAttributeKey

from runpermit.models import (
    DecisionRecord,
    Memo,
    PendingApproval,
    PendingRestore,
    PythonExecutionState,
    Stage,
    StageChange,
    Verb,
)
from runpermit.names import STAGE_ATTRIBUTE
from runpermit.page import (
    Machine,
    approval_page,
    progress_page,
    question,
    restore_page,
    restore_question,
)
from runpermit.text import one_line
from workflows.steps import Deployment

_WRITING = {Stage.APPLYING, Stage.RESTORING}
_AFTERWARDS = {Verb.RESTORE, Verb.LEAVE}
_TOLD_AFTERWARDS = 3
_NOTHING_TOLD = Machine()
_STAGE = SearchAttributeKey.for_keyword(STAGE_ATTRIBUTE)


class StageBoard:
    """Keeps the state's stage and everything that shows it in step."""

    def __init__(
        self, state: PythonExecutionState, decisions: Callable[[], Sequence[DecisionRecord]]
    ) -> None:
        self._state = state
        self._decisions = decisions
        self._memo = Memo(stage=Stage.PREPARING)
        self._stage_is_searchable = False

    def know(self, deployment: Deployment) -> None:
        """Publish what only the deployment can tell; an unregistered attribute is left alone."""
        self._stage_is_searchable = STAGE_ATTRIBUTE in deployment.search_attributes
        self._publish(self._memo.model_copy(update={"host": deployment.host}))
        self._search()

    def received(self, request_sha256: str) -> None:
        """Publish which request this is, for those that a plain `workflow start` began."""
        self._publish(self._memo.model_copy(update={"request_sha256": request_sha256}))

    def enter(
        self, stage: Stage, note: str = "", machine: Machine = _NOTHING_TOLD, listed: str = ""
    ) -> None:
        """Come to `stage`; `machine` tells what is written, or how it was left.

        `listed` is for lists, where nothing is asked and somebody has to know all the same: that a
        restore waits, or that nobody can tell what was written.
        """
        self._change(stage, note)
        failures = [error.error_message for error in self._state.error_chain]
        attempt = self._state.generation_attempt
        workflow.set_current_details(
            progress_page(stage, attempt, note, failures, self._facts(stage), machine)
        )
        self._publish(
            Memo(
                stage=stage,
                attempt=attempt,
                question=one_line(listed, 200),
                host=self._memo.host,
                request_sha256=self._memo.request_sha256,
                asked_at=workflow.now() if listed else None,
                state_unknown=bool(listed) and stage is not Stage.RESTORING,
            )
        )
        self._search()

    def ask(self, pending: PendingApproval) -> None:
        """Show the question that waits."""
        self._change(Stage.AWAITING_APPROVAL, f"revision {pending.revision}")
        workflow.set_current_details(approval_page(pending))
        self._publish(
            self._memo.model_copy(
                update={
                    "stage": Stage.AWAITING_APPROVAL,
                    "attempt": self._state.generation_attempt,
                    "question": one_line(question(pending.plan), 200),
                    "first_writes": [
                        one_line(channel.channel, 60) for channel in pending.plan.channels[:3]
                    ],
                    "sha256": pending.sha256,
                    "requester": one_line(pending.requester or "", 60),
                    "asked_at": pending.asked_at,
                    "approvals": len(pending.approved_by),
                    "persons": pending.rule.persons,
                }
            )
        )
        self._search()

    def ask_to_restore(self, pending: PendingRestore) -> None:
        """Show that the machine was left changed."""
        self._change(Stage.AWAITING_RESTORE, pending.reason)
        workflow.set_current_details(restore_page(pending))
        self._publish(
            self._memo.model_copy(
                update={
                    "stage": Stage.AWAITING_RESTORE,
                    "question": one_line(restore_question(pending), 200),
                    "first_writes": [
                        one_line(change.channel, 60) for change in pending.changes[:3]
                    ],
                    "sha256": pending.sha256,
                    "asked_at": pending.asked_at,
                }
            )
        )
        self._search()

    def _facts(self, stage: Stage) -> list[str]:
        """Who decided, and at the end where everything lies."""
        facts = []
        folder = self._state.execution_folder
        if stage is Stage.RESTORING:
            facts.append(
                "While writes are inhibited it waits, and goes on when they are not: runpermit "
                f"inhibit status on {self._memo.host} tells by whom and why."
            )
        if stage is Stage.HOST_UNREACHABLE:
            facts.append(
                "Request Cancellation, or stop, counts, and ends it only once the host tells what "
                "was written, or nobody waits for that any longer (timeouts.verdict)."
            )
        if stage in _WRITING:
            click = "" if stage is Stage.RESTORING else "Request Cancellation, or "
            facts.append(f"To stop it: {click}More Actions → Send a Signal → stop → Submit.")
        facts += self._decided()
        if stage.is_final and folder is not None and folder.notebook_attempts:
            facts.append(f"Notebook: {folder.notebook_attempts[-1].notebook_path}")
        return facts

    def _decided(self) -> list[str]:
        """Whose answer counted to the last question of approval, and the last about a restore."""
        last = self._state.approval_result
        answered = (last.verb, last.number, last.revision) if last is not None else None
        to_last, afterwards = [], []
        for said in self._decisions():
            # No name is so long that it hides whether it was verified.
            by = said.model_copy(update={"operator": one_line(said.who, 40)}).by
            if said.accepted and (said.verb, said.number, said.revision) == answered:
                to_last.append(f"{said.verb} of revision {said.revision} by {by}")
            elif said.accepted and said.verb in _AFTERWARDS:
                afterwards.append(f"{said.verb} by {by}")
        return list(dict.fromkeys([*to_last, *afterwards[-_TOLD_AFTERWARDS:]]))

    def _change(self, stage: Stage, note: str) -> None:
        self._state.current_stage = stage
        self._state.stages.append(
            StageChange(
                stage=stage,
                attempt=self._state.generation_attempt,
                at=workflow.now(),
                note=one_line(note, 300) if note else "",
            )
        )

    def _publish(self, memo: Memo) -> None:
        before = self._memo.model_dump(mode="json")
        self._memo = memo
        changed = {
            key: value
            for key, value in memo.model_dump(mode="json").items()
            if value != before[key] or key == "stage"
        }
        workflow.upsert_memo(changed)

    def _search(self) -> None:
        if self._stage_is_searchable:
            workflow.upsert_search_attributes([_STAGE.value_set(self._state.current_stage)])
