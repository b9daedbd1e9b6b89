"""What an execution left changed, as the journal tells it."""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gate.journal.channel_story import ChannelStory, Left
from gate.journal.files import journal_files
from runpermit.errors import ServiceUnavailableError
from runpermit.models import FollowOutcome

# As the journal writes it; in a text it would stand with backslashes.
_OF = re.compile(rb'"of": (\d+)[,}]')


class ExecutionStory:
    """Takes an execution's records, and what was noted of its writes, in their order.

    What is told is what its last permit changed, and restores since: that is what an operator was
    shown. earlier: for each channel what its device did after the writes before the last one, and
    how often. why_not: for each channel of an approved plan why it can't be put back, empty where
    it can.
    """

    def __init__(self) -> None:
        self.why_not: dict[str, str] = {}
        self.earlier: dict[str, dict[FollowOutcome, int]] = {}
        self._told = ChannelStory()
        self._permit: str | None = None
        self._stops: list[Mapping[str, Any]] = []

    @classmethod
    async def read(cls, directory: Path, execution: str) -> "ExecutionStory":
        """What the journal in `directory` says now. Raises ServiceUnavailableError."""
        story = cls()
        try:
            await asyncio.to_thread(story._read, directory, execution)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ServiceUnavailableError(
                f"The journal {directory} (gate.journal) does not tell what {execution} left "
                f"changed: {error!r}. Look at it with: runpermit audit.",
                "gate",
            ) from None
        return story

    def _read(self, directory: Path, execution: str) -> None:
        name = json.dumps(execution).encode()
        for file in journal_files(directory):
            with file.open("rb") as opened:
                for line in opened:
                    of = _OF.search(line)
                    ours = of is not None and int(of[1]) in self._told.pending
                    if (ours or name in line) and line.endswith(b"\n"):
                        record = json.loads(line)
                        if ours or record.get("execution") == execution:
                            self.take(record)

    def take(self, record: Mapping[str, Any]) -> None:
        """Take one more record."""
        match record.get("event"):
            case "permit_consumed":
                known = record.get("channels")
                self.why_not |= known if isinstance(known, dict) else {}
            case "stop_write":
                self._stops.append(record)
            case "devices":
                self.earlier[record["channel"]] = record["earlier"]
            case "write":
                self._begin(record.get("permit"))
        self._told.take(record)

    def left(self) -> list[Left]:
        """The channels that were written, in the order of the first write to each."""
        self._told.end()
        for stop in self._stops:
            self._stopped(stop)
        return self._told.left()

    def _begin(self, permit: str | None) -> None:
        """Forget what was left under another permit: it was approved as it was."""
        if permit is not None and permit != self._permit:
            self._permit = permit
            self._told.forget()
            self._stops.clear()
            self.earlier.clear()

    def _stopped(self, record: Mapping[str, Any]) -> None:
        """Take a stop that the gate wrote itself, for what was on its way then."""
        for channel in record["stops"]:
            left = self._told.channels.get(channel)
            if left is not None and left.last < record["seq"]:
                left.stopped = True
        left = self._told.channels.get(record["channel"])
        if left is not None and left.last < record["seq"]:
            left.stop = record["value"]
