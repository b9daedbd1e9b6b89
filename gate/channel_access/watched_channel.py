"""Channels under watch: every change is told at once, and an IOC's silence within a second."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from gate.channel_access.directory import Directory
from gate.channel_access.frames import ECA_NORMAL, Frame
from gate.channel_access.ioc_circuit import Address, IocCircuit, IocLostError
from gate.channel_access.reading import OpenChannel, Reading, open_channel
from gate.channel_access.values import UnfitValueError

SILENCE_SECONDS = 1.0
ECHO_SECONDS = 0.2
AGAIN_SECONDS = 0.3
_ANSWER_BYTES = 64 * 1024

log = structlog.get_logger()


class WatchedIoc:
    """A circuit whose IOC is asked for a sign of life all the time; `lost` once there is none."""

    def __init__(self, address: Address) -> None:
        self.lost = asyncio.Event()
        self.users = 0
        self.circuit = IocCircuit(address, limit=_ANSWER_BYTES, on_lost=self.lost.set)
        self._loop = asyncio.get_running_loop()
        self._echoing = asyncio.create_task(self._echo())

    @property
    def silent(self) -> float:
        """For how many seconds nothing was heard."""
        return self._loop.time() - self.circuit.last_heard

    def close(self) -> None:
        """End the circuit."""
        self._echoing.cancel()
        self.circuit.close()

    async def _echo(self) -> None:
        while not self.circuit.closed and self.silent <= SILENCE_SECONDS:
            self.circuit.echo()
            await asyncio.sleep(ECHO_SECONDS)
        self.circuit.close()


class WatchedIocs:
    """One circuit to each IOC for all channels that are watched there, while there are any."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._iocs: dict[Address, WatchedIoc] = {}

    @asynccontextmanager
    async def at(self, address: Address) -> AsyncIterator[WatchedIoc]:
        """The circuit to the IOC at `address`."""
        ioc = self._iocs.get(address)
        if ioc is None or ioc.circuit.closed:
            ioc = self._iocs[address] = WatchedIoc(address)
        ioc.users += 1
        try:
            yield ioc
        finally:
            ioc.users -= 1
            if ioc.circuit.closed:
                self.directory.forget(address)
            if not ioc.users:
                ioc.close()
                if self._iocs.get(address) is ioc:
                    del self._iocs[address]


class WatchedChannel:
    """Watches the channel `name`; `on_change` is called whenever `reading` may say another thing.

    `told` is set once anything is known of it.
    """

    def __init__(self, name: str, iocs: WatchedIocs, on_change: Callable[[], None]) -> None:
        self.name = name
        self.told = asyncio.Event()
        self._iocs = iocs
        self._on_change = on_change
        self._ioc: WatchedIoc | None = None
        self._reading: Reading | None = None
        self._why_not = "it has not been read yet"
        self._watching = asyncio.create_task(self._watch())

    def reading(self) -> Reading:
        """What it reads now. Raises LookupError, with the reason, where that is not known."""
        ioc, reading = self._ioc, self._reading
        if ioc is None or reading is None:
            raise LookupError(self._why_not)
        if ioc.circuit.closed:
            raise LookupError(f"{ioc.circuit.where} was lost")
        if ioc.silent > SILENCE_SECONDS:
            raise LookupError(f"its IOC has been silent for {ioc.silent:.1f} s")
        return reading

    async def close(self) -> None:
        """Stop watching."""
        self._watching.cancel()
        await asyncio.wait({self._watching})

    async def _watch(self) -> None:
        while True:
            try:
                await self._watch_once()
            except (LookupError, OSError) as error:
                self._unseen(str(error))
                log.warning("a channel can't be watched", channel=self.name, why=str(error))
            except Exception:
                # Whatever it was: it counts as not read, and is looked for again.
                self._unseen("it can't be watched: see the gate's log")
                log.exception("a channel can't be watched", channel=self.name)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _watch_once(self) -> None:
        """From the search to the silence of the IOC."""
        address = await self._iocs.directory.find(self.name)
        if address is None:
            raise LookupError(f"no IOC has {self.name}")
        async with self._iocs.at(address) as ioc:
            channel = await open_channel(ioc.circuit, self.name)
            try:
                self._ioc = ioc
                seen_type = channel.target.seen_type
                ioc.circuit.monitor(
                    channel.channel, seen_type, lambda frame: self._take(channel, frame)
                )
                await ioc.lost.wait()
            finally:
                self._ioc = None
                ioc.circuit.clear(channel.channel)
            raise IocLostError(f"{ioc.circuit.where} was lost, or is silent")

    def _take(self, channel: OpenChannel, frame: Frame) -> None:
        if frame.p1 != ECA_NORMAL:
            self._unseen(f"its IOC tells nothing of it (status {frame.p1})")
            return
        try:
            self._reading = channel.reading(frame.count, frame.payload)
        except UnfitValueError as error:
            self._unseen(str(error))
            return
        self._changed()

    def _unseen(self, why: str) -> None:
        self._reading, self._why_not = None, why
        self._changed()

    def _changed(self) -> None:
        self.told.set()
        self._on_change()
