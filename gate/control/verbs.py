"""What the gate is asked beside sessions: each verb takes one request and gives one answer."""

import asyncio
import contextlib
import os
import re
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError

from gate.aftermath.left_machines import LeftMachines
from gate.aftermath.restoring import Restorer
from gate.aftermath.verifying import Verifier
from gate.channel_access.directory import is_channel_name
from gate.journal.journal import Journal, JournalError
from gate.journal.reading import audit
from gate.permits.approvals import Approvals, RestoreAsked
from gate.permits.permits import Permits
from gate.permits.signatures import SIGNATURE_CHARACTERS
from gate.policy.inhibit import Inhibit
from gate.rehearsal.description import Describer
from gate.rehearsal.inspection import Inspector
from gate.sessions.sessions import Sessions, why_no_writes
from runpermit.config import Settings
from runpermit.errors import (
    CodeAnalysisError,
    ContainerConfigurationError,
    ServiceUnavailableError,
)
from runpermit.limits import LimitsFile
from runpermit.models import Statement
from runpermit.text import one_line

AT_ONCE = frozenset({"status", "inhibit", "stop", "leave"})
"""The verbs that are not given up where whoever asked hangs up."""

_MOST_NAMES = 1000
_MOST_CHARACTERS = 1000  # of the id of a workflow
_PERMIT = re.compile(r"[0-9a-f]{64}")

Request = dict[str, Any]
Answer = dict[str, Any]


class Verbs:
    """The verbs by their names, in `known`; each takes the request and the user that asks."""

    def __init__(
        self,
        *,
        settings: Settings,
        sessions: Sessions,
        permits: Permits,
        inhibit: Inhibit,
        limits: LimitsFile,
        journal: Journal,
        describer: Describer,
        inspector: Inspector,
        verifier: Verifier,
        restorer: Restorer,
        left: LeftMachines,
        approvals: Approvals,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._permits = permits
        self._inhibit = inhibit
        self._limits = limits
        self._describer = describer
        self._inspector = inspector
        self._journal = journal
        self._verifier = verifier
        self._restorer = restorer
        self._left = left
        self._approvals = approvals
        self.known: dict[str, Callable[[Request, int], Awaitable[Answer]]] = {
            "status": self._status,
            "inhibit": self._turn,
            "stop": self._stop,
            "verdict": self._verdict,
            "records": self._records,
            "describe": self._describe,
            "inspect": self._inspect,
            "verify": self._verify,
            "signer": self._signer,
            "restore": self._restore,
            "leave": self._leave,
        }

    async def _status(self, request: Request, peer: int) -> Answer:
        del request
        settings, state = self._settings, self._inhibit.state
        return {
            "inhibit": {
                "on": state.on,
                "by": state.by,
                "reason": state.reason,
                "since": state.since,
                "channel": settings.gate.inhibit_channel,
                "refusal": self._inhibit.refusal(),
            },
            "limits": self._limits.status().model_dump(mode="json"),
            "writes": settings.control_system.writes_enabled,
            "no_writes": why_no_writes(settings, peer),
            "isolation": settings.kernels.isolation,
            "journal_protected": peer not in {0, os.getuid()},
            "approval": {
                "assurance": settings.approval.rule.assurance,
                "persons": settings.approval.persons,
                "approvers": settings.approval.approvers,
                "problem": await self._approvals.problem(),
            },
            "sessions": self._sessions.count,
            "writing": self._sessions.writing,
            "restoring": self._restorer.running,
            "left": [left.model_dump(mode="json") for left in self._left.listed],
        }

    async def _turn(self, request: Request, peer: int) -> Answer:
        on, reason = request.get("on"), request.get("reason")
        if not isinstance(on, bool):
            raise ContainerConfigurationError("inhibit: `on` is true or false")
        await self._inhibit.turn(on=on, operator=_operator(request, peer), reason=str(reason or ""))
        return await self._status(request, peer)

    async def _stop(self, request: Request, peer: int) -> Answer:
        """Fence first, then all the rest; it is for one execution, or by null for all."""
        execution = None if request.get("execution", "") is None else _text(request, "execution")
        operator = one_line(_operator(request, peer), 100)
        reason = one_line(str(request.get("reason") or ""), 500)
        why = f"stopped by {operator}: {reason}" if reason else f"stopped by {operator}"
        first_run = _text(request, "first_run_id") if request.get("first_run_id") else ""
        executions = self._sessions.executions if execution is None else {execution}
        stopped = self._sessions.fence(execution, why)
        stopped += self._restorer.stop(execution, why)
        if execution is None:
            self._journal.note("stop_all", operator=operator, reason=reason, stopped=stopped)
        await self._permits.stop(sorted(executions), operator, reason, first_run)
        return {"stopped": stopped}

    async def _verdict(self, request: Request, peer: int) -> Answer:
        del peer
        verdict = await self._permits.verdict(_permit(request), _text(request, "execution"))
        return {"verdict": verdict.model_dump(mode="json")}

    async def _records(self, request: Request, peer: int) -> Answer:
        del peer
        directory, execution = self._settings.gate.journal, _text(request, "execution")
        # A journal that takes no record any more can be read all the same.
        with contextlib.suppress(JournalError):
            await self._journal.flush()
        try:
            found = await asyncio.to_thread(audit, directory, execution)
        except OSError as error:
            raise ServiceUnavailableError(
                f"The gate's journal can't be read: {error}", "gate"
            ) from None
        return {"journal": found.model_dump(mode="json")}

    async def _describe(self, request: Request, peer: int) -> Answer:
        del peer
        names = _names(request)
        try:
            channels = await self._describer.describe(_channels(names))
        except LookupError as error:
            raise CodeAnalysisError(f"{error}", [f"{error}"]) from None
        return {"channels": [channel.model_dump(mode="json") for channel in channels]}

    async def _inspect(self, request: Request, peer: int) -> Answer:
        del peer
        try:
            found = await self._inspector.inspect(_channels(_names(request)))
        except LookupError as error:
            raise ContainerConfigurationError(f"inspect: {error}") from None
        return {"channels": [channel.model_dump(mode="json") for channel in found]}

    async def _verify(self, request: Request, peer: int) -> Answer:
        del peer
        await self._journal.flush()
        verified = await self._verifier.verify(_permit(request), _text(request, "execution"))
        return {"verified": [channel.model_dump(mode="json") for channel in verified]}

    async def _signer(self, request: Request, peer: int) -> Answer:
        del peer
        signer = await self._approvals.signer(
            _statement(request), _text(request, "signature", SIGNATURE_CHARACTERS), _name(request)
        )
        return {"signer": signer.model_dump(mode="json")}

    async def _restore(self, request: Request, peer: int) -> Answer:
        """Judged again by each restore: a signature that was revoked since puts nothing back."""
        execution = _text(request, "execution")
        asked = RestoreAsked(execution, _operator(request, peer))
        if request.get("statement") is not None and request.get("signature") is not None:
            signature = _text(request, "signature", SIGNATURE_CHARACTERS)
            asked = RestoreAsked(execution, _name(request), _statement(request), signature)
        report = await self._restorer.restore(execution, await self._approvals.restoring(asked))
        return {"restored": report.model_dump(mode="json")}

    async def _leave(self, request: Request, peer: int) -> Answer:
        operator = one_line(_operator(request, peer), 100)
        return {"was_listed": await self._left.leave(_text(request, "execution"), operator)}


def _names(request: Request) -> list[str]:
    names = request.get("channels")
    fit = isinstance(names, list) and len(names) <= _MOST_NAMES
    if not fit or not all(isinstance(name, str) for name in names or ()):
        raise ContainerConfigurationError(f"{request.get('do')}: `channels` is a list of names")
    return names or []


def _channels(names: list[str]) -> list[str]:
    """`names`, if they can be names of channels. Raises LookupError."""
    for name in names:
        if not is_channel_name(name.encode("utf-8", "backslashreplace")):
            raise LookupError(f"{one_line(name, 60)!r} is no channel's name")
    return names


def _text(request: Request, name: str, most: int = _MOST_CHARACTERS) -> str:
    found = request.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= most:
        raise ContainerConfigurationError(f"{request.get('do')}: `{name}` is missing or too long")
    return found


def _permit(request: Request) -> str:
    found = _text(request, "permit")
    if not _PERMIT.fullmatch(found):
        raise ContainerConfigurationError(f"{request.get('do')}: `permit` is no permit's id")
    return found


def _statement(request: Request) -> Statement:
    try:
        return Statement.model_validate(request.get("statement"))
    except ValidationError:
        raise ContainerConfigurationError(
            f"{request.get('do')}: `statement` is missing or malformed"
        ) from None


def _name(request: Request) -> str | None:
    """The name that whoever asks gives, None where there is none."""
    return _text(request, "operator") if request.get("operator") else None


def _operator(request: Request, peer: int) -> str:
    return str(request.get("operator") or f"user {peer}")
