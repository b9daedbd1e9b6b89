"""Permits in use: each is consumed once, in the journal first; after a fault it has one verdict."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gate.aside import aside
from gate.channel_access.directory import Directory
from gate.channel_access.own_channels import OwnChannels
from gate.channel_access.values import UnfitValueError
from gate.journal.channel_story import Left
from gate.journal.execution_story import ExecutionStory
from gate.journal.journal import Journal, JournalError
from gate.journal.permit_story import CONSUMED, VOID, PermitStory
from gate.messages import (
    REPORT_BYTES,
    GateVerdict,
    LeftChange,
    Permit,
    Verdict,
    WriteOutcome,
    WriteRecord,
)
from gate.permits.index import STOPPED, PermitIndex, Stopped, UsedPermit
from gate.permits.yes import KnownYes
from gate.policy.attempt import brief, now, recorded
from gate.sessions.reporting import json_size
from gate.sessions.session import Session
from runpermit.errors import PlanOutdatedError, ServiceUnavailableError, WorkflowError
from runpermit.models import PlannedChannel
from runpermit.models.permit import ISSUES, permit_id
from runpermit.text import one_line

_NEVER_SEEN = "the verdict on it was asked for before it was used"
# So many channels are read at a time: a verdict is no storm for an IOC.
_TOGETHER = 20
_FENCED = "the verdict on its permit was asked for"


@dataclass(frozen=True)
class Presented:
    """A permit with its id and its revision's sha256, which take their time for a long plan.

    `approvals`: what the gate itself knows of those who gave it, once they were judged.
    """

    permit: Permit
    id: str
    revision: str
    approvals: tuple[KnownYes, ...] = ()

    @classmethod
    async def of(cls, permit: Permit) -> "Presented":
        """The same, computed aside."""
        revision = permit.revision
        sha256 = await asyncio.to_thread(lambda: revision.sha256)
        known = permit_id(revision.workflow_id, revision.first_run_id, sha256, permit.issue)
        return cls(permit, known, sha256)

    @property
    def execution(self) -> str:
        """Whose it is."""
        return self.permit.revision.workflow_id


class Permits:
    """Knows every permit that was ever used, by the journal. One for the whole gate."""

    def __init__(
        self, journal: Journal, index: PermitIndex, directory: Directory, array_bytes: int
    ) -> None:
        self._journal = journal
        self._index = index
        self._directory = directory
        self._array_bytes = array_bytes
        self._sessions: dict[str, Session] = {}

    def refuse_used(self, permit: Presented) -> None:
        """Raise WorkflowError where the permit was used or is void, or its execution stopped."""
        used = self._index.used.get(permit.id)
        if used is not None:
            raise WorkflowError(f"{used.why}.", "applying")
        given = permit.permit
        stopped = self._index.stopped(
            permit.execution, given.revision.first_run_id, given.decided_at
        )
        if stopped is not None:
            raise WorkflowError(f"{stopped.why(permit.execution)}.", "stopped")

    async def check_issue(self, permit: Presented) -> None:
        """Raise PlanOutdatedError for a second issue without proof that the first wrote nothing."""
        issue, revision = permit.permit.issue, permit.permit.revision
        if issue == ISSUES[0]:
            return
        first = permit_id(revision.workflow_id, revision.first_run_id, permit.revision, ISSUES[0])
        if issue not in ISSUES:
            why = f"A permit has no issue {issue}"
        elif first in self._sessions and not self._sessions[first].finished.is_set():
            why = "Its first issue is in use"
        elif first not in self._index.used:
            why = "The journal does not know its first issue: ask for the verdict on it before"
        else:
            said = (await self._story(first)).verdict
            if said.may_apply_again:
                return
            why = f"The journal says of its first issue: {said}"
        raise PlanOutdatedError(f"The permit is issue {issue}. {why}.", [why])

    async def consume(self, permit: Presented, session: Session) -> None:
        """Use `permit` for `session`: on the disk before anything is written.

        From the first line on nobody else can. Raises WorkflowError where somebody did, and
        ServiceUnavailableError where the journal takes no record.
        """
        self.refuse_used(permit)
        given = permit.permit
        self._index.consumed(
            permit.id,
            UsedPermit(permit.execution, now(), session.name, given.revision.first_run_id),
        )
        self._sessions[permit.id] = session
        try:
            await self._journal.write(
                CONSUMED,
                **session.identity,
                run_id=session.opening.run_id,
                first_run_id=given.revision.first_run_id,
                revision=permit.revision,
                number=given.revision.number,
                issue=given.issue,
                decided_at=given.decided_at.isoformat(),
                approvals=[yes.recorded for yes in permit.approvals],
                channels={one.channel: _why_not(one) for one in given.revision.plan.channels},
            )
        except ValueError as error:
            raise ServiceUnavailableError(
                f"The gate's journal can't keep the permit: {error}. Plan fewer channels.", "gate"
            ) from None

    def closed(self, permit: Presented, session: Session) -> None:
        """The session that used it, if it did, has ended."""
        if self._sessions.get(permit.id) is session:
            del self._sessions[permit.id]
            self._index.closed(permit.id, session.forwarded_count, completed=session.completed)

    async def verdict(self, permit: str, execution: str) -> GateVerdict:
        """What became of `permit`. Its session is fenced first; one never seen is void from now on.

        Raises ServiceUnavailableError where the journal can't say or keep it, WorkflowError where
        the permit is another execution's.
        """
        used = self._index.used.get(permit)
        if used is None:
            await self._void(permit, execution)
            return GateVerdict(
                verdict=Verdict.NOT_OPENED, reason="The permit was never used. It is void now."
            )
        if used.execution != execution:
            raise WorkflowError(f"This permit is none of {one_line(execution, 100)}.", "applying")
        session = self._sessions.get(permit)
        if session is not None:
            session.fence(_FENCED)
            await session.finished.wait()
        story = await self._story(permit)
        said = await self._told(story, await self._restored(execution))
        self._journal.note(
            "verdict",
            permit=permit,
            execution=execution,
            verdict=said.verdict,
            forwarded=said.forwarded,
            reason=said.reason,
        )
        return said

    async def stop(
        self, executions: Iterable[str], operator: str, reason: str, first_run_id: str = ""
    ) -> None:
        """Refuse the permits of `executions` from now on. Raises JournalError.

        Without `first_run_id`, which tells executions of the same id apart, those given until now.
        """
        names = list(executions)
        who, why = one_line(operator, 100), one_line(reason, 500)
        stopped = Stopped(now(), who, why, one_line(first_run_id, 100))
        for name in names:
            self._index.stop(name, stopped)
        fields = {"operator": who, "reason": why, "first_run_id": stopped.first_run_id}
        await asyncio.gather(
            *(self._journal.write(STOPPED, execution=name, **fields) for name in names)
        )

    async def _void(self, permit: str, execution: str) -> None:
        used = self._index.used[permit] = UsedPermit(execution, now(), void=_NEVER_SEEN)
        try:
            await self._journal.write(VOID, permit=permit, execution=execution, reason=used.void)
        except JournalError:
            # It would be void until a restart alone. Meanwhile nothing is consumed either.
            del self._index.used[permit]
            raise

    async def _story(self, permit: str) -> PermitStory:
        """What the journal says, with all that was noted before."""
        with contextlib.suppress(JournalError):  # what is not in it is told as uncertain
            await self._journal.flush()
        try:
            return await asyncio.to_thread(self._index.story, permit)
        except (OSError, ValueError) as error:
            raise ServiceUnavailableError(
                f"The gate's journal can't be read: {error}. Nobody knows what was written.", "gate"
            ) from None

    async def _restored(self, execution: str) -> dict[str, Left]:
        """The channels that a restore was the last to write: nobody else has set them since."""
        if execution not in self._index.restored:
            return {}
        told = await ExecutionStory.read(self._index.directory, execution)
        return {left.channel: left for left in told.left() if left.restoring}

    async def _told(self, story: PermitStory, restored: Mapping[str, Left]) -> GateVerdict:
        reads = await self._reads(story.channels)
        writes = [_with_reading(write, reads) for write in story.writes]
        changes = bounded(story.changes(reads, restored))
        consumed = story.consumed or {}
        return GateVerdict(
            verdict=story.verdict,
            session=str(consumed.get("session", "")),
            forwarded=story.forwarded,
            writes=writes,
            changes=changes,
            reason=_reason(story),
        )

    async def _reads(self, channels: Iterable[str]) -> dict[str, object]:
        """What channels read now."""
        own = OwnChannels(self._directory, self._array_bytes)
        try:
            names, free = list(channels), asyncio.Semaphore(_TOGETHER)
            found = await asyncio.gather(*(_read(own, name, free) for name in names))
            return dict(zip(names, found, strict=True))
        finally:
            own.close()


_VALUES = ("before", "written", "reads")


def bounded(changes: list[LeftChange]) -> list[LeftChange]:
    """All of them, the last ones with less of their arrays where one line has no room for more."""
    room, found = REPORT_BYTES, []
    for change in changes:
        told = brief(change, *_VALUES)
        size = json_size(told.before, told.written, told.reads)
        if size > room:
            lengths = {name: _length(getattr(change, name)) for name in _VALUES}
            told = change.model_copy(update=lengths)
        room -= size
        found.append(told)
    return found


def _length(value: object) -> object:
    return {"_type": "array", "count": len(value)} if isinstance(value, list) else value


async def _read(own: OwnChannels, name: str, free: asyncio.Semaphore) -> object:
    """What a channel reads now, None where it can't be read."""
    async with free:
        try:
            seen = await (await own.open(name)).read()
        except (ConnectionError, LookupError, UnfitValueError):
            return None
    value = seen.value
    return await aside(len(value) if isinstance(value, tuple) else 1, recorded, value)


def _with_reading(write: WriteRecord, reads: dict[str, object]) -> WriteRecord:
    """What an uncertain write left behind can only be looked at."""
    if write.outcome is not WriteOutcome.UNCERTAIN or write.read_back is not None:
        return write
    seen = write.model_copy(update={"read_back": reads.get(write.channel)})
    return brief(seen, "read_back")


def _reason(story: PermitStory) -> str:
    if story.void:
        return f"The permit is void: {story.void}."
    if story.closed is None:
        return "The gate ended while the session was open, or before it opened."
    ended = story.closed.get("ended")
    if ended:
        return f"The gate ended the session: {ended}."
    if story.closed.get("completed"):
        return "The program came to its end."
    return "The program did not come to its end, or its worker was lost."


def _why_not(channel: PlannedChannel) -> str:
    """Why a channel can't be put back, empty where it can."""
    if channel.restorable:
        return ""
    return channel.why_not or "it can't be put back"
