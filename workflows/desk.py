"""The desk at which an execution asks: keeps the pure state, offers the signals of a question."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio import workflow

from runpermit.models import DecisionRecord, DecisionWay, Verb
from workflows.approval import Desk, Incoming, Question, decide


class ApprovalDesk:
    """Takes every message, whatever its payload, and gives it to `workflows.approval.decide`."""

    def __init__(self) -> None:
        self.state = Desk()
        self.on_stop: Callable[[], object] = lambda: None
        self._offered: list[str] = []

    def receive(
        self,
        verb: Verb | None,
        arguments: tuple[Any, ...],
        via: DecisionWay,
        revision: str | None = None,
    ) -> DecisionRecord:
        """Record one message; a stop that counts ends the work at once."""
        message = Incoming(verb, arguments, workflow.now(), via, revision)
        self.state, record = decide(self.state, message)
        workflow.logger.info(
            "decision received: %s, %s", verb, "counted" if record.accepted else record.reason
        )
        if record.accepted and verb is Verb.STOP:
            self.on_stop()
        return record

    async def ask(
        self, question: Question, expiry: float | None, summary: str
    ) -> DecisionRecord | None:
        """The decision on `question`, or None where it expired; `expiry` in seconds."""
        # Signals that came before the question wait in Temporal: they are no answer to it, and are
        # recorded as such before it stands.
        self._offer(question)
        await asyncio.sleep(0)
        self.state = Desk(question=question, stop=self.state.stop, records=self.state.records)
        with contextlib.suppress(TimeoutError):  # an answer in the same task still counts
            await workflow.wait_condition(
                lambda: self.state.answer is not None,
                timeout=timedelta(seconds=expiry) if expiry else None,
                timeout_summary=summary,
            )
        # Not in a `finally`: that would also run as an evicted workflow is thrown away.
        self._withdraw()
        answer = self.state.answer
        self.state = Desk(stop=self.state.stop, records=self.state.records)
        return answer

    def begin_aftermath(self) -> DecisionRecord | None:
        """The stop that ended the work, if one did; from now on another one counts."""
        stop = self.state.stop
        self.state = replace(self.state, stop=None)
        return stop

    async def close(self) -> None:
        """Record from now on, change nothing; what came for earlier questions is recorded too."""
        self.state = Desk(ended=True, stop=self.state.stop, records=self.state.records)
        # Temporal keeps signals that have no handler; offering their names again delivers them.
        for name in self._offered:
            verb, _, revision = name.partition("-")
            workflow.set_signal_handler(name, partial(self._signalled, Verb(verb), revision))
        await asyncio.sleep(0)
        for name in self._offered:
            workflow.set_signal_handler(name, None)

    def _offer(self, question: Question) -> None:
        for verb in sorted(question.verbs):
            name = f"{verb}-{question.revision}"
            # What is sent to it all the same is recorded at the end.
            self._offered.append(name)
            if verb is Verb.APPROVE and question.problem:
                continue
            workflow.set_signal_handler(name, partial(self._signalled, verb, question.revision))

    def _withdraw(self) -> None:
        for name in self._offered:
            workflow.set_signal_handler(name, None)

    def _signalled(self, verb: Verb, revision: str, *arguments: Any) -> None:  # noqa: ANN401
        self.receive(verb, arguments, DecisionWay.SIGNAL, revision)
