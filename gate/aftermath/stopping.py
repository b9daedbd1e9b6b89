"""Stopping what is under way: a channel's `stop` entry, written by the gate itself.

The entry is the facility's word that this write is always right, so neither limits nor inhibit are
asked, and a record that another write holds is not waited for.
"""

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from gate.channel_access.directory import Directory
from gate.channel_access.frames import Command, pack
from gate.channel_access.own_channels import OwnChannels, Setpoint
from gate.channel_access.values import Dbr, Received, UnfitValueError, encode, receive
from gate.journal.journal import Journal, JournalError
from runpermit.limits import LimitsDatabase, LimitsFile, TargetValue

_ARRAY_BYTES = 64 * 1024

log = structlog.get_logger()


class Stopper:
    """Writes the `stop` entries of channels whose put was not answered when its session ended."""

    def __init__(self, directory: Directory, journal: Journal, limits: LimitsFile) -> None:
        self._directory = directory
        self._journal = journal
        self._limits = limits

    async def stop(
        self,
        channels: Iterable[str],
        identity: Mapping[str, object],
        approved: LimitsDatabase | None = None,
    ) -> list[str]:
        """Stop what `channels` (names of records or fields) set going; which channels were written.

        `identity` says whose puts they are. Where no limits can be read now, those under which they
        were `approved` count. What could not be written is in journal and log.
        """
        stops: dict[TargetValue, list[str]] = {}
        database = self._limits.validator.database or approved
        for channel in dict.fromkeys(channels):
            entry = database.find(channel) if database is not None else None
            if entry is not None and entry.stop is not None:
                stops.setdefault(entry.stop, []).append(channel)
        own = OwnChannels(self._directory, _ARRAY_BYTES)
        try:
            written = await asyncio.gather(
                *(self._stop(own, stop, of, identity) for stop, of in stops.items())
            )
        finally:
            own.close()
        return [stop.channel for stop, done in zip(stops, written, strict=True) if done]

    async def _stop(
        self, own: OwnChannels, stop: TargetValue, of: list[str], identity: Mapping[str, object]
    ) -> bool:
        """Whether the IOC took it."""
        fields = {"channel": stop.channel, "value": stop.value, "stops": of}
        try:
            setpoint = await own.open(stop.channel)
            received = _received(setpoint, stop.value)
            seq = await self._intend(fields, identity)
            # The read behind it is answered once the IOC took the write.
            message = pack(
                Command.WRITE,
                received.dtype,
                received.count,
                setpoint.sid,
                payload=received.payload,
            )
            seen_type = setpoint.record.target.seen_type
            setpoint.circuit.value_in(
                await setpoint.circuit.ask_read(setpoint.sid, seen_type, 0, after=message)
            )
        except (ConnectionError, LookupError, UnfitValueError) as error:
            log.error("a stop channel was not written", **fields, why=str(error))  # noqa: TRY400
            self._journal.note("stop_not_written", **identity, **fields, why=str(error))
            return False
        self._journal.note("stop_written", **identity, of=seq)
        return True

    async def _intend(self, fields: Mapping[str, object], identity: Mapping[str, object]) -> int:
        try:
            return await self._journal.write("stop_write", **identity, **fields)
        except JournalError:
            # The one write that goes out without its record: a device that moves on is worse.
            log.exception("a stop is written without a record", **identity, **fields)
            return 0


def _received(setpoint: Setpoint, value: str | float) -> Received:
    dtype = Dbr.STRING if isinstance(value, str) else Dbr.DOUBLE
    return receive(setpoint.record.target, dtype, 1, encode(dtype, (value,)))
