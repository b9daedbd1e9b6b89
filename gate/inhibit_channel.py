"""The inhibit channel: while it does not read what it must, or is silent, nothing is written."""

import asyncio

import structlog

from gate.directory import Directory
from gate.frames import ECA_NORMAL, Frame
from gate.ioc_circuit import IocCircuit, IocLostError
from gate.reading import OpenChannel, Reading, open_channel
from gate.values import UnfitValueError
from runpermit.limits.values import shown

SILENCE_SECONDS = 1.0
ECHO_SECONDS = 0.2
AGAIN_SECONDS = 0.3
_ANSWER_BYTES = 64 * 1024

log = structlog.get_logger()


class InhibitChannel:
    """Watches `name`, which must read `value`, on a circuit of its own with echoes."""

    def __init__(self, name: str, value: str | float, directory: Directory) -> None:
        self.name = name
        self._value = value
        self._directory = directory
        self._loop = asyncio.get_running_loop()
        self._circuit: IocCircuit | None = None
        self._reading: Reading | None = None
        self._watching = asyncio.create_task(self._watch())

    def refusal(self) -> str | None:
        """Why nothing may be written now, None where the channel permits it."""
        circuit, reading = self._circuit, self._reading
        must = f"the inhibit channel {self.name} (gate.inhibit_channel) must read "
        must += shown(self._value)
        if circuit is None or circuit.closed or reading is None:
            return f"{must}, and can't be read"
        silent = self._loop.time() - circuit.last_heard
        if silent > SILENCE_SECONDS:
            return f"{must}, and its IOC has been silent for {silent:.1f} s"
        if not reading.equals(self._value):
            state = f" ({reading.state})" if reading.state else ""
            return f"{must}, and reads {shown(reading.value)}{state}"
        return None

    async def close(self) -> None:
        """Stop watching."""
        self._watching.cancel()
        await asyncio.wait({self._watching})

    async def _watch(self) -> None:
        while True:
            try:
                await self._watch_once()
            except (LookupError, OSError) as error:
                log.warning("the inhibit channel can't be read", channel=self.name, why=str(error))
            except Exception:
                # Whatever it was: nothing is written, and the channel is looked for again.
                log.exception("the inhibit channel can't be watched", channel=self.name)
            finally:
                self._reading = None
                if self._circuit is not None:
                    self._directory.forget(self._circuit.address)
                    self._circuit.close()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _watch_once(self) -> None:
        """From the search to the silence of the IOC."""
        address = await self._directory.find(self.name)
        if address is None:
            raise LookupError(f"no IOC has {self.name}")
        circuit = IocCircuit(address, limit=_ANSWER_BYTES)
        self._circuit = circuit
        channel = await open_channel(circuit, self.name)

        def take(frame: Frame) -> None:
            self._reading = self._read(channel, frame)

        circuit.monitor(channel.channel, channel.target.seen_type, take)
        while not circuit.closed and self._loop.time() - circuit.last_heard <= SILENCE_SECONDS:
            circuit.echo()
            await asyncio.sleep(ECHO_SECONDS)
        raise IocLostError(f"{circuit.where} is silent")

    def _read(self, channel: OpenChannel, frame: Frame) -> Reading | None:
        if frame.p1 != ECA_NORMAL:
            return None
        try:
            return channel.reading(frame.count, frame.payload)
        except UnfitValueError:
            return None
