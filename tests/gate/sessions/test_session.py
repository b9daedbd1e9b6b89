"""A session: what it reports, and that nothing is forwarded once it is fenced."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gate.channel_access.frames import Command, pack
from gate.channel_access.values import Dbr, encode
from gate.control.talking import hung_up
from gate.messages import MAX_NOTES, MAX_WRITES
from gate.sessions.client_circuit import ClientCircuit
from gate.sessions.session import FLIGHT_SECONDS
from runpermit.config import GateSettings
from runpermit.errors import ContainerConfigurationError, ServiceUnavailableError
from runpermit.gate_control import ask
from runpermit.models import Isolation
from tests.gate.conftest import ROOT
from tests.gate.fuzz_circuit import Transport
from tests.gate.giving_permits import of_its_own
from tests.gate.raw_client import RawClient

pytestmark = pytest.mark.parts


async def test_the_report_tells_all_that_was_written_and_refused(gate: Any, machine: Any) -> None:
    gate.set_limits({"T:AO": {"max_value": 10}})
    await machine.set("T:AO", 0)
    async with gate.session(execution="told") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        for number in (1, 2, 11):
            await client.put_number(channel, number)
        report = await kernel.session.close()
    assert (report.session, report.forwarded, report.refused) == (kernel.session.identity, 2, 1)
    writes = [(write.channel, write.old, write.new, write.outcome) for write in report.writes]
    assert writes == [("T:AO", 0.0, 1.0, "confirmed"), ("T:AO", 1.0, 2.0, "confirmed")]
    assert [refusal.violation_type for refusal in report.refusals] == ["MAX_EXCEEDED"]
    opened = await gate.journalled("session_opened", session=report.session)
    closed = await gate.journalled("session_closed", session=report.session)
    assert (opened["execution"], opened["attempt"], opened["mode"]) == ("told", 1, "apply")
    assert (closed["forwarded"], closed["refused"]) == (2, 1)


async def test_a_report_of_many_large_writes_still_arrives(gate: Any) -> None:
    async with gate.session() as kernel:
        client = await kernel.circuit()
        texts = await client.open("T:TEXTS")
        array = encode(Dbr.STRING, ("\u03a9" * 19,) * 20)
        for _ in range(600):
            assert (await client.put(texts, Dbr.STRING, 20, array)).status == 1
        report = await kernel.session.close()
    assert report.forwarded == 600
    assert 100 < len(report.writes) < 600


async def test_a_report_of_many_notes_still_arrives(gate: Any) -> None:
    async with gate.session() as kernel:
        for number in range(150):
            client = await kernel.circuit()
            client.send(pack(1000 + number))
            assert await client.ended()
        report = await kernel.session.close()
    assert len(report.notes) == MAX_NOTES + 1
    assert report.notes[-1] == "more of this kind (50 times)"


async def test_nothing_is_forwarded_once_closing_has_returned(gate: Any, machine: Any) -> None:
    """Writes are under way in every stage: waiting for their turn, paced, judged, journalled."""
    gate.set_limits({"T:AO": {}, "T:LO": {"min_interval": 0.05}})
    async with machine.direct() as direct:
        counters = [await direct.open(name) for name in ("T:AO:PUTS", "T:AO2:PUTS", "T:LO:PUTS")]

        async def counts() -> list[Any]:
            return [await direct.value(counter) for counter in counters]

        for turn in range(12):
            before = await counts()
            async with gate.session() as kernel:
                clients = [await kernel.circuit() for _ in range(3)]
                channels = [
                    (client, await client.open(name))
                    for client in clients
                    for name in ("T:AO", "T:AO2", "T:LO")
                ]
                for client, channel in channels:
                    one = encode(Dbr.DOUBLE, (float(turn),))
                    client.send(pack(Command.WRITE, 6, 1, channel.sid, 1, one) * 200)
                await asyncio.sleep(0.02 * (turn % 4))
                report = await kernel.session.close()
                after = await counts()
                await asyncio.sleep(0.1)
                assert await counts() == after
                forwarded = sum(new - old for old, new in zip(before, after, strict=True))
                assert report.forwarded == forwarded
                assert len(report.writes) == min(forwarded, MAX_WRITES)


async def test_closing_waits_neither_for_paces_nor_for_other_sessions_writes(
    gate: Any, machine: Any
) -> None:
    gate.set_limits({"T:CLAMP": {"min_interval": 120}})
    await machine.set("T:CLAMP", 0)
    async with gate.session(execution="a") as one, gate.session(execution="b") as other:
        first, second = await one.circuit(), await other.circuit()
        mine, theirs = await first.open("T:CLAMP"), await second.open("T:CLAMP")
        await first.put_number(mine, 1)
        for client, channel, number in ((first, mine, 2.0), (second, theirs, 3.0)):
            value = encode(Dbr.DOUBLE, (number,))
            client.send(pack(Command.WRITE, 6, 1, channel.sid, 1, value))
            await asyncio.sleep(1)  # nothing tells that it waits there
        for session in (other.session, one.session):
            start = time.monotonic()
            report = await session.close()
            assert time.monotonic() - start < FLIGHT_SECONDS / 2
            assert report.refused == 1
    assert await machine.value("T:CLAMP") == 1


async def test_a_write_that_the_ioc_has_not_taken_at_closing_is_told_as_uncertain(
    gate: Any, machine: Any
) -> None:
    gate.set_limits({"T:SLOW.A": {}})
    await machine.set("T:SLOW.ODLY", 4)
    async with gate.session(execution="a") as one, gate.session(execution="b") as other:
        first, second = await one.circuit(), await other.circuit()
        mine, theirs = await first.open("T:SLOW.A"), await second.open("T:SLOW.A")
        for client, channel, number in ((first, mine, 5.0), (second, theirs, 6.0)):
            one_value = encode(Dbr.DOUBLE, (number,))
            client.send(pack(Command.WRITE_NOTIFY, 6, 1, channel.sid, 1, one_value))
            await asyncio.sleep(0.1)
        report = await other.session.close()
    assert [(write.new, write.outcome) for write in report.writes] == [(6.0, "uncertain")]
    async with asyncio.timeout(30):
        while await machine.value("T:SLOW.DLYA"):  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0.1)
    await asyncio.sleep(0.2)
    assert await machine.value("T:SLOW.A") == 5  # the IOC dropped it with its circuit


async def test_the_listener_of_a_closed_session_takes_no_circuit(gate: Any) -> None:
    async with gate.session("read_only") as kernel:
        await kernel.session.close()
        kernel.listener.close()
        with contextlib.suppress(ConnectionError):
            assert await (await kernel.circuit()).ended()


async def test_a_circuit_that_was_accepted_while_the_session_closed_is_ended() -> None:
    shared = SimpleNamespace(quotas=GateSettings())
    session = SimpleNamespace(is_open=False, shared=shared, rehearsal=None)
    transport = Transport(lambda _: None)
    ClientCircuit(session).connection_made(transport)  # type: ignore[arg-type]
    assert transport.closing


WORKER = """
import asyncio, socket, sys
from pathlib import Path
from gate.client import GateClient, Opening
from runpermit.models import Permit
async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    permit = Permit.model_validate_json(sys.argv[2])
    opening = Opening(
        execution="dies", run_id="r", attempt=1, mode="apply", isolation="full", permit=permit
    )
    async with GateClient(Path(sys.argv[1])).session(opening, listener):
        print(listener.getsockname()[1], flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_worker_that_dies_closes_its_session(gate: Any) -> None:
    permit = (await gate.permit(of_its_own(), "dies")).model_dump_json()
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, gate.control, permit),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"},
    )  # fmt: skip
    assert worker.stdout is not None
    port = int(await worker.stdout.readline())
    client = await RawClient.connect(port)
    channel = await client.open("T:AO2")
    assert (await client.put_number(channel, 1)).status == 1
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    assert await client.ended()
    await client.close()
    closed = await gate.journalled("session_closed", execution="dies")
    assert closed["forwarded"] == 1


@pytest.mark.parametrize(
    ("sections", "isolation", "message"),
    [
        ({"control_system": {"writes_enabled": False}}, "full", "writes_enabled = false"),
        ({}, "none", 'isolation = "none"'),
        ({"kernels": {"isolation": "none"}}, "full", 'isolation = "none"'),
        ({"control_system": {"type": "epics", "writes_enabled": True}}, "full", "shared_user"),
    ],
)
async def test_the_gates_own_settings_forbid_a_session_that_writes(
    start_gate: Any, sections: dict[str, Any], isolation: str, message: str
) -> None:
    with start_gate(**sections) as gate:
        with pytest.raises(ContainerConfigurationError, match=message):
            async with gate.session("apply", isolation=Isolation(isolation)):
                pass
        async with gate.session("read_only", isolation=Isolation(isolation)):
            pass
        if sections:  # what whoever asks can know before anybody approves
            assert message in (await gate.client.status()).no_writes


async def test_sessions_are_bounded(start_gate: Any) -> None:
    quota = {"socket": "gate.sock", "journal": "journal", "sessions": 1}
    with start_gate(gate=quota) as gate:
        async with gate.session("read_only"):
            with pytest.raises(ServiceUnavailableError, match=r"gate\.sessions = 1"):
                async with gate.session("read_only"):
                    pass
        async with asyncio.timeout(30):
            while ask(gate.control, {"do": "status"})["sessions"]:  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(0.02)
        async with gate.session("read_only"):
            pass


async def test_no_session_opens_without_a_journal(start_gate: Any) -> None:
    with start_gate() as gate:
        exhaust(gate)
        with pytest.raises(ServiceUnavailableError, match="journal"):
            async with gate.session("read_only"):
                pass


def exhaust(gate: Any) -> None:
    """Let the gate's files grow no more, as on a full disk."""
    (file,) = Path(gate.journal_folder).glob("*.jsonl")
    size = file.stat().st_size
    resource.prlimit(gate.running.pid, resource.RLIMIT_FSIZE, (size, size))


async def test_a_full_disk_stops_writes_and_no_reads(machine: Any, start_gate: Any) -> None:
    with start_gate(machine) as gate:
        async with gate.session() as kernel:
            client = await kernel.circuit()
            channel = await client.open("T:AO")
            assert (await client.put_number(channel, 1)).status == 1
            await gate.journalled("confirmed")
            before = await machine.value("T:AO:PUTS")
            exhaust(gate)
            for callback in (True, False):
                answer = await client.put_number(channel, 2, callback=callback)
                assert answer.violation == "NOT_ALLOWED"
                assert "journal" in answer.refusal["reason"]
            assert await client.value(channel) == 1
            assert await machine.value("T:AO:PUTS") == before
            told = await gate.client.records("e")
            assert [record["event"] for record in told.records].count("write") == 1


async def test_what_is_still_said_does_not_cost_whoever_says_it_the_last_word() -> None:
    """A connection that is closed with words unread is reset, and what was told last is lost."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for one in (ours, theirs):
            one.setblocking(False)  # noqa: FBT003  (its only argument)
        theirs.send(b"\n")
        ours.send(b"closed\n")
        closing = asyncio.create_task(hung_up(ours))
        await asyncio.sleep(0)
        theirs.send(b"\n")
        assert await loop.sock_recv(theirs, 100) == b"closed\n"
        assert await loop.sock_recv(theirs, 100) == b""
        assert not closing.done()
        theirs.close()
        await asyncio.wait_for(closing, 30)
