"""Restore: what an execution left changed is put back, the last change first.

It can end at any time and goes on when it is asked for again: what is back is told by the machine,
and what was ours by the journal.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

from gate.aftermath.left_machines import LeftMachines
from gate.aftermath.putting_back import Means, PuttingBack
from gate.aftermath.restore_session import RestoreSession
from gate.aftermath.stopping import Stopper
from gate.channel_access.directory import Directory
from gate.channel_access.own_channels import OwnChannels
from gate.channel_access.watched_channel import WatchedIocs
from gate.journal.execution_story import ExecutionStory
from gate.journal.journal import Journal
from gate.permits.claims import Claims
from gate.permits.yes import KnownYes
from gate.policy.guards import Guards
from gate.policy.inhibit import Inhibit
from gate.policy.writing import Writer
from runpermit.config import Settings
from runpermit.errors import ContainerConfigurationError, ServiceUnavailableError
from runpermit.limits import LimitsFile
from runpermit.models import RestoredChannel, RestoreReport

_NOT_PLANNED = "it is in no plan that was approved"


class Restorer:
    """Puts back, one restore of an execution at a time, and none while it applies."""

    def __init__(
        self,
        *,
        directory: Directory,
        iocs: WatchedIocs,
        writer: Writer,
        stopper: Stopper,
        journal: Journal,
        limits: LimitsFile,
        inhibit: Inhibit,
        claims: Claims,
        left: LeftMachines,
        settings: Settings,
        is_applying: Callable[[str], bool],
    ) -> None:
        self._directory = directory
        self._iocs = iocs
        self._writer = writer
        self._stopper = stopper
        self._journal = journal
        self._limits = limits
        self._inhibit = inhibit
        self._claims = claims
        self._left = left
        self._writes_enabled = settings.control_system.writes_enabled
        self._quotas = settings.gate
        self._is_applying = is_applying
        self._running: dict[str, RestoreSession] = {}

    @property
    def running(self) -> list[str]:
        """The executions that are being put back, those that wait for it included."""
        return list(self._running)

    def stop(self, execution: str | None, why: str) -> list[str]:
        """End the restore of `execution`, or all, behind the write under way; their sessions."""
        stopped = [
            session
            for of, session in self._running.items()
            if execution in {None, of} and session.may_write
        ]
        for session in stopped:
            session.stop(why)
        return [session.name for session in stopped]

    async def restore(self, execution: str, by: KnownYes) -> RestoreReport:
        """Put back what `execution` left changed, as `by` says; what became of each channel.

        Waits while writes are inhibited. Where it is cancelled it ends behind the write under way.
        Raises ServiceUnavailableError where it can't begin: the journal can't be read, others hold
        the channels, or the execution still applies; ContainerConfigurationError where this gate
        writes nothing.
        """
        if not self._writes_enabled:
            raise ContainerConfigurationError(
                "control_system.writes_enabled = false in the gate's settings: nothing is put back"
            )
        with self._alone(execution) as session:
            await self._journal.write("restore_started", **session.identity, **by.recorded)
            self._left.begin(execution)
            story = await ExecutionStory.read(self._quotas.journal, execution)
            left = list(reversed(story.left()))
            session.attempt = max((one.attempt for one in left), default=0)
            channels = [one.channel for one in left]
            async with (
                self._claims.hold(execution, channels, self._quotas.claim_wait),
                self._means(session) as means,
            ):
                putting = [
                    PuttingBack(one, story.why_not.get(one.channel, _NOT_PLANNED), session, means)
                    for one in left
                ]
                restored = await _whole(self._put_back(execution, putting, session), session)
        return RestoreReport(channels=restored, operator=by.operator)

    @contextlib.contextmanager
    def _alone(self, execution: str) -> Iterator[RestoreSession]:
        if execution in self._running:
            raise ServiceUnavailableError(
                f"{execution} is being put back already, in session "
                f"{self._running[execution].name}. Ask again once that has ended.",
                "gate",
            )
        if self._is_applying(execution):
            raise ServiceUnavailableError(
                f"{execution} still has a session that may write. Ask again once it has ended.",
                "gate",
            )
        session = self._running[execution] = RestoreSession(execution)
        try:
            yield session
        finally:
            del self._running[execution]

    @contextlib.asynccontextmanager
    async def _means(self, session: RestoreSession) -> AsyncIterator[Means]:
        """What it works with; a guard that is violated ends it."""
        guards = await Guards.open(self._quotas.guards, self._iocs)

        def end(violated: asyncio.Future[str]) -> None:
            if not violated.cancelled():
                session.stop(violated.result())

        guards.violated.add_done_callback(end)
        own = OwnChannels(self._directory, self._quotas.array_bytes)
        try:
            yield Means(
                own,
                guards,
                self._writer,
                self._stopper,
                self._limits,
                self._inhibit,
                self._journal,
            )
        finally:
            own.close()
            await guards.close()

    async def _put_back(
        self, execution: str, putting: list[PuttingBack], session: RestoreSession
    ) -> list[RestoredChannel]:
        restored = []
        for one in putting:
            channel = await one.run()
            self._journal.note(
                "restore_channel", **session.identity, **channel.model_dump(mode="json")
            )
            restored.append(channel)
        complete = all(channel.outcome.is_back for channel in restored)
        self._journal.note(
            "restore_ended",
            **session.identity,
            complete=complete,
            stopped=session.stopped.result() if session.stopped.done() else "",
        )
        if complete:
            self._left.forget(execution)
        return restored


async def _whole(
    work: Coroutine[None, None, list[RestoredChannel]], session: RestoreSession
) -> list[RestoredChannel]:
    """`work`, which ends between two writes where its caller is cancelled."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        session.stop("whoever asked for it is gone")
        await asyncio.wait({task})
        raise
