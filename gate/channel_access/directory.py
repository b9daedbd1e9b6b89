"""Where channels are: the gate's own name search, with what it learnt kept for a while."""

import asyncio
import contextlib
import math
import re
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import structlog

from gate.channel_access.frames import (
    ANY_ADDRESS,
    PROTOCOL,
    BadFrameError,
    Command,
    Frame,
    FrameReader,
    pack,
    text_payload,
)
from gate.channel_access.ioc_circuit import Address
from runpermit.errors import ContainerConfigurationError

DEFAULT_PORT = 5064
FOUND_SECONDS = 30.0
MISSED_SECONDS = 2.0
ASK_AGAIN = (0.0, 0.1, 0.3, 0.6)  # s between the tries of one search
MOST_SEARCHES = 500
MOST_KNOWN = 50_000
MOST_UNSENT_BYTES = 1024 * 1024
LOOK_AGAIN_SECONDS = 30.0
CONNECT_SECONDS = 1.0
_FRAME_BYTES = 4096
_NAME = re.compile(rb"[!-~]{1,255}")
# No reply to wait for where the channel is not there.
_DO_NOT_REPLY = 5

# Called with the number of a search and the address that answers it.
_Told = Callable[[int, Address], None]

log = structlog.get_logger()


def parse_address(text: str) -> Address:
    """`host` or `host:port`. Raises ContainerConfigurationError."""
    host, colon, port = text.partition(":")
    number = int(port) if port.isdecimal() else DEFAULT_PORT if not colon else 0
    if not host or not 0 < number < 2**16:
        raise ContainerConfigurationError(
            f'control_system.name_servers and .addresses: "{text}" is no host:port.'
        )
    return host, number


def is_channel_name(name: bytes) -> bool:
    """Whether it can be asked for: printable ASCII without spaces."""
    return _NAME.fullmatch(name) is not None


class Directory:
    """Finds the IOC of a channel by asking `name_servers` over TCP and `addresses` over UDP."""

    def __init__(self, name_servers: Sequence[str], addresses: Sequence[str]) -> None:
        self._servers = [_NameServer(parse_address(text), self._told) for text in name_servers]
        self._hosts = [_Host(parse_address(text)) for text in addresses]
        self._opening = asyncio.Lock()
        self._datagrams: asyncio.DatagramTransport | None = None
        self._known: OrderedDict[str, tuple[Address | None, float]] = OrderedDict()
        self._searches: dict[str, asyncio.Task[Address | None]] = {}
        self._wanted: dict[int, asyncio.Future[Address]] = {}
        self._next = 0
        self._loop = asyncio.get_running_loop()

    async def find(self, name: str) -> Address | None:
        """The address of the IOC that has channel `name`, None where nobody answers."""
        known = self._known.get(name)
        if known is not None and known[1] > self._loop.time():
            return known[0]
        search = self._searches.get(name)
        if search is None:
            if len(self._searches) >= MOST_SEARCHES:
                return None
            search = asyncio.create_task(self._search(name))
            self._searches[name] = search
            search.add_done_callback(lambda _: self._searches.pop(name, None))
        return await asyncio.shield(search)

    def forget(self, address: Address) -> None:
        """Ask anew for what was at `address`: that IOC is gone, or has moved."""
        for name in [name for name, (found, _) in self._known.items() if found == address]:
            del self._known[name]

    def close(self) -> None:
        """Stop searching."""
        for search in self._searches.values():
            search.cancel()
        for server in self._servers:
            server.close()
        for host in self._hosts:
            host.close()
        if self._datagrams is not None:
            self._datagrams.close()

    async def _search(self, name: str) -> Address | None:
        self._next = (self._next + 1) % 2**31
        identity = self._next
        answer: asyncio.Future[Address] = self._loop.create_future()
        self._wanted[identity] = answer
        payload = text_payload(name)
        frame = pack(Command.SEARCH, _DO_NOT_REPLY, PROTOCOL, identity, identity, payload)
        found: Address | None = None
        try:
            for pause in ASK_AGAIN:
                await asyncio.sleep(pause)
                await self._ask(frame)
                with contextlib.suppress(TimeoutError):
                    found = await asyncio.wait_for(asyncio.shield(answer), 0.1)
                    break
        finally:
            del self._wanted[identity]
        seconds = MISSED_SECONDS if found is None else FOUND_SECONDS
        self._known[name] = (found, self._loop.time() + seconds)
        self._known.move_to_end(name)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return found

    async def _ask(self, frame: bytes) -> None:
        for server in self._servers:
            server.ask(frame)
        if not self._hosts:
            return
        async with self._opening:
            datagrams = self._datagrams = self._datagrams or await self._endpoint()
        for host in self._hosts:
            address = host.address()
            if address is not None:
                with contextlib.suppress(OSError):
                    datagrams.sendto(pack(Command.VERSION, count=PROTOCOL) + frame, address)

    async def _endpoint(self) -> asyncio.DatagramTransport:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind(("", 0))
        datagrams, _ = await self._loop.create_datagram_endpoint(
            lambda: _Datagrams(self._told), sock=sock
        )
        return datagrams

    def _told(self, identity: int, address: Address) -> None:
        answer = self._wanted.get(identity)
        if answer is not None and not answer.done():
            answer.set_result(address)


class _Host:
    """A host that is asked over UDP. Its name is looked up aside, and again after a while."""

    def __init__(self, address: Address) -> None:
        self._asked = address
        self._found: Address | None = None
        self._looking: asyncio.Task[None] | None = None
        self._due = 0.0
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            socket.inet_pton(socket.AF_INET, address[0])
            self._found, self._due = address, math.inf
        self.address()

    def address(self) -> Address | None:
        """Where to send to, None where that is not known yet."""
        if self._looking is None and self._loop.time() >= self._due:
            self._looking = asyncio.create_task(self._look())
        return self._found

    def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    async def _look(self) -> None:
        host, port = self._asked
        try:
            found = await self._loop.getaddrinfo(host, port, family=socket.AF_INET)
            self._found = str(found[0][4][0]), port
        except OSError as error:
            log.warning("a host's name can't be looked up", host=host, why=str(error))
        self._due = self._loop.time() + LOOK_AGAIN_SECONDS
        self._looking = None


class _NameServer(asyncio.Protocol):
    """A circuit for searches alone, opened when it is needed and again after it was lost."""

    def __init__(self, address: Address, told: _Told) -> None:
        self._address = address
        self._told = told
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._unsent: list[bytes] = []
        self._reader = FrameReader(_FRAME_BYTES)

    def ask(self, frame: bytes) -> None:
        if self._transport is not None:
            if self._transport.get_write_buffer_size() < MOST_UNSENT_BYTES:
                self._transport.write(frame)
            return
        if len(self._unsent) < MOST_SEARCHES:
            self._unsent.append(frame)
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())

    def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)
        self._reader = FrameReader(_FRAME_BYTES)
        self._transport = transport
        transport.write(pack(Command.VERSION, count=PROTOCOL) + b"".join(self._unsent))
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            for frame in self._reader.frames(len(data)):
                for identity, address in _found(frame, self._address[0]):
                    self._told(identity, address)
        except BadFrameError as error:
            log.warning("a name server sends what is no Channel Access", why=str(error))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(
                loop.create_connection(lambda: self, *self._address), CONNECT_SECONDS
            )
        except (OSError, TimeoutError) as error:
            log.info(
                "a name server is not reachable",
                server=f"{self._address[0]}:{self._address[1]}",
                why=str(error) or "time-out",
            )
            self._unsent.clear()
        finally:
            self._connecting = None


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, told: _Told) -> None:
        self._told = told

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reader = FrameReader(_FRAME_BYTES)
        reader.feed(data)
        with contextlib.suppress(BadFrameError):
            for frame in reader.frames(len(data)):
                for identity, address in _found(frame, addr[0]):
                    self._told(identity, address)


def _found(frame: Frame, sender: str) -> Iterator[tuple[int, Address]]:
    """The answer in `frame`, if it is one."""
    if frame.command != Command.SEARCH or not frame.dtype:
        return
    host = sender
    if frame.p1 not in {ANY_ADDRESS, 0}:
        host = socket.inet_ntoa(struct.pack(">I", frame.p1))
    yield frame.p2, (host, frame.dtype)
