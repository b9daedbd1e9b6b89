"""The thread that brings the journal's lines to the disk: one sync for all who wait."""

import asyncio
import queue
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

import structlog

from gate.journal.files import JournalFiles
from runpermit.errors import ServiceUnavailableError

NOTE_SECONDS = 1.0
# The writer takes the interpreter lock three times a batch. An event loop without a pause, which
# releases it for microseconds only, keeps it away from a thread that waits Python's usual 5 ms
# before it insists: measured, up to 20 s for a record.
_INSISTS_AFTER_SECONDS = 100e-6

log = structlog.get_logger()


class JournalError(ServiceUnavailableError):
    """The journal can't keep a record; what it would have told of must not happen."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "journal")


@dataclass(frozen=True)
class Entry:
    """A line on its way to the disk, for the file of its month, and who waits for it."""

    month: str
    line: bytes
    waiter: asyncio.Future[None] | None


class JournalWriter:
    """Appends entries in the order in which they were put.

    Whatever queues up while it waits for the disk goes out together. The first failure of the
    disk is final: `failure` says so, and every entry from then on is refused.
    """

    def __init__(self, files: JournalFiles) -> None:
        sys.setswitchinterval(min(sys.getswitchinterval(), _INSISTS_AFTER_SECONDS))
        self.failure: str | None = None
        self._files = files
        self._queue: queue.SimpleQueue[list[Entry] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._thread.start()

    def put(self, entries: list[Entry]) -> None:
        """Have `entries` written; their waiters are answered in their own loop."""
        self._queue.put(entries)

    def end(self) -> None:
        """Write what was put, and close the files. Waits for it."""
        self._queue.put(None)
        self._thread.join()

    def _serve(self) -> None:
        closing = False
        while not closing:
            arrived = self._arrived()
            closing = None in arrived
            entries = [entry for entries in arrived if entries is not None for entry in entries]
            try:
                self._keep(entries, closing=closing)
            except Exception as error:  # noqa: BLE001  (whatever it is: no record, no write)
                self._fail(error)
            self._answer(entries)
        self._files.close()

    def _arrived(self) -> list[list[Entry] | None]:
        """What is to be written, at least one thing; nothing where only notes are due."""
        since = self._files.unsynced_since
        wait = None if since is None else max(since + NOTE_SECONDS - time.monotonic(), 0)
        try:
            arrived = [self._queue.get(timeout=wait)]
        except queue.Empty:
            return []
        while not self._queue.empty():
            arrived.append(self._queue.get())
        return arrived

    def _keep(self, entries: list[Entry], *, closing: bool) -> None:
        if self.failure is not None:
            return
        for month, of_month in groupby(entries, key=lambda entry: entry.month):
            self._files.append(month, b"".join(entry.line for entry in of_month))
        since = self._files.unsynced_since
        notes_are_due = since is not None and time.monotonic() - since >= NOTE_SECONDS
        if closing or notes_are_due or any(entry.waiter for entry in entries):
            self._files.sync()

    def _fail(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or repr(error)
        self.failure = (
            f"The gate's journal {self._files.directory} can't be written: {reason}. Nothing is "
            "written to the machine. Mend the disk, then start the gate again."
        )
        log.error("the journal failed", failure=self.failure)

    def _answer(self, entries: list[Entry]) -> None:
        waiters = [entry.waiter for entry in entries if entry.waiter is not None]
        if self.failure is not None:
            for entry in entries:
                if entry.waiter is None:
                    log.error("not in the journal", record=entry.line.decode())
        if waiters:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                waiters[0].get_loop().call_soon_threadsafe(_settle, waiters, self.failure)


def _settle(waiters: list[asyncio.Future[None]], failure: str | None) -> None:
    for waiter in waiters:
        if waiter.done():  # its caller was cancelled
            continue
        if failure is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(JournalError(failure))
