"""The gate's own search: over TCP and UDP, once for all who ask, remembered for a while."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.stack import free_port
from gate.channel_access import directory as directory_module
from gate.channel_access.directory import Directory, is_channel_name, parse_address
from gate.channel_access.frames import ANY_ADDRESS, Command, FrameReader, pack, text_of
from runpermit.errors import ContainerConfigurationError
from tests.gate.raw_client import listening


def test_an_address_has_a_port_or_channel_accesss_own() -> None:
    assert parse_address("ioc-1") == ("ioc-1", 5064)
    assert parse_address("127.0.0.1:6000") == ("127.0.0.1", 6000)


@pytest.mark.parametrize(
    "text", ["", ":5064", "a:", "a:b", "a:0", "a:65536", "a:-1", "a:5064:1", "::1"]
)
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(ContainerConfigurationError, match="is no host:port"):
        parse_address(text)


@given(st.binary(max_size=300))
def test_channel_names_are_printable_ascii(name: bytes) -> None:
    plain = all(33 <= byte < 127 for byte in name)
    assert is_channel_name(name) is (plain and 0 < len(name) < 256)


class Server:
    """A name server that knows one name, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.known = {b"known": 7000}
        self.port = free_port()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader(4096)
        while data := await reader.read(4096):
            frames.feed(data)
            for frame in frames.frames(1000):
                name = text_of(frame.payload)
                if frame.command == Command.SEARCH:
                    self.asked.append(name)
                    if name in self.known:
                        writer.write(
                            pack(
                                Command.SEARCH,
                                self.known[name],
                                0,
                                ANY_ADDRESS,
                                frame.p1,
                                b"\0\x0d",
                            )
                        )


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    async with listening(found.port, found.listen):
        yield found


@pytest.fixture
async def directory(server: Server) -> AsyncIterator[Directory]:
    found = Directory([f"127.0.0.1:{server.port}"], [])
    yield found
    found.close()
    await asyncio.sleep(0.05)


async def test_many_who_ask_at_once_are_one_search(directory: Directory, server: Server) -> None:
    found = await asyncio.gather(*(directory.find("known") for _ in range(100)))
    assert set(found) == {("127.0.0.1", 7000)}
    assert server.asked == [b"known"]
    assert await directory.find("known") == ("127.0.0.1", 7000)
    assert server.asked == [b"known"]


async def test_what_is_not_there_is_not_asked_for_again_at_once(
    directory: Directory, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "MISSED_SECONDS", 60)
    assert await directory.find("missing") is None
    asked = len(server.asked)
    assert asked > 1
    assert await directory.find("missing") is None
    assert len(server.asked) == asked


async def test_an_ioc_that_is_gone_is_searched_anew(directory: Directory, server: Server) -> None:
    assert await directory.find("known") == ("127.0.0.1", 7000)
    server.known[b"known"] = 7001
    directory.forget(("127.0.0.1", 9999))
    assert await directory.find("known") == ("127.0.0.1", 7000)
    directory.forget(("127.0.0.1", 7000))
    assert await directory.find("known") == ("127.0.0.1", 7001)


async def test_what_was_found_is_believed_for_a_while(
    directory: Directory, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "FOUND_SECONDS", 0.2)
    assert await directory.find("known") == ("127.0.0.1", 7000)
    server.known[b"known"] = 7001
    await asyncio.sleep(0.3)
    assert await directory.find("known") == ("127.0.0.1", 7001)


async def test_a_name_server_that_is_away_is_asked_when_it_is_back(server: Server) -> None:
    other = Server()
    directory = Directory([f"127.0.0.1:{other.port}", f"127.0.0.1:{server.port}"], [])
    assert await directory.find("known") == ("127.0.0.1", 7000)
    other.known = {b"late": 7005}
    async with listening(other.port, other.listen):
        assert await directory.find("late") == ("127.0.0.1", 7005)
        directory.close()
        await asyncio.sleep(0.05)


async def test_a_name_server_that_sends_garbage_is_left() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\xff" * 1000)
        await writer.drain()

    port = free_port()
    async with listening(port, babble):
        directory = Directory([f"127.0.0.1:{port}"], [])
        assert await directory.find("any") is None
        directory.close()
        await asyncio.sleep(0.05)


async def test_answers_that_nobody_asked_for_teach_nothing() -> None:
    """Over UDP anybody may say where a channel is; only a search's own number counts."""
    with socket.socket(type=socket.SOCK_DGRAM) as ioc:
        ioc.bind(("127.0.0.1", 0))
        ioc.setblocking(False)  # noqa: FBT003
        directory = Directory([], [f"127.0.0.1:{ioc.getsockname()[1]}"])
        finding = asyncio.create_task(directory.find("wanted"))
        loop = asyncio.get_running_loop()
        data, sender = await loop.sock_recvfrom(ioc, 4096)
        frames = FrameReader(4096)
        frames.feed(data)
        (search,) = [frame for frame in frames.frames(9) if frame.command == Command.SEARCH]
        for answer in (
            b"\xff" * 50,
            pack(Command.SEARCH, 6666, 0, ANY_ADDRESS, search.p1 + 1, b"\0\x0d"),
            pack(Command.SEARCH, 7007, 0, ANY_ADDRESS, search.p1, b"\0\x0d"),
        ):
            await loop.sock_sendto(ioc, answer, sender)
        assert await finding == ("127.0.0.1", 7007)
        directory.close()
        await asyncio.sleep(0.05)


@pytest.mark.parts
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_iocs_are_found_over_udp_beside_tcp(
    machine: Any, start_ioc: Any, start_gate: Any, host: str
) -> None:
    with start_ioc("--prefix", "U:") as other:
        servers = {
            "type": "mock", "writes_enabled": True,
            "name_servers": [f"127.0.0.1:{machine.port}"],
            "addresses": ["no.such.host.invalid", f"{host}:{other.port}"],
        }  # fmt: skip
        with start_gate(control_system=servers) as gate:
            async with gate.session() as kernel:
                client = await kernel.circuit()
                for name in ("T:AO", "U:AO"):
                    channel = await client.open(name)
                    assert (await client.put_number(channel, 2)).status == 1
        assert await other.value("U:AO") == 2
