"""A kernel's circuit under attack: it harms itself at most, and writes nothing past the judge."""

import asyncio
import json
import random
import struct
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gate.channel_access.frames import HEADER, OWN_IDS, PROTOCOL, Command, pack, text_payload
from gate.channel_access.values import Dbr, encode
from tests.gate.conftest import gate_for
from tests.gate.punctual import Span, in_time
from tests.gate.raw_client import RawChannel, RawClient

pytestmark = pytest.mark.parts
ONE = encode(Dbr.DOUBLE, (1.0,))
MASK = b"\0" * 12 + b"\0\5\0\0"


@pytest.fixture(scope="module")
def small(machine: Any) -> Iterator[Any]:
    """A gate with small quotas."""
    quotas = {
        "channels_per_session": 20, "circuits_per_session": 3, "circuits_per_ioc": 24,
        "array_bytes": 2**20,
    }  # fmt: skip
    sections = {"gate": {"socket": "gate.sock", "journal": "journal", **quotas}}
    with gate_for(machine, **sections) as gate:
        yield gate


async def opened_soon(client: RawClient) -> None:
    """Open a channel as soon as there is room for it."""
    async with asyncio.timeout(30):
        while True:
            try:
                await client.open("T:AO")
            except LookupError:
                await asyncio.sleep(0.02)
            else:
                return


async def notes(kernel: Any) -> str:
    return "\n".join((await kernel.session.close()).notes)


def bursts() -> dict[str, bytes]:
    random_ = random.Random(7)  # noqa: S311  (repeatable)
    frames = [
        pack(*(random_.randrange(30), random_.randrange(40), random_.randrange(3),
               random_.randrange(300), random_.randrange(300), random_.randbytes(24)))
        for _ in range(300)
    ]  # fmt: skip
    return {
        "noise": random_.randbytes(10_000),
        "zeros": bytes(10_000),
        "frames of all kinds": b"".join(frames),
        "half a header": b"\0\4\0",
        "a payload that never comes": HEADER.pack(4, 4096, 6, 1, 1, 1),
        "a huge payload": HEADER.pack(4, 0xFFFF, 6, 0, 1, 1) + struct.pack(">II", 2**31, 1),
        "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
        "names of all bytes": b"".join(
            pack(Command.CREATE_CHAN, p1=n + 1, payload=bytes([n, 0])) for n in range(256)
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", bursts())
async def test_garbage_harms_nobody_else(small: Any, machine: Any, name: str) -> None:
    before = await machine.value("T:AO:PUTS")
    async with small.session() as kernel:
        good = await kernel.circuit()
        channel = await good.open("T:AO")
        bad = await kernel.circuit()
        bad.send(bursts()[name])
        await bad.ended(within=0.3)
        assert (await good.put_number(channel, 1)).status == 1
    assert await machine.value("T:AO:PUTS") == before + 1
    assert "Traceback" not in small.log()


@pytest.mark.parametrize(
    "command", [3, 5, 7, 11, 13, 14, 16, 17, 18 + 8, 22, 24, 27, 28, 2**16 - 1]
)
async def test_a_command_that_is_not_known_ends_the_circuit(small: Any, command: int) -> None:
    async with small.session() as kernel:
        client = await kernel.circuit()
        client.send(pack(command, p1=1, p2=1))
        assert await client.ended()
        assert f"command {command} is not taken" in await notes(kernel)


@pytest.mark.parametrize(
    ("command", "sid_is_known"),
    [
        (Command.READ_NOTIFY, True),
        (Command.EVENT_ADD, True),
        (Command.EVENT_CANCEL, True),
        (Command.WRITE_NOTIFY, True),
        (Command.WRITE, True),
        (Command.CREATE_CHAN, False),
    ],
)
@pytest.mark.parametrize("identity", [OWN_IDS, OWN_IDS + 3, 2**32 - 1])
async def test_the_gates_own_ids_are_refused(
    small: Any, machine: Any, command: int, identity: int, *, sid_is_known: bool
) -> None:
    before = await machine.value("T:AO:PUTS")
    async with small.session() as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        p1, p2 = (channel.sid, identity) if sid_is_known else (identity, PROTOCOL)
        client.send(pack(command, 6, 1, p1, p2, ONE + MASK))
        assert await client.ended()
        assert "is the gate's own" in await notes(kernel)
    assert await machine.value("T:AO:PUTS") == before


async def test_nothing_is_written_on_a_channel_that_is_not_the_circuits_own(
    small: Any, machine: Any
) -> None:
    before = await machine.value("T:AO:PUTS")
    async with small.session() as kernel:
        other = await kernel.circuit()
        theirs = await other.open("T:AO", cid=4711)
        client = await kernel.circuit()
        await client.open("T:AI", cid=5)
        for sid in (theirs.sid, 0, 1, 2, 2**31):
            for command in (Command.WRITE, Command.WRITE_NOTIFY):
                client.send(pack(command, 6, 1, sid, client.new_id(), ONE))
        # Behind them, a channel of its own works.
        assert (await client.put_number(await client.open("T:AI"), 3)).status == 1
    assert await machine.value("T:AO:PUTS") == before


async def test_a_write_before_its_channel_is_open_is_dropped(small: Any, machine: Any) -> None:
    before = await machine.value("T:AO:PUTS")
    async with small.session() as kernel:
        client = await kernel.circuit()
        client.send(
            pack(Command.WRITE, 6, 1, 77, 77, ONE),
            pack(Command.CREATE_CHAN, p1=77, p2=PROTOCOL, payload=text_payload("T:AO")),
            pack(Command.WRITE_NOTIFY, 6, 1, 77, 78, ONE),
        )
        await client.hear(Command.CREATE_CHAN)
        assert await client.value(RawChannel(77, 77, 6, 1)) is not None
    assert await machine.value("T:AO:PUTS") == before


async def test_a_channel_that_was_cleared_is_gone_at_once(small: Any, machine: Any) -> None:
    before = await machine.value("T:AO:PUTS")
    async with small.session() as kernel:
        client = await kernel.circuit()
        channel, kept = await client.open("T:AO"), await client.open("T:AO2")
        clear = pack(Command.CLEAR_CHANNEL, p1=channel.sid, p2=channel.cid)
        client.send(
            clear,
            pack(Command.WRITE_NOTIFY, 6, 1, channel.sid, client.new_id(), ONE),
            pack(Command.WRITE, 6, 1, channel.sid, client.new_id(), ONE),
            clear,
        )
        heard = await client.hear(Command.CLEAR_CHANNEL)
        assert (heard.p1, heard.p2) == (channel.sid, channel.cid)
        # The circuit to the IOC has not suffered.
        assert (await client.put_number(kept, 1)).status == 1
        again = await client.open("T:AO", cid=channel.cid)
        assert (await client.put_number(again, 2)).status == 1
    assert await machine.value("T:AO:PUTS") == before + 1


async def test_a_subscription_ends_once(small: Any) -> None:
    async with small.session() as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO2")
        identity = await client.subscribe(channel)
        await client.monitored(channel)
        cancel = pack(Command.EVENT_CANCEL, 6, 1, channel.sid, identity)
        client.send(cancel, cancel)
        ended = await client.hear(Command.EVENT_ADD)
        assert (ended.payload, ended.p1, ended.p2) == (b"", channel.sid, identity)
        assert await client.value(channel) is not None


async def test_a_channel_id_in_use_is_refused(small: Any) -> None:
    async with small.session() as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO", cid=9)
        with pytest.raises(LookupError):
            await client.open("T:AO2", cid=9)
        assert (await client.put_number(channel, 3)).status == 1


async def test_what_follows_a_write_waits_for_it(small: Any) -> None:
    async with small.session() as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO2")
        for number in range(20):
            client.send(
                pack(Command.WRITE, 6, 1, channel.sid, 1, encode(Dbr.DOUBLE, (float(number),)))
            )
            assert await client.value(channel) == number


async def test_many_writes_in_one_packet_are_judged_one_by_one(small: Any, machine: Any) -> None:
    small.set_limits({"T:AO": {"max_value": 10}})
    before = await machine.value("T:AO:PUTS")
    async with small.session() as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        client.send(
            *(
                pack(Command.WRITE, 6, 1, channel.sid, 1, encode(Dbr.DOUBLE, (float(number),)))
                for number in range(100)
            )
        )
        assert await client.value(channel, within=10) == 10
        report = await kernel.session.close()
    assert (report.forwarded, report.refused) == (11, 89)
    assert await machine.value("T:AO:PUTS") == before + 11


async def test_an_id_of_a_put_callback_is_used_once_at_a_time(small: Any) -> None:
    async with small.session() as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:SLOW.A")
        small.set_limits({"T:SLOW.A": {}})
        client.send(*[pack(Command.WRITE_NOTIFY, 6, 1, channel.sid, 55, ONE)] * 2)
        assert await client.ended()
        assert "still in use" in await notes(kernel)


# Quotas


async def test_channels_are_bounded_however_fast_they_are_asked_for(small: Any) -> None:
    async with small.session() as kernel:
        clients = [await kernel.circuit() for _ in range(2)]
        for client in clients:
            client.send(
                *(
                    pack(Command.CREATE_CHAN, p1=cid, p2=PROTOCOL, payload=text_payload("T:AO"))
                    for cid in range(1000, 1200)
                )
            )
        opened = []  # whichever of both was heard first
        for client in clients:
            for _ in range(200):
                frame = await client.hear(Command.CREATE_CHAN, Command.CREATE_CH_FAIL)
                if frame.command == Command.CREATE_CHAN:
                    opened.append((client, frame.p1))
        assert len(opened) == 20
        client, cid = opened[0]
        client.send(pack(Command.CLEAR_CHANNEL, p1=cid, p2=cid))
        await client.hear(Command.CLEAR_CHANNEL)
        await client.open("T:AO")
        assert "channels_per_session = 20" in await notes(kernel)


async def test_channels_count_no_more_once_their_circuit_has_ended(small: Any) -> None:
    async with small.session() as kernel:
        for _ in range(4):
            client = await kernel.circuit()
            for _ in range(15):
                await opened_soon(client)
            await client.close()


async def test_subscriptions_are_bounded(small: Any) -> None:
    async with small.session() as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO2")
        for _ in range(80):
            await client.subscribe(channel)
            await client.monitored(channel)
        await client.subscribe(channel)
        assert await client.ended()
        assert "more than 80 subscriptions" in await notes(kernel)


async def test_subscriptions_end_with_their_channel(small: Any) -> None:
    """libca clears a channel without ending what was subscribed on it."""
    async with small.session() as kernel:
        client = await kernel.circuit()
        for _ in range(100):
            channel = await client.open("T:AO2")
            await client.subscribe(channel)
            await client.monitored(channel)
            client.send(pack(Command.CLEAR_CHANNEL, p1=channel.sid, p2=channel.cid))
            await client.hear(Command.CLEAR_CHANNEL)


async def test_circuits_of_a_session_are_bounded(small: Any) -> None:
    async with small.session() as kernel:
        kept = [await kernel.circuit() for _ in range(3)]
        for client in kept:
            await client.hear(Command.VERSION)
        assert await (await kernel.circuit()).ended()
        await kept[0].open("T:AO")
        assert "circuits_per_session" in await notes(kernel)


async def test_a_session_has_its_share_of_an_iocs_circuits(start_gate: Any, machine: Any) -> None:
    quotas = {"socket": "gate.sock", "journal": "journal", "circuits_per_ioc": 16}
    with start_gate(machine, gate=quotas) as gate:
        async with gate.session("read_only") as one, gate.session("read_only") as other:
            kept = [await one.circuit() for _ in range(2)]
            for client in kept:
                await client.open("T:AO")
            last = await one.circuit()
            with pytest.raises(LookupError):
                await last.open("T:AO")
            await (await other.circuit()).open("T:AO")
            await kept[0].close()
            await opened_soon(last)
            assert "circuits_per_ioc = 16" in (told := await notes(one))
            assert "share of 2" in told
            assert not await notes(other)


async def test_readers_leave_circuits_to_those_that_write(start_gate: Any, machine: Any) -> None:
    quotas = {"socket": "gate.sock", "journal": "journal", "circuits_per_ioc": 4}
    with start_gate(machine, gate=quotas) as gate:
        async with AsyncExitStack() as stack:

            async def kernel(mode: str) -> Any:
                return await stack.enter_async_context(gate.session(mode))

            for _ in range(3):
                await (await (await kernel("read_only")).circuit()).open("T:AO")
            late, writing = await kernel("read_only"), await kernel("apply")
            with pytest.raises(LookupError):
                await (await late.circuit()).open("T:AO")
            await (await writing.circuit()).open("T:AO")
            with pytest.raises(LookupError):
                await (await (await kernel("apply")).circuit()).open("T:AO")
            assert "of this kind" in await notes(late)


async def test_a_larger_array_than_allowed_is_refused(small: Any) -> None:
    async with small.session() as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:BIG")
        client.send(pack(Command.WRITE, 6, 2**17 + 1, channel.sid, 1, bytes(2**20 + 8)))
        assert await client.ended()
        assert "a payload of 1048584 bytes" in await notes(kernel)


@pytest.mark.alone
async def test_a_flood_of_searches_delays_nobody(small: Any) -> None:
    async def flooded() -> Span:
        async with small.session(execution="a") as flood, small.session(execution="b") as kernel:
            bad, good = await flood.circuit(), await kernel.circuit()
            bad.send(
                *(
                    pack(Command.SEARCH, 10, PROTOCOL, n, n, text_payload(f"NO:SUCH:{n}"))
                    for n in range(5000)
                )
            )
            await asyncio.sleep(0.3)
            start = time.monotonic()
            channel = await good.open("T:MODE")
            assert await good.value(channel) is not None
            return start, time.monotonic()

    await in_time(flooded, 0.5)


# What does not read


async def slowest(client: RawClient, channel: RawChannel, number: int = 20) -> Span:
    """The slowest of some writes."""
    spans = []
    for turn in range(number):
        start = time.monotonic()
        assert (await client.put_number(channel, turn)).status == 1
        spans.append((start, time.monotonic()))
    return max(spans, key=lambda span: span[1] - span[0])


@pytest.mark.slow
@pytest.mark.alone
async def test_a_client_that_does_not_read_costs_others_nothing(
    start_ioc: Any, start_gate: Any
) -> None:
    """A waveform of 8 MB changes and changes, and nobody takes it."""
    with start_ioc("--big", "1000000") as ioc, start_gate(ioc) as gate:
        async with gate.session(execution="a") as slow, gate.session(execution="b") as kernel:
            client = await kernel.circuit()
            channel, big = await client.open("T:AO"), await client.open("T:BIG")
            await slowest(client, channel)
            before = gate.running.memory()
            sleepers = [await slow.circuit() for _ in range(3)]
            for sleeper in sleepers:
                await sleeper.subscribe(await sleeper.open("T:BIG"))
                await sleeper.hear(Command.EVENT_ADD)
                sleeper.writer.transport.pause_reading()
            array = encode(Dbr.DOUBLE, tuple([0.5] * 1_000_000))

            async def changed() -> Span:
                async with ioc.direct() as direct:
                    wave = await direct.open("T:BIG")
                    assert (await direct.put(wave, 6, 1_000_000, array)).status == 1
                return await slowest(client, channel)

            for _ in range(8):
                await in_time(changed, 0.3)
            assert big.count == 1_000_000
            assert gate.running.memory() - before < 3 * 40
            # It reads again, and gets what is there now.
            sleepers[0].writer.transport.resume_reading()
            assert (await sleepers[0].hear(Command.EVENT_ADD)).count == 1_000_000


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("kind", ["reads", "events", "echoes", "creates"])
async def test_a_client_that_only_asks_is_held_back(small: Any, kind: str) -> None:
    async with small.session(execution="a") as greedy, small.session(execution="b") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        await slowest(client, channel)
        before = small.running.memory()
        asking = await greedy.circuit()
        sid = (await asking.open("T:W:DOUBLE")).sid
        flood = {
            "reads": pack(Command.READ_NOTIFY, 6, 5, sid, 7) * 2000,
            "events": pack(Command.EVENTS_OFF) * 1000 + pack(Command.EVENTS_ON) * 1000,
            "echoes": pack(Command.ECHO) * 2000,
            "creates": pack(Command.CREATE_CHAN, p1=9, p2=PROTOCOL, payload=b"NO:SUCH\0") * 1000,
        }[kind]
        asking.writer.transport.pause_reading()
        end = time.monotonic() + 2.5

        async def flooded() -> Span:
            if asking.writer.transport.get_write_buffer_size() < 2**22:
                asking.send(flood)
            return await slowest(client, channel, 3)

        while time.monotonic() < end and not asking.writer.is_closing():
            await in_time(flooded, 0.3)
        assert small.running.memory() - before < 60


async def test_what_a_frozen_ioc_does_not_take_is_not_gathered_in_the_gate(
    start_ioc: Any, start_gate: Any
) -> None:
    with start_ioc() as ioc, start_gate(ioc) as gate:
        async with gate.session("read_only") as kernel:
            client = await kernel.circuit()
            channel = await client.open("T:AO")
            ioc.freeze()
            before = gate.running.memory()
            event = pack(Command.EVENT_ADD, 6, 1, channel.sid, 1, MASK + bytes(2**19))
            for _ in range(200):
                client.send(event)
                await asyncio.sleep(0.005)
                if client.writer.transport.get_write_buffer_size() > 2**24:
                    break
            assert gate.running.memory() - before < 30


@pytest.mark.slow
async def test_refused_writes_do_not_fill_the_journal(small: Any) -> None:
    """As many circuits as there may be, each with a value as long as may be."""
    array = encode(Dbr.DOUBLE, tuple(n / 7 for n in range(1000)))
    async with small.session("read_only", execution="flood") as kernel:
        channels = [(client, await client.open("T:BIG")) for client in
                    [await kernel.circuit() for _ in range(3)]]  # fmt: skip
        began = time.monotonic()
        while time.monotonic() < began + 4:
            for client, channel in channels:
                client.send(pack(Command.WRITE, 6, 1000, channel.sid, 1, array) * 20)
            await asyncio.sleep(0.02)
        report = await kernel.session.close()
        took = time.monotonic() - began
    assert 1000 < report.refused < 1000 + 30 * took, "they wait for each other"
    recorded = [r for r in small.journal("refused") if r["execution"] == "flood"]
    assert recorded[0]["value"]["count"] == 1000
    assert len(recorded[0]["value"]["first"]) == 20
    assert len(json.dumps(recorded)) < 2 * 2**20
    await small.journalled("session_closed", session=report.session)
    left_out = small.journal("refusals_not_recorded")
    assert len(recorded) + sum(r["count"] for r in left_out) == report.refused
