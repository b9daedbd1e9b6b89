"""The gate's write-ahead record: what it is about to do is on the disk before it does it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from gate.journal.chain import encode
from gate.journal.files import JournalFiles
from gate.journal.writer import Entry, JournalError, JournalWriter
from runpermit.errors import ContainerConfigurationError

__all__ = ["Journal", "JournalError"]

# For so long notes wait for company; a record that is waited for takes them along.
GATHER_SECONDS = 0.02

log = structlog.get_logger()


class Journal:
    """Records in the order of the calls, each chained to the one before. For one event loop.

    Times are UTC in ISO 8601 with microseconds; a record's `prev` is the sha256 of the line before
    it, without its end. Every field becomes JSON as results do (`make_json_serializable`).
    """

    def __init__(self, files: JournalFiles) -> None:
        self._directory = files.directory
        self._last = files.end.link
        self._writer = JournalWriter(files)
        self._gathered: list[Entry] = []
        self._closed = False

    @classmethod
    def open(cls, directory: Path) -> "Journal":
        """Open the journal in `directory`, alone, and continue it where it ended.

        A last line that a crash tore apart is kept in a file of its own, and a record says so.
        Raises ContainerConfigurationError where another gate has the journal, where it can't be
        written, or where its last record does not follow the one before it.
        """
        where = f"The journal {directory} (gate.journal)"
        try:
            files = JournalFiles(directory, _month(_now()))
        except BlockingIOError:
            raise ContainerConfigurationError(
                f"{where} is in use by another gate. Stop that one, or give this one its own."
            ) from None
        except OSError as error:
            raise ContainerConfigurationError(
                f"{where} can't be written: {error}. It must be a folder of the gate's user."
            ) from None
        except ValueError as broken:
            raise ContainerConfigurationError(
                f"{where} is broken at its end: {broken}. Keep the folder as evidence, find out "
                "what changed it, and only then give the gate a new one."
            ) from None
        journal = cls(files)
        if torn := files.end.torn:
            log.warning("torn last line of the journal cut off", kept_in=torn)
            journal.note("torn_line_cut", kept_in=torn)
        return journal

    @property
    def failure(self) -> str | None:
        """Why no record is taken any more; None while all is well."""
        closed = f"The journal {self._directory} is closed." if self._closed else None
        return self._writer.failure or closed

    async def write(self, event: str, **fields: Any) -> int:  # noqa: ANN401
        """Keep a record and return its number once it is durable.

        It is kept even where the caller is cancelled meanwhile. Raises JournalError where it can't
        be kept, ValueError where it is too large or a field has a name of the journal's own.
        """
        if self.failure is not None:
            raise JournalError(self.failure)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathered.append(self._entry(event, fields, waiter))
        seq = self._last.seq
        self._hand_over()
        await waiter
        return seq

    def note(self, event: str, **fields: Any) -> int:  # noqa: ANN401
        """Keep a record in the same order without waiting; it is durable within a second or so.

        After a failure it goes to the log alone and has the number 0: what only tells of something
        does not break it. Raises ValueError like `write`.
        """
        if self.failure is not None:
            log.error("not in the journal", record=event, fields=fields, failure=self.failure)
            return 0
        if not self._gathered:
            # Each waking of the writer costs whoever is at work meanwhile.
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._hand_over)
        self._gathered.append(self._entry(event, fields, None))
        return self._last.seq

    async def flush(self) -> None:
        """Wait until all that was noted can be read in the files. Raises JournalError."""
        if self.failure is not None:
            raise JournalError(self.failure)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathered.append(Entry(_month(_now()), b"", waiter))
        self._hand_over()
        await waiter

    async def close(self) -> None:
        """Make everything durable, and let another gate have the journal."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            await asyncio.to_thread(self._writer.end)

    def _entry(
        self, event: str, fields: dict[str, Any], waiter: asyncio.Future[None] | None
    ) -> Entry:
        at = _now()
        line, self._last = encode(self._last, at, event, fields)
        return Entry(_month(at), line + b"\n", waiter)

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._writer.put(gathered)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _month(at: str) -> str:
    return at[: len("2026-01")]
