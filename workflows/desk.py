"""The desk at which an execution asks: keeps the pure state, takes the signals of a question."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio import workflow

from runpermit.models import Assurance, DecisionRecord, DecisionWay, Verb
from workflows.approval import YES, Desk, Question, claim_in, decide
from workflows.incoming import Author, Incoming, with_comment
from workflows.proving import Prover
from workflows.steps import SignalReceived

_REASON_COUNTS = "a reason is a comment"
_DOES = {
    Verb.APPROVE: "Run it, once, within its plan and the limits.",
    Verb.REJECT: 'End it. Nothing is written. Your words, if you like: {"comment": "…"}',
    Verb.REVISE: 'Send it back to the model, with your words: {"comment": "…"}',
    Verb.RESTORE: "Put back what can be put back.",
    Verb.LEAVE: "Leave the machine as it is now.",
}


class ApprovalDesk:
    """Takes every message, whatever its payload, and gives it to `workflows.approval.decide`."""

    def __init__(self) -> None:
        self.state = Desk()
        self.on_stop: Callable[[], object] = lambda: None
        self.on_approval: Callable[[tuple[DecisionRecord, ...]], object] = lambda _: None
        self.on_refusal: Callable[[DecisionRecord], object] = lambda _: None
        self.approvals: tuple[DecisionRecord, ...] = ()
        self.prover = Prover()
        self._signals: Counter[str] = Counter()

    async def receive(
        self,
        verb: Verb | None,
        arguments: tuple[Any, ...],
        via: DecisionWay,
        revision: str | None = None,
    ) -> DecisionRecord:
        """Record one message; a stop that counts ends the work at once.

        Whose a yes is must be proven first where the rule asks for that, and may take its time:
        what others say counts meanwhile.
        """
        worded = with_comment(arguments)
        if worded is not None and workflow.patched(_REASON_COUNTS):
            arguments = worded
        message = Incoming(verb, arguments, workflow.now(), via, revision)
        signal = self._counted(message)
        claim = claim_in(self.state, message)
        if claim is not None:
            found = await self.prover.prove(claim, signal)
            if isinstance(found, Author):
                message = replace(message, author=found)
            else:
                message = replace(message, unproven=found)
        approvals = self.state.approvals
        self.state, record = decide(self.state, message)
        workflow.logger.info(
            "decision received: %s, %s", verb, "counted" if record.accepted else record.reason
        )
        if not record.accepted:
            self.on_refusal(record)
        elif verb is Verb.STOP:
            self.on_stop()
        if self.state.approvals != approvals:
            self.on_approval(self.state.approvals)
        return record

    @property
    def offered(self) -> dict[str, str]:
        """The signals that answer what waits, and what each does; no yes that can't count so."""
        question = self.state.question
        if question is None:
            return {}
        by_click = question.rule.assurance is not Assurance.SIGNED and not question.problem
        return {
            f"{verb}-{question.revision}": does
            for verb, does in _DOES.items()
            if verb in question.verbs and (by_click or verb not in YES)
        }

    def _counted(self, message: Incoming) -> SignalReceived | None:
        """Which of the run's signals it is: Temporal's history tells by that who sent it."""
        if message.via is not DecisionWay.SIGNAL or message.verb is None:
            return None
        name = f"{message.verb}-{message.revision}" if message.revision else message.verb.value
        self._signals[name] += 1
        return SignalReceived(name=name, number=self._signals[name])

    async def ask(
        self, question: Question, expiry: float | None, summary: str
    ) -> DecisionRecord | None:
        """The decision on `question`, or None where it expired; `expiry` in seconds."""
        # Signals that came before the question wait in Temporal: they are no answer to it, and are
        # recorded as such before it stands.
        self._listen_to(question)
        await asyncio.sleep(0)
        self.state = self.state.asking(question)
        try:
            with contextlib.suppress(TimeoutError):  # an answer in the same task still counts
                await workflow.wait_condition(
                    lambda: self.state.answer is not None,
                    timeout=timedelta(seconds=expiry) if expiry else None,
                    timeout_summary=summary,
                )
            return self.state.answer
        finally:
            self.approvals = self.state.approvals
            self.state = self.state.cleared()

    def begin_aftermath(self) -> DecisionRecord | None:
        """The stop that ended the work, if one did; from now on another one counts."""
        stop = self.state.stop
        self.state = replace(self.state, stop=None)
        return stop

    async def close(self) -> None:
        """Record from now on, change nothing."""
        self.state = self.state.closed()
        # A claim that is still looked at is answered: by then that the execution has ended.
        await workflow.wait_condition(workflow.all_handlers_finished)

    def _listen_to(self, question: Question) -> None:
        """Take the question's own signals, from now to the end of the execution.

        Who clicks on a page that is no longer true is told that it did not count.
        """
        for verb in sorted(question.verbs):
            name = f"{verb}-{question.revision}"
            workflow.set_signal_handler(name, partial(self._signalled, verb, question.revision))

    async def _signalled(self, verb: Verb, revision: str, *arguments: Any) -> None:  # noqa: ANN401
        await self.receive(verb, arguments, DecisionWay.SIGNAL, revision)
