"""The gate as a process: it ends cleanly when told, and dies without harm when killed."""

import asyncio
import random
import signal
import struct
import time
from typing import Any

import pytest

from gate.channel_access.frames import Command, pack
from gate.channel_access.values import Dbr, encode
from gate.journal.reading import verify
from runpermit.errors import ServiceUnavailableError
from tests.gate.raw_client import EndedError

pytestmark = pytest.mark.parts


async def test_when_told_to_end_it_fences_its_sessions_and_tells_so(
    machine: Any, start_gate: Any
) -> None:
    with start_gate(machine) as gate:
        async with gate.session() as kernel:
            client = await kernel.circuit()
            assert (await client.put_number(await client.open("T:AO"), 1)).status == 1
            gate.running.signal(signal.SIGTERM)
            await asyncio.wait_for(asyncio.shield(kernel.session.lost), 30)
            assert await client.ended()
        assert await asyncio.to_thread(gate.running.process.wait, 5) == 0
        events = [record["event"] for record in gate.journal()]
        assert events == [
            "gate_started", "permit_consumed", "session_opened", "write", "confirmed",
            "session_closed", "gate_ended",
        ]  # fmt: skip
        assert gate.journal("session_closed")[0]["ended"] == "the gate was ended"
        assert not gate.control.exists()
        assert "Traceback" not in gate.log()


async def test_a_killed_gate_leaves_kernels_without_channel_access(
    machine: Any, start_gate: Any
) -> None:
    with start_gate(machine, serve=False) as gate:
        with gate.serving():
            async with gate.session() as kernel:
                client = await kernel.circuit()
                channel = await client.open("T:AO")
                assert (await client.put_number(channel, 1)).status == 1
                before = await machine.value("T:AO:PUTS")
                gate.running.kill()
                await asyncio.wait_for(asyncio.shield(kernel.session.lost), 30)
                with pytest.raises(EndedError):
                    await client.put_number(channel, 2)
                kernel.listener.close()
                with pytest.raises(ConnectionError):
                    await kernel.circuit()
                with pytest.raises(ServiceUnavailableError, match="journal"):
                    await kernel.session.close()
            with pytest.raises(ServiceUnavailableError, match="python -m gate"):
                await gate.client.status()
        with gate.serving():
            async with gate.session() as kernel:
                client = await kernel.circuit()
                channel = await client.open("T:AO")
                assert await client.value(channel) == 1
                assert await machine.value("T:AO:PUTS") == before
                assert (await client.put_number(channel, 3)).status == 1
        assert verify(gate.journal_folder).broken is None


@pytest.mark.slow
async def test_whatever_the_ioc_received_is_in_the_journal_when_the_gate_is_killed(
    machine: Any, start_gate: Any
) -> None:
    """Three sessions write as fast as they can; each value is written once only."""
    random_ = random.Random(5)  # noqa: S311  (repeatable)
    names = ("T:AO", "T:AO2", "T:W:DOUBLE")
    number = 0.0
    received: set[float] = set()
    with start_gate(machine, serve=False) as gate:
        for _ in range(8):
            with gate.serving():
                async with gate.session() as kernel, machine.direct() as direct:
                    for name in names:
                        watched = await direct.open(name)
                        await direct.subscribe(watched)
                    for name in names:
                        client = await kernel.circuit()
                        channel = await client.open(name)
                        for _ in range(300):
                            number += 1.0
                            client.send(_put(channel.sid, 1000.0 + number))
                    await asyncio.sleep(random_.uniform(0.02, 0.25))
                    gate.running.kill()
                    received.update(await _events(direct))
        written = {
            value
            for record in gate.journal("write")
            for value in (record["new"] if isinstance(record["new"], list) else [record["new"]])
        }
        found = verify(gate.journal_folder)
        assert found.broken is None
        assert found.torn is None or found.torn.file.name.endswith(".jsonl")
    received = {value for value in received if value > 1000}
    assert len(received) > 100
    assert received <= written


def _put(sid: int, number: float) -> bytes:
    return pack(Command.WRITE, Dbr.DOUBLE, 1, sid, 1, encode(Dbr.DOUBLE, (number,)))


async def _events(direct: Any) -> list[float]:
    """All values that monitors brought, of scalars and of arrays."""
    found: list[float] = []
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        try:
            frame = await direct.hear(1, within=0.2)
        except TimeoutError:
            break
        found += struct.unpack_from(f">{frame.count}d", frame.payload)
    return found


async def test_a_journal_that_was_changed_is_not_continued(machine: Any, start_gate: Any) -> None:
    with start_gate(machine, serve=False) as gate:
        with gate.serving():
            async with gate.session() as kernel:
                client = await kernel.circuit()
                await client.put_number(await client.open("T:AO"), 1)
            await gate.journalled("session_closed")
        (file,) = gate.journal_folder.glob("*.jsonl")
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(
            b"".join(lines[:-1]) + lines[-1].replace(b'"forwarded": 1', b'"forwarded": 0')
        )
        changed = verify(gate.journal_folder)
        assert changed.last == len(lines)  # only the next record would tell
        with gate.serving():
            pass
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join([*lines[:-2], lines[-2].replace(b"e", b"E", 1), lines[-1]]))
        with pytest.raises(AssertionError, match="broken at its end"), gate.serving():
            pass


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"gate": {"socket": "x" * 120, "journal": "journal"}}, "107 bytes"),
        ({"control_system": {"name_servers": ["nonsense:port"]}}, "is no host:port"),
        ({"gate": {"socket": "gate.sock", "journal": "limits.json"}}, "journal"),
        ({"gate": {"unknown": 1}}, "unknown"),
        ({"approval": {"assurance": "signed"}}, "needs approval.allowed_signers"),
    ],
)
def test_a_mistake_in_the_settings_is_named(
    start_gate: Any, sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError, match=message), start_gate(**sections):
        pass
