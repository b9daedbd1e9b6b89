"""How a circuit to an IOC ends: with a put callback behind it a moment later, and silently."""

import asyncio
import time

import pytest

from demo.stack import free_port
from gate.channel_access import ioc_circuit
from gate.channel_access.frames import Command, pack
from gate.channel_access.ioc_circuit import IocCircuit, IocLostError
from tests.gate.aftermath_bench import lingering
from tests.gate.raw_client import listening

READ = pack(Command.READ_NOTIFY, 6, 1, 1, 1)
PUT_CALLBACK = pack(Command.WRITE_NOTIFY, 6, 1, 1, 1, bytes(8))


class Server:
    """Stands in the place of an IOC: what it heard, and when its client was gone."""

    def __init__(self) -> None:
        self.heard = b""
        self.came = asyncio.Event()
        self.gone: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def serve(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                self.heard += data
                self.came.set()
        finally:
            self.gone.set_result(time.monotonic())


@pytest.mark.parametrize(("sent", "least", "linger"), [(READ, 0, 600), (PUT_CALLBACK, 0.1, 0.1)])
async def test_an_ioc_has_time_to_finish_with_a_put_callback(
    sent: bytes, least: float, linger: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ioc_circuit, "LINGER_SECONDS", linger)
    port, server = free_port(), Server()
    async with listening(port, server.serve):
        circuit = IocCircuit(("127.0.0.1", port), limit=1024)
        circuit.send(sent)
        async with asyncio.timeout(30):
            while sent not in server.heard:
                server.came.clear()
                await server.came.wait()
            at = time.monotonic()
            circuit.close()
            circuit.send(READ * 100)
            with pytest.raises(IocLostError):
                await circuit.open("A")
            heard = server.heard
            lingered = await server.gone - at
        assert server.heard == heard
        assert lingered >= least


async def test_what_the_ioc_did_not_take_yet_goes_nowhere() -> None:
    port = free_port()
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    reading, taken = asyncio.Event(), 0

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal taken
        await reading.wait()
        try:
            while data := await reader.read(2**20):
                taken += len(data)
        finally:
            gone.set_result(None)

    async with listening(port, serve):
        circuit = IocCircuit(("127.0.0.1", port), limit=1024)
        async with asyncio.timeout(30):
            while not circuit.connected:  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(0.005)
        sent = PUT_CALLBACK * 1_000_000
        circuit.send(sent)
        circuit.close()
        reading.set()
        async with asyncio.timeout(30):
            await gone
        assert taken < len(sent)
        await lingering()
