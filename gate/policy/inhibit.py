"""The host's "no writes" switch, and all other reasons for which every write is refused."""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog
from pydantic import ValidationError

from gate.journal.journal import Journal
from runpermit.errors import ServiceUnavailableError
from runpermit.limits.reading import read_regular
from runpermit.models.wire import Message
from runpermit.serialization import strict_json_loads
from runpermit.text import moment, one_line

FILE_NAME = "inhibit.json"

log = structlog.get_logger()


class InhibitState(Message):
    """The switch: on or off, and who turned it so, why and when (UTC, ISO 8601)."""

    on: bool
    by: str = ""
    reason: str = ""
    since: str = ""


class Inhibit:
    """Holds the switch, and asks the other sources. `refusal` is what every write asks.

    The switch outlives the gate: it is kept in `inhibit.json` in `directory`, which must exist,
    and one that can't be read means on.
    """

    def __init__(self, directory: Path, journal: Journal) -> None:
        self._file = directory / FILE_NAME
        self._journal = journal
        self._turning = asyncio.Lock()
        self._sources: list[Callable[[], str | None]] = []
        self._set(self._kept())

    @property
    def state(self) -> InhibitState:
        """The switch as it is now."""
        return self._state

    def add_source(self, source: Callable[[], str | None]) -> None:
        """Have `source` say why writes are refused, or None; it is asked at every write."""
        self._sources.append(source)

    def refusal(self) -> str | None:
        """Why every write is refused now, in a sentence for whoever wanted it; None if not."""
        if self._sentence is not None:
            return self._sentence
        return next((why for source in self._sources if (why := source()) is not None), None)

    async def turn(self, *, on: bool, operator: str, reason: str) -> InhibitState:
        """Turn the switch, to stay so over a restart of the gate, and return what it is then.

        On counts at once, whatever fails afterwards; off only when journal and file have it.
        Raises JournalError, or ServiceUnavailableError where the file can't be written.
        """
        wanted = InhibitState(
            on=on, by=one_line(operator, 100), reason=one_line(reason, 500), since=_now()
        )
        if on:
            self._set(wanted)
        # A caller that hangs up does not leave it half turned.
        await asyncio.shield(self._turn(wanted, self._state))
        return self._state

    async def _turn(self, wanted: InhibitState, before: InhibitState) -> None:
        async with self._turning:
            if wanted.on:
                try:
                    await self._keep(wanted)
                finally:
                    await self._record(wanted)
                return
            await self._record(wanted)
            await self._keep(wanted)
            if self._state is before:  # else it was turned on again meanwhile
                self._set(wanted)

    def _set(self, state: InhibitState) -> None:
        self._state = state
        why = f": {state.reason}" if state.reason else ""
        self._sentence = (
            f"All writes of this host are inhibited by {state.by or 'somebody'} since "
            f"{moment(state.since) or 'some time'}{why}. To lift it: runpermit inhibit off"
            if state.on
            else None
        )

    async def _record(self, state: InhibitState) -> None:
        await self._journal.write("inhibit", **state.model_dump())

    async def _keep(self, state: InhibitState) -> None:
        try:
            await asyncio.to_thread(_replace, self._file, state.model_dump_json().encode())
        except OSError as error:
            self._journal.note("inhibit_not_kept", on=state.on, why=str(error))
            then = (
                "Writes are refused from now on, but a restart of the gate would lift that"
                if state.on
                else "Writes stay refused"
            )
            raise ServiceUnavailableError(
                f"{self._file} can't be written: {error.strerror}. {then}.", "gate"
            ) from None

    def _kept(self) -> InhibitState:
        try:
            content, _ = read_regular(self._file)
            return InhibitState.model_validate(strict_json_loads(content), strict=True)
        except FileNotFoundError:
            return InhibitState(on=False)
        except (OSError, ValueError) as error:
            log.exception("the inhibit switch can't be read: on", file=str(self._file))
            reason = "it is malformed" if isinstance(error, ValidationError) else str(error)
            return InhibitState(
                on=True,
                by="the gate",
                reason=one_line(f"{self._file} can't be read: {reason}", 500),
                since=_now(),
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _replace(file: Path, content: bytes) -> None:
    """Put `content` in the place of `file`: whole, durable, or not at all."""
    new = file.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
