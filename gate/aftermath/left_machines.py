"""Executions that left the machine changed, and of which nobody has said what is to become of it.

After a terminate no code of ours runs any more: the gate remembers what its journal tells.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from gate.journal.journal import Journal, JournalError
from gate.permits.index import PermitIndex
from runpermit.models import LeftMachine

MOST_CHANNELS = 20
MOST_LISTED = 500

log = structlog.get_logger()


class LeftMachines:
    """Lists them, by the journal, until a restore was complete or somebody left it as it is."""

    def __init__(self, journal: Journal, index: PermitIndex) -> None:
        self._journal = journal
        self._index = index
        self._listed: dict[str, LeftMachine] = {}

    @property
    def listed(self) -> list[LeftMachine]:
        """The latest of them, the oldest first."""
        return list(self._listed.values())[-MOST_LISTED:]

    async def look_at_all(self) -> None:
        """Look at what gates before this one left."""
        for execution in list(self._index.unfinished):
            await self.look(execution)

    async def look(self, execution: str) -> None:
        """Look again at what the journal says of `execution`, which writes no more."""
        try:
            await self._journal.flush()
        except JournalError:  # what is not in it is told as uncertain
            log.warning("the journal does not tell the end of a session", execution=execution)
        permits = self._index.unfinished.get(execution, [])
        found = await asyncio.to_thread(self._found, execution, list(permits))
        self._listed.pop(execution, None)
        if found is not None:
            log.warning("machine left changed", execution=execution, channels=found.channels)
            self._listed[execution] = found

    async def leave(self, execution: str, operator: str) -> bool:
        """It stays as it is: somebody says so. Whether it was listed. Raises JournalError."""
        await self._journal.write("left_alone", execution=execution, operator=operator)
        self._index.left_alone.add(execution)
        return self.forget(execution)

    def begin(self, execution: str) -> None:
        """Something of it is put back from now on."""
        self._index.restored.add(execution)

    def forget(self, execution: str) -> bool:
        """All of it is back, or it is to stay so. Whether it was listed."""
        self._index.unfinished.pop(execution, None)
        return self._listed.pop(execution, None) is not None

    def _found(self, execution: str, permits: list[str]) -> LeftMachine | None:
        """What the last of `permits` that wrote left; of one that can't be read, that alone."""
        for permit in reversed(permits):
            used = self._index.used[permit]
            try:
                story = self._index.story(permit)
            except (OSError, ValueError) as error:
                log.warning("the journal does not tell what was left", why=str(error))
                return LeftMachine(
                    execution=execution, first_run_id=used.first_run_id, permit=permit, at=used.at
                )
            if story.forwarded:
                changed = story.changed
                at = str(_of(story.closed, "at") or used.at)
                names = changed[:MOST_CHANNELS]
                left = LeftMachine(
                    execution=execution,
                    first_run_id=used.first_run_id,
                    permit=permit,
                    at=at,
                    channels=names,
                )
                return left if changed else None
        return None


def _of(record: Mapping[str, Any] | None, field: str) -> object:
    return record.get(field) if record is not None else None
