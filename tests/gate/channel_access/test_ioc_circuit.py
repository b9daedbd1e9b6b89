"""Behind the gate all is as it is at the IOC, which may restart, move, freeze and come back."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from demo.stack import free_port
from gate.channel_access import ioc_circuit
from gate.channel_access.frames import ANY_ADDRESS, Command, FrameReader, pack, text_of
from gate.channel_access.ioc_circuit import IocCircuit
from gate.channel_access.values import Dbr, encode
from runpermit.limits import ViolationType
from tests.gate.conftest import gate_for, run_epics, serving_ioc
from tests.gate.punctual import Span, in_time
from tests.gate.raw_client import RawChannel, RawClient, listening

pytestmark = [pytest.mark.parts, pytest.mark.slow]

READ_EVERYTHING = """
names = %s
answer = {}
events = {}
pvs = {}
for name in names:
    for form in ("native", "time", "ctrl"):
        pvs[name, form] = PV(name, form=form, auto_monitor=False)
def plain(value):
    return str(list(value) if hasattr(value, "__len__") and not isinstance(value, str) else value)
def changed(pvname, value, **_):
    events.setdefault(pvname, []).append(plain(value))
monitors = [PV(name, callback=changed) for name in names]
for (name, form), pv in pvs.items():
    assert pv.wait_for_connection(30), name
    one = [pv.type, pv.count, pv.access, plain(pv.get()), plain(pv.get(as_string=True))]
    if form == "ctrl":
        one.append({key: str(value) for key, value in sorted((pv.get_ctrlvars() or {}).items())})
    if form == "time":
        one += [pv.get_timevars()["status"], pv.get_timevars()["severity"], pv.timestamp]
    answer[f"{name} {form}"] = one
time.sleep(0.3)
answer["events"] = events
"""
NAMES = ["T:AO", "T:AO.DESC", "T:AO.DESC$", "T:AO.SCAN", "T:ALARM", "T:LO", "T:I64", "T:BO", "T:MB",
         "T:MBNONE", "T:SO", "T:LSO", "T:LSO.VAL$", "T:W:CHAR", "T:W:USHORT", "T:W:FLOAT",
         "T:W:STRING", "T:W:DOUBLE", "T:BIG", "T:BYTES", 'T:BIG.{"arr":{"s":5,"e":9}}']  # fmt: skip


async def test_values_metadata_alarms_times_and_monitors_are_the_iocs_own(
    gate: Any, machine: Any
) -> None:
    async with machine.direct() as direct:
        for name, dtype, items in (
            ("T:AO", Dbr.DOUBLE, (3.25,)), ("T:ALARM", Dbr.DOUBLE, (9.0,)),
            ("T:MB", Dbr.ENUM, (2,)),
            ("T:SO", Dbr.STRING, ("text",)), ("T:LSO.VAL$", Dbr.CHAR, tuple(b"long " * 15)),
            ("T:BIG", Dbr.DOUBLE, tuple(n / 8 for n in range(1000))),
            ("T:BYTES", Dbr.CHAR, tuple(range(256))), ("T:W:STRING", Dbr.STRING, ("a", "b")),
        ):  # fmt: skip
            channel = await direct.open(name)
            payload = encode(dtype, items)
            assert (await direct.put(channel, dtype, len(items), payload)).status == 1
    code = READ_EVERYTHING % repr(NAMES)
    async with gate.session("read_only") as kernel:
        behind = await kernel.epics(code)
    direct_answer = await run_epics(machine.port, code)
    assert len(behind) == 3 * len(NAMES) + 1
    assert behind == direct_answer


async def test_monitors_deliver_every_change_in_order(gate: Any, machine: Any) -> None:
    async with gate.session("read_only") as kernel, machine.direct() as direct:
        client = await kernel.circuit()
        channel = await client.open("T:AO2")
        await client.subscribe(channel)
        await client.monitored(channel)
        mine = await direct.open("T:AO2")
        for number in range(300):
            await direct.put_number(mine, 1000 + number)
        seen = await client.all_monitored(channel)
    assert seen == [1000 + number for number in range(300)]


async def test_arrays_pass_up_to_array_bytes(start_ioc: Any, start_gate: Any) -> None:
    quota = {"socket": "gate.sock", "journal": "journal", "array_bytes": 8_000_000}
    with start_ioc("--big", "1000000") as ioc, start_gate(ioc, gate=quota) as gate:
        async with gate.session() as kernel:
            code = """
import numpy
pv = PV("T:BIG"); pv.wait_for_connection(30)
wave = numpy.arange(1_000_000) / 7
done = pv.put(wave, wait=True, timeout=20)
answer = [done, bool((pv.get(use_monitor=False, timeout=20) == wave).all())]
"""
            assert await kernel.epics(code) == [1, True]
        assert (await ioc.value("T:BIG"))[-1] == 999_999 / 7


@pytest.fixture(scope="module")
def two(machine: Any) -> Iterator[tuple[Any, Any, Any]]:
    """A gate for the machine and a second IOC."""
    with serving_ioc("--prefix", "U:") as other, gate_for(machine, other) as gate:
        yield gate, machine, other


async def test_one_circuit_reaches_several_iocs(two: tuple[Any, Any, Any]) -> None:
    gate, machine, other = two
    await machine.set("T:AO", 1)
    await other.set("U:AO", 2)
    async with gate.session() as kernel:
        client = await kernel.circuit()
        mine, theirs = await client.open("T:AO"), await client.open("U:AO")
        assert (await client.value(mine), await client.value(theirs)) == (1, 2)
        assert (await client.put_number(mine, 3)).status == 1
        assert (await client.put_number(theirs, 4)).status == 1
    assert (await machine.value("T:AO"), await other.value("U:AO")) == (3, 4)


@pytest.mark.alone
@pytest.mark.parametrize("name", ["U:AO", "U:AO2"])
@pytest.mark.parametrize(("whose", "seconds"), [("neighbour", 0.4), ("own", 1.5)])
async def test_a_frozen_ioc_refuses_within_a_moment_and_keeps_no_other_waiting(
    two: tuple[Any, Any, Any], name: str, whose: str, seconds: float
) -> None:
    gate, _, other = two

    async def refusal() -> Span:
        async with gate.session(execution="a") as kernel, gate.session(execution="b") as neighbour:
            client, friend = await kernel.circuit(), await neighbour.circuit()
            known, channel = await client.open("U:AO"), await client.open(name)
            mine = await friend.open("T:AO")
            assert (await client.put_number(known, 1)).status == 1
            before = await other.value("U:AO:PUTS"), await other.value("U:AO2:PUTS")
            other.freeze()
            try:
                start = time.monotonic()
                writing = asyncio.create_task(client.put_number(channel, 5))
                await asyncio.sleep(0.05)
                assert (await friend.put_number(mine, 6)).status == 1
                passed = time.monotonic()
                answer = await writing
                answered = time.monotonic()
            finally:
                other.thaw()
            assert answer.violation in {
                ViolationType.STEP_CHECK_FAILED, ViolationType.LIMITS_UNAVAILABLE,
            }  # fmt: skip
            assert (await client.put_number(known, 7)).status == 1
        after = await other.value("U:AO:PUTS"), await other.value("U:AO2:PUTS")
        assert after == (before[0] + 1, before[1])
        return start, passed if whose == "neighbour" else answered

    await in_time(refusal, seconds)


async def reconnected(client: RawClient, name: str, within: float = 30) -> RawChannel:
    deadline = time.monotonic() + within
    while True:
        try:
            return await client.open(name)
        except LookupError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


FOLLOW = """
seen = []
pv = PV("T:AO", callback=lambda value, **_: seen.append(value),
        connection_callback=lambda conn, **_: seen.append("up" if conn else "down"))
deadline = time.time() + 60
while 1.0 not in seen and time.time() < deadline:
    time.sleep(0.05)
caput("T:AO2", 5)
while %r not in seen and time.time() < deadline:
    time.sleep(0.05)
answer = [seen, caput("T:AO", 8, wait=True), caget("T:AO", use_monitor=False)]
"""


@pytest.mark.parametrize("moves", [pytest.param(False, marks=pytest.mark.soak), True])
async def test_channels_and_monitors_come_back_with_their_ioc(
    start_ioc: Any, start_gate: Any, *, moves: bool
) -> None:
    """It restarts at its port, or at another one that the gate finds by asking both."""
    ports = [free_port(), free_port()]
    servers = {"type": "mock", "writes_enabled": True,
               "name_servers": [f"127.0.0.1:{port}" for port in ports]}  # fmt: skip
    with start_gate(control_system=servers) as gate:
        async with gate.session() as kernel:
            with start_ioc("--start", "1", port=ports[0]) as ioc:
                client = await kernel.circuit()
                channel = await reconnected(client, "T:AO")
                assert (await client.put_number(channel, 1)).status == 1
                following = asyncio.create_task(kernel.epics(FOLLOW % 2.0, within=90))
                async with asyncio.timeout(30):
                    while await ioc.value("T:AO2") != 5:  # noqa: ASYNC110  (nothing tells)
                        await asyncio.sleep(0.05)
            with start_ioc("--start", "2", port=ports[moves]) as ioc:
                channel = await reconnected(client, "T:AO")
                assert await client.value(channel) == 2
                seen, put, value = await following
                assert seen[:5] == ["up", 1.0, "down", "up", 2.0]
                assert (put, value) == (1, 8.0)
                assert await ioc.value("T:AO") == 8


@pytest.mark.parametrize("answers", [False, True])
async def test_a_circuit_ends_when_its_ioc_no_longer_answers_an_echo(
    monkeypatch: pytest.MonkeyPatch, *, answers: bool
) -> None:
    monkeypatch.setattr(ioc_circuit, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(ioc_circuit, "ECHO_AFTER_SECONDS", 0.1)
    # Who answers may take longer than one who never does: this process may stand still.
    monkeypatch.setattr(ioc_circuit, "LOST_AFTER_SECONDS", 3 if answers else 0.4)

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            if answers and data.endswith(pack(Command.ECHO)):
                writer.write(pack(Command.ECHO))

    port, lost = free_port(), asyncio.Event()
    async with listening(port, listen):
        circuit = IocCircuit(("127.0.0.1", port), limit=1000, on_lost=lost.set)
        if answers:
            await asyncio.sleep(3.5)
            assert not lost.is_set()
        else:
            await asyncio.wait_for(lost.wait(), 30)
        circuit.close()
        assert lost.is_set()


@pytest.mark.soak
async def test_a_silent_ioc_loses_its_channels_as_it_would_for_a_client_of_its_own(
    start_ioc: Any, start_gate: Any
) -> None:
    """Else a value from before would stay readable for ever."""
    with start_ioc() as ioc, start_gate(ioc) as gate:
        async with gate.session("read_only") as kernel:
            client = await kernel.circuit()
            channel = await client.open("T:AO")
            await client.subscribe(channel)
            await client.monitored(channel)
            ioc.freeze()
            lost = await client.hear(27, within=35)
            assert lost.p1 == channel.cid
            ioc.thaw()
            again = await reconnected(client, "T:AO")
            assert await client.value(again) == 0


async def test_an_ioc_that_ends_during_a_write_leaves_a_refusal_or_an_uncertain_write(
    start_ioc: Any, start_gate: Any
) -> None:
    for delay in range(4):
        with start_ioc() as ioc, start_gate(ioc) as gate:
            async with gate.session() as kernel:
                client = await kernel.circuit()
                channel = await client.open("T:AO")
                assert (await client.put_number(channel, 1)).status == 1
                writing = [asyncio.create_task(client.put_number(channel, 2, within=1.5))]
                await asyncio.sleep(delay * 0.0005)
                ioc.kill()
                await asyncio.gather(*writing, return_exceptions=True)
                report = await kernel.session.close()
            assert len(report.writes) == report.forwarded
            assert report.forwarded + report.refused in {1, 2}


async def test_the_gate_tells_iocs_its_own_name_and_not_the_clients(start_gate: Any) -> None:
    """Something in the IOC's place hears what the gate introduces itself with."""
    told: list[bytes] = []
    port = free_port()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader(2**16)
        while data := await reader.read(4096):
            frames.feed(data)
            for frame in frames.frames(100):
                if frame.command == Command.SEARCH:
                    writer.write(pack(Command.SEARCH, port, 0, ANY_ADDRESS, frame.p1, b"\0\x0d"))
                elif frame.command in {Command.CLIENT_NAME, Command.HOST_NAME}:
                    told.append(text_of(frame.payload))
                elif frame.command == Command.CREATE_CHAN:
                    writer.write(pack(Command.CREATE_CH_FAIL, p1=frame.p1))

    servers = {"type": "mock", "writes_enabled": True, "name_servers": [f"127.0.0.1:{port}"]}
    async with listening(port, listen):
        with start_gate(control_system=servers) as gate:
            async with gate.session() as kernel:
                client = await kernel.circuit()
                client.send(
                    pack(Command.CLIENT_NAME, payload=b"mallory\0"),
                    pack(Command.HOST_NAME, payload=b"spoofed\0"),
                )
                with pytest.raises(LookupError):
                    await client.open("X")
    assert told == [socket.gethostname().encode(), b"runpermit"]
