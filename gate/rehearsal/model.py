"""The model IOC that stands for the machine in a rehearsal (`rehearsal.upstream`)."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence

import structlog

from gate.channel_access.directory import Directory, parse_address
from gate.channel_access.ioc_circuit import Address, IocLostError
from gate.channel_access.own_channels import OwnChannels, Setpoint
from gate.channel_access.values import UnfitValueError, Value, receive
from runpermit.errors import ContainerConfigurationError, ServiceUnavailableError

# Shorter than a worker waits for an answer of the gate.
WAIT_SECONDS = 4.0
_CONNECT_SECONDS = 2.0
_PUT_BACK_SECONDS = 5.0

log = structlog.get_logger()


class ModelLostError(ConnectionError):
    """The model does not answer, or does not take what it is set to."""


class _Only(Directory):
    """Finds every channel at one address: only the IOC there can say that it has none."""

    def __init__(self, address: Address) -> None:
        super().__init__([], [])
        self._only = address

    async def find(self, name: str) -> Address | None:
        del name
        return self._only


class Model:
    """The model at `upstream`; one rehearsal at a time has it.

    It must be none of `machine`, the addresses where channels of the machine are looked for.
    """

    def __init__(self, upstream: str, machine: Sequence[str], array_bytes: int) -> None:
        self.upstream = upstream
        self._address = parse_address(upstream)
        self._machine = [parse_address(text) for text in machine]
        self._array_bytes = array_bytes
        self._free = asyncio.Lock()
        self._holder = ""

    async def take(self, holder: str) -> "ModelUse":
        """The model for the session `holder` alone, until it leaves it.

        Raises ServiceUnavailableError where another one keeps it, or where it is not reachable,
        ContainerConfigurationError where it is the machine.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise ServiceUnavailableError(
                f"The model {self.upstream} (rehearsal.upstream) is in use by session "
                f"{self._holder}. One rehearsal at a time has it: try again later.",
                "model",
            ) from None
        try:
            address = await self._reached()
        except BaseException:
            self._free.release()
            raise
        self._holder = holder
        return ModelUse(
            self.upstream,
            address,
            OwnChannels(_Only(address), self._array_bytes),
            self._free,
        )

    async def _reached(self) -> Address:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                address = await resolved(self._address)
                _, writer = await asyncio.open_connection(*address)
        except (OSError, TimeoutError) as error:
            raise ServiceUnavailableError(lost(self.upstream, error), "model") from None
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        for place in self._machine:
            with contextlib.suppress(OSError):  # nothing can be found there either
                if await _same_place(place, address):
                    raise ContainerConfigurationError(
                        f"rehearsal.upstream = {self.upstream} is where the machine is looked for "
                        "(control_system.name_servers and .addresses), and a rehearsal writes to "
                        "no machine. Name the model's own address."
                    )
        return address


class ModelUse:
    """One session's use of the model at `address`."""

    def __init__(
        self, upstream: str, address: Address, channels: OwnChannels, free: asyncio.Lock
    ) -> None:
        self.upstream = upstream
        self.address = address
        self._channels = channels
        self._free = free
        self._found: list[tuple[Setpoint, Value]] = []

    async def is_at(self, address: Address) -> bool:
        """Whether an IOC of the machine may be the model itself."""
        try:
            return await _same_place(address, self.address)
        except OSError:
            return True

    async def align(self, name: str, live: Value) -> bool:
        """Set `name` in the model to what it reads in the machine; False where it has no `name`.

        Raises ModelLostError.
        """
        try:
            setpoint = await self._channels.open(name)
            found = (await setpoint.read()).value
        except IocLostError as error:
            raise ModelLostError(lost(self.upstream, error)) from error
        except (LookupError, UnfitValueError):
            return False
        self._found.append((setpoint, found))
        if found != live:
            await self._set(setpoint, live)
        return True

    async def leave(self) -> None:
        """Put back what was changed in it, the last one first, and let another one have it."""
        try:
            async with asyncio.timeout(_PUT_BACK_SECONDS):
                for setpoint, found in reversed(self._found):
                    with contextlib.suppress(ModelLostError):
                        await self._set(setpoint, found)
        except TimeoutError:
            log.warning("the model was not put back", model=self.upstream)
        finally:
            self._channels.close()
            self._free.release()

    async def _set(self, setpoint: Setpoint, value: Value) -> None:
        target = setpoint.record.target
        try:
            put = setpoint.put(value)
            sent = put.attempted
            received = receive(target, sent.dtype, sent.count, sent.payload)
            # The read behind it is answered once the model took the write.
            reading = setpoint.circuit.ask_read(
                setpoint.sid, target.seen_type, 0, after=put.message(received)
            )
            setpoint.circuit.value_in(await reading)
        except (ConnectionError, LookupError, UnfitValueError) as error:
            raise ModelLostError(
                f"{self.upstream} (rehearsal.upstream), {setpoint.name}: the model does not take "
                f"the value of the machine: {error}"
            ) from error


def lost(upstream: str, why: object) -> str:
    """That the model is not there, and what to do."""
    return (
        f"The model {upstream} (rehearsal.upstream) does not answer: {why or 'time-out'}. Start "
        "it, or take the setting out: then reads that follow from a write are told as unknown."
    )


async def resolved(address: Address) -> Address:
    """An address with its host's number. Raises OSError."""
    host, port = address
    found = await asyncio.get_running_loop().getaddrinfo(host, port, family=socket.AF_INET)
    return str(found[0][4][0]), port


async def _same_place(one: Address, other: Address) -> bool:
    """Whether two addresses may lead to the same IOC. Raises OSError."""
    (host, port), (other_host, other_port) = await resolved(one), await resolved(other)
    same_host = host == other_host or (_is_local(host) and _is_local(other_host))
    return same_host and port == other_port


def _is_local(host: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
        return True
