"""A rehearsal with a model IOC (`rehearsal.upstream`): of two IOCs the model alone is written."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gate.channel_access.frames import Command, pack
from gate.channel_access.ioc_circuit import IocCircuit
from gate.channel_access.own_channels import OwnChannels
from gate.channel_access.records import identify
from gate.channel_access.values import Dbr, encode
from gate.messages import Refusal
from gate.policy.attempt import Attempted
from gate.rehearsal.model import ModelUse, _Only
from gate.rehearsal.rehearsal import Rehearsal
from gate.sessions.client_channels import Channel
from runpermit.config import GateSettings
from runpermit.errors import ContainerConfigurationError, ServiceUnavailableError
from runpermit.limits import LimitsValidator
from tests.gate.conftest import gate_for, serving_ioc
from tests.gate.raw_client import EndedError

pytestmark = pytest.mark.parts
# The calc shows what a write to its input makes of it, in the model alone.
LIMITS: dict[str, Any] = {
    "T:CALCOUT.A": {"affects": ["T:CALCOUT.VAL"]},
    "T:AO": {"readback": {"channel": "T:AI"}, "affects": ["T:AO:PUTS"]},
}


@pytest.fixture(scope="module")
def model() -> Iterator[Any]:
    """A second IOC with the machine's channels, and other values."""
    with serving_ioc("--start", "40") as ioc:
        yield ioc


@pytest.fixture(scope="module")
def modelled(machine: Any, model: Any) -> Iterator[Any]:
    upstream = {"upstream": f"127.0.0.1:{model.port}"}
    with gate_for(machine, limits=LIMITS, rehearsal=upstream) as gate:
        yield gate


async def rehearsed(kernel: Any) -> Any:
    return (await kernel.session.close()).rehearsed


async def test_writes_go_to_the_model_and_so_do_reads_of_what_they_move(
    modelled: Any, machine: Any, model: Any
) -> None:
    await machine.set("T:AO", 2)
    await model.set("T:AO", 40)
    await model.set("T:AI", 33)
    machine_puts, model_puts = await machine.value("T:AO:PUTS"), await model.value("T:AO:PUTS")
    async with modelled.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel, readback = await client.open("T:AO"), await client.open("T:AI")
        counter, other = await client.open("T:AO:PUTS"), await client.open("T:AO2")
        assert await client.value(channel) == 2
        assert (await client.put_number(channel, 3.5)).status == 1
        assert await client.value(channel) == 3.5
        assert await model.value("T:AO") == 3.5
        # Aligned with the machine first, then written.
        assert await client.value(counter) == model_puts + 2
        assert await client.value(readback) == 33
        assert await client.value(other) == await machine.value("T:AO2")
        told = await rehearsed(kernel)
    assert (await machine.value("T:AO"), await machine.value("T:AO:PUTS")) == (2, machine_puts)
    assert await model.value("T:AO") == 40, "it is put back"
    assert told.upstream == f"127.0.0.1:{model.port}"
    assert [(write.old, write.new) for write in told.writes] == [(2, 3.5)]
    assert (told.channels[0].live, told.channels[0].moved_by, told.unknown) == (2, "", [])


async def test_monitors_hear_the_model_from_the_first_write_on(
    modelled: Any, machine: Any, model: Any
) -> None:
    await machine.set("T:AO", 1)
    async with modelled.session("rehearse") as kernel:
        client, other = await kernel.circuit(), await kernel.circuit()
        channel, watched = await client.open("T:AO"), await other.open("T:AO")
        readback = await other.open("T:AI")
        await other.subscribe(watched)
        assert await other.monitored(watched) == 1
        assert (await client.put_number(channel, 6, callback=False)).error is None
        heard = await other.monitored(watched)
        while heard != 6:
            heard = await other.monitored(watched)
        number = await other.subscribe(readback)
        await model.set("T:AI", 12)
        while await other.monitored(readback) != 12:
            pass
        await machine.set("T:AI", 99)
        await model.set("T:AI", 13)
        while (heard := await other.monitored(readback)) != 13:
            assert heard == 12
        other.send(pack(Command.EVENT_CANCEL, 6, 0, readback.sid, number))
        while (await other.hear(Command.EVENT_ADD)).payload:
            pass  # an IOC may tell the last change twice
        await model.set("T:AI", 14)
        assert 14 not in await other.all_monitored(readback)


async def test_a_put_callback_is_answered_by_the_model(modelled: Any) -> None:
    modelled.set_limits({**LIMITS, "T:SLOW.A": {}})
    async with modelled.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:SLOW.A")
        start = time.monotonic()
        assert (await client.put_number(channel, 3)).status == 1
        assert time.monotonic() - start > 0.5
    modelled.set_limits(LIMITS)


@pytest.mark.slow
async def test_one_rehearsal_at_a_time_has_the_model(modelled: Any) -> None:
    async with modelled.session("rehearse") as first:
        waiting = asyncio.create_task(_opened(modelled))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await first.session.close()
        await waiting
    async with modelled.session("rehearse"):
        with pytest.raises(ServiceUnavailableError, match="in use by session rehearse-"):
            await _opened(modelled)
        async with modelled.session("read_only") as reading:
            client = await reading.circuit()
            assert await client.value(await client.open("T:AO")) is not None


async def _opened(gate: Any) -> None:
    async with gate.session("rehearse"):
        pass


async def test_without_its_model_no_rehearsal_is_opened(
    machine: Any, start_ioc: Any, start_gate: Any
) -> None:
    with start_ioc() as ioc:
        upstream = {"upstream": f"127.0.0.1:{ioc.port}"}
        with start_gate(machine, rehearsal=upstream) as gate:
            ioc.kill()
            with pytest.raises(ServiceUnavailableError, match=r"rehearsal\.upstream"):
                await _opened(gate)


async def test_a_model_that_is_lost_ends_the_rehearsal(
    machine: Any, start_ioc: Any, start_gate: Any
) -> None:
    before = await machine.value("T:AO"), await machine.value("T:AO:PUTS")
    with start_ioc() as ioc:
        upstream = {"upstream": f"127.0.0.1:{ioc.port}"}
        with start_gate(machine, rehearsal=upstream) as gate:
            async with gate.session("rehearse") as kernel:
                client = await kernel.circuit()
                channel = await client.open("T:AO")
                assert (await client.put_number(channel, 1)).status == 1
                ioc.kill()
                assert await client.ended()
                report = await kernel.session.close()
    assert "rehearsal.upstream" in report.ended
    assert len(report.rehearsed.writes) == 1
    assert (await machine.value("T:AO"), await machine.value("T:AO:PUTS")) == before


async def test_a_model_that_is_frozen_is_not_taken_for_one_that_lacks_the_channel(
    machine: Any, start_ioc: Any, start_gate: Any
) -> None:
    before = await machine.value("T:AO"), await machine.value("T:AO:PUTS")
    with start_ioc() as ioc:
        upstream = {"upstream": f"127.0.0.1:{ioc.port}"}
        with start_gate(machine, rehearsal=upstream) as gate:
            async with gate.session("rehearse") as kernel:
                client = await kernel.circuit()
                channel = await client.open("T:AO")
                ioc.freeze()
                assert (await client.put_number(channel, 1)).violation == "NOT_ALLOWED"
                report = await kernel.session.close()
    assert "rehearsal.upstream" in report.ended
    assert report.rehearsed.writes == []
    assert (await machine.value("T:AO"), await machine.value("T:AO:PUTS")) == before


async def test_a_model_that_is_frozen_before_a_channel_is_opened_ends_the_rehearsal(
    machine: Any, start_ioc: Any, start_gate: Any
) -> None:
    with start_ioc() as ioc:
        upstream = {"upstream": f"127.0.0.1:{ioc.port}"}
        with start_gate(machine, rehearsal=upstream) as gate:
            async with gate.session("rehearse") as kernel:
                client = await kernel.circuit()
                ioc.freeze()
                with contextlib.suppress(EndedError):
                    await client.open("T:AO")
                assert await client.ended()
                report = await kernel.session.close()
    assert "rehearsal.upstream" in report.ended


async def test_a_channel_that_the_model_lacks_is_shadowed_and_told(
    machine: Any, start_ioc: Any, start_gate: Any
) -> None:
    with start_ioc("--prefix", "O:") as ioc:
        upstream = {"upstream": f"127.0.0.1:{ioc.port}"}
        with start_gate(machine, limits=LIMITS, rehearsal=upstream) as gate:
            async with gate.session("rehearse") as kernel:
                client = await kernel.circuit()
                channel, moved = await client.open("T:AO"), await client.open("T:AO:PUTS")
                assert (await client.put_number(channel, 5)).status == 1
                assert await client.value(channel) == 5
                await client.value(moved)
                report = await kernel.session.close()
    assert any("has no T:AO" in note for note in report.notes)
    assert report.rehearsed.unknown == ["T:AO:PUTS"]


async def test_where_the_machine_is_looked_for_is_no_model(
    machine: Any, model: Any, start_gate: Any
) -> None:
    upstream = {"upstream": f"localhost:{machine.port}"}
    refused = pytest.raises(ContainerConfigurationError, match="writes to no machine")
    with start_gate(machine, rehearsal=upstream) as gate, refused:
        await _opened(gate)
    servers = {"name_servers": [f"127.0.0.1:{machine.port}", f"no.such.host.invalid:{model.port}"]}
    upstream = {"upstream": f"127.0.0.1:{model.port}"}
    with start_gate(machine, rehearsal=upstream, control_system=servers) as gate:
        await _opened(gate)


async def test_the_ioc_of_a_channel_is_no_model(machine: Any) -> None:
    """However it was found: the last look before anything is sent there."""
    before = await machine.value("T:AO"), await machine.value("T:AO:PUTS")
    address = ("127.0.0.1", machine.port)
    notes: list[str] = []
    session: Any = SimpleNamespace(
        is_open=True, identity={}, has_room_for=lambda _: True, note=notes.append,
        opening=SimpleNamespace(guards=[]),
    )  # fmt: skip
    facilities: Any = SimpleNamespace(
        directory=None, limits=SimpleNamespace(validator=LimitsValidator(None, enabled=False)),
        journal=SimpleNamespace(note=lambda *_, **__: 0), quotas=GateSettings(),
    )  # fmt: skip
    use = ModelUse("model", address, OwnChannels(_Only(address), 1024), asyncio.Lock())
    rehearsal = Rehearsal(session, facilities, use)
    circuit = IocCircuit(address, limit=2**20)
    own = await circuit.open("T:AO")
    record = await identify(circuit, "T:AO", own.sid, own.dtype, own.count)
    write = Attempted("T:AO", own.sid, 6, 1, encode(Dbr.DOUBLE, (5.0,)))
    refusal = await rehearsal.write(Channel(1, "T:AO", circuit), record, write)
    circuit.close()
    assert isinstance(refusal, Refusal)
    assert "the very IOC" in refusal.reason
    assert (await machine.value("T:AO"), await machine.value("T:AO:PUTS")) == before


async def test_every_address_of_this_host_may_be_the_same_ioc() -> None:
    use = ModelUse("127.0.0.1:5064", ("127.0.0.1", 5064), None, asyncio.Lock())  # type: ignore[arg-type]
    assert await use.is_at(("127.0.0.1", 5064))
    assert await use.is_at(("127.0.0.2", 5064))
    assert await use.is_at(("no such host", 5064))
    assert not await use.is_at(("127.0.0.1", 5065))
    assert not await use.is_at(("192.0.2.1", 5064))


async def test_texts_and_arrays_are_aligned_and_put_back(
    modelled: Any, machine: Any, model: Any
) -> None:
    short, full = encode(Dbr.DOUBLE, (1.0, 2.0)), encode(Dbr.DOUBLE, (9.0, 8.0, 7.0))
    async with machine.direct() as client:
        assert (await client.put(await client.open("T:W:DOUBLE"), 6, 2, short)).status == 1
    async with model.direct() as client:
        assert (await client.put(await client.open("T:W:DOUBLE"), 6, 3, full)).status == 1
    async with modelled.session("rehearse") as kernel:
        client = await kernel.circuit()
        wave, text = await client.open("T:W:DOUBLE"), await client.open("T:LSO.VAL$")
        one = encode(Dbr.DOUBLE, (5.0,))
        assert (await client.put(wave, 6, 1, one)).status == 1
        long = b"a text of more than forty characters, which need their room\0"
        assert (await client.put(text, 4, len(long), long)).status == 1
        assert await client.value(wave) == (5,)
        assert await model.value("T:LSO.VAL$") == tuple(long)
        await rehearsed(kernel)
    assert await model.value("T:W:DOUBLE") == (9, 8, 7)
    assert await machine.value("T:W:DOUBLE") == (1, 2)
