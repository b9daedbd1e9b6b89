"""A rehearsal, seen by its client, by the IOC, and in what the gate tells of it."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from gate.channel_access.directory import MISSED_SECONDS
from gate.channel_access.frames import Command, pack
from gate.channel_access.values import Dbr, encode
from gate.messages import REPORT_BYTES
from runpermit.gate_control import ask
from runpermit.limits import Condition
from runpermit.models.plan import MAX_PLANNED_WRITES
from tests.gate.punctual import Span, in_time

pytestmark = pytest.mark.parts
MASK = b"\0" * 12 + b"\0\5\0\0"
COUNTED = ("T:AO", "T:AO2", "T:CLAMP", "T:LO", "T:BO", "T:MB", "T:SO", "T:BYTES")


async def rehearsed(kernel: Any) -> Any:
    return (await kernel.session.close()).rehearsed


async def puts(machine: Any) -> dict[str, Any]:
    """How often each counted record was processed, and what it reads."""
    async with machine.direct() as client:
        return {
            name: await client.value(await client.open(name))
            for record in COUNTED
            for name in (record, f"{record}:PUTS")
        }


@asynccontextmanager
async def untouched(machine: Any) -> AsyncIterator[None]:
    """What happens within must not reach the IOC."""
    before = await puts(machine)
    yield
    assert await puts(machine) == before


async def test_a_write_is_answered_read_back_and_recorded_and_the_ioc_hears_nothing(
    gate: Any, machine: Any
) -> None:
    gate.set_limits({"T:AO": {"units": "A", "description": "a corrector", "max_value": 100}})
    live = await machine.value("T:AO")
    async with untouched(machine), gate.session("rehearse", execution="first") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        assert (await client.put_number(channel, 1.5)).status == 1
        assert (await client.put_number(channel, 2.5, callback=False)).error is None
        assert await client.value(channel) == 2.5
        other = await kernel.circuit()
        assert await other.value(await other.open("T:AO:ALIAS.VAL")) == 2.5
        told = await rehearsed(kernel)
    assert [(w.channel, w.old, w.new) for w in told.writes] == [
        ("T:AO", live, 1.5), ("T:AO", 1.5, 2.5)
    ]  # fmt: skip
    assert told.writes[0].after == 0 <= told.writes[1].after
    (planned,) = told.channels
    assert (planned.description, planned.units, planned.live) == ("a corrector", "A", live)
    assert (planned.writes, planned.low, planned.high, planned.last) == (2, 1.5, 2.5, 2.5)
    assert (planned.exact, planned.restorable, planned.moved_by) == (False, True, "")
    assert (planned.max_value, planned.largest_step) == (100, max(1.0, abs(1.5 - live)))
    assert planned.tolerance == pytest.approx(0.25)
    assert told.reads == ["T:AO"]
    assert (told.unknown, told.left_out, told.upstream) == ([], 0, "")
    await gate.journalled("rehearsal", execution="first", writes=2, refused=0, channels=1)
    assert not [record for record in gate.journal("write") if record["execution"] == "first"]


@pytest.mark.parametrize("callback", [True, False])
@pytest.mark.parametrize(
    ("name", "kind", "items"),
    [
        ("T:AO", Dbr.STRING, ("3.5",)),
        ("T:AO", Dbr.FLOAT, (2.5,)),
        ("T:AO2.VAL", Dbr.SHORT, (2,)),
        ("T:AO:ALIAS", Dbr.DOUBLE, (9.0,)),
        ("T:CLAMP", Dbr.DOUBLE, (50.0,)),
        ("T:LO", Dbr.LONG, (5,)),
        ("T:BO", Dbr.STRING, ("On",)),
        ("T:MB", Dbr.ENUM, (2,)),
        ("T:SO", Dbr.STRING, ("text",)),
        ("T:BYTES", Dbr.CHAR, tuple(b"bytes")),
        ("T:AO.PROC", Dbr.CHAR, (1,)),
        ("T:AO.A", Dbr.DOUBLE, (1.0,)),
        ("T:AO", 35, (1.0,)),
        ("T:AO", 36, (1.0,)),
        ("T:AO", Dbr.STRING, ("no number",)),
        ("T:AO", Dbr.DOUBLE, (float("nan"),)),
        ('T:AO.{"dbnd":{}}', Dbr.DOUBLE, (1.0,)),
    ],
)
async def test_no_write_of_any_kind_reaches_the_machine(
    gate: Any, machine: Any, name: str, kind: int, items: Any, *, callback: bool
) -> None:
    gate.set_limits({"T:AO.PROC": {}})
    payload = encode(Dbr(kind), items) if kind < 7 else b"\0\1" * 4
    async with untouched(machine), gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        try:
            channel = await client.open(name)
        except LookupError:
            return
        await client.put(channel, kind, len(items), payload, callback=callback)
        client.send(*[pack(Command.WRITE, kind, len(items), channel.sid, 1, payload)] * 5)
        assert await client.read(channel) is not None


async def test_no_write_reaches_the_machine_when_client_or_session_dies_in_the_middle(
    gate: Any, machine: Any
) -> None:
    one = encode(Dbr.DOUBLE, (1.0,))
    async with untouched(machine), gate.session("rehearse") as kernel:
        for _ in range(3):
            client = await kernel.circuit()
            channel = await client.open("T:AO")
            client.send(*[pack(Command.WRITE, 6, 1, channel.sid, 1, one)] * 50)
            await client.close()
        last = await kernel.circuit()
        channel = await last.open("T:AO")
        last.send(*[pack(Command.WRITE_NOTIFY, 6, 1, channel.sid, n, one) for n in range(50)])
        await kernel.session.close()


async def test_limits_are_judged_from_the_rehearsed_value(gate: Any, machine: Any) -> None:
    gate.set_limits({"T:AO2": {"max_step": 2, "min_value": -100, "max_value": 100}})
    await machine.set("T:AO2", 1)
    async with untouched(machine), gate.session("rehearse", execution="steps") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO2")
        assert (await client.put_number(channel, 3)).status == 1
        assert (await client.put_number(channel, 5)).status == 1
        refused = await client.put_number(channel, 7.5)
        assert (refused.status, refused.violation) == (160, "MAX_STEP_EXCEEDED")
        assert refused.refusal is not None
        assert refused.refusal["current_value"] == 5
        plain = await client.put_number(channel, 200, callback=False)
        assert plain.violation == "MAX_EXCEEDED"
        assert await client.value(channel) == 5
        report = await kernel.session.close()
    assert [write.new for write in report.rehearsed.writes] == [3, 5]
    assert report.rehearsed.channels[0].largest_step == 2
    assert (report.refused, len(report.refusals), report.forwarded) == (2, 2, 0)
    assert (await gate.journalled("refused", execution="steps"))["channel"] == "T:AO2"
    await gate.journalled("rehearsal", execution="steps", refused=2)


async def test_unlisted_channels_aliases_and_broken_limits_are_refused_as_in_earnest(
    machine: Any, start_gate: Any
) -> None:
    limits = {"T:AO:ALIAS": {"max_value": 1}}
    with start_gate(machine, limits=limits, limits_section={"allow_unlisted": False}) as gate:
        async with gate.session("rehearse") as kernel:
            client = await kernel.circuit()
            alias, plain = await client.open("T:AO:ALIAS"), await client.open("T:AO2")
            assert (await client.put_number(alias, 0.5)).violation == "UNLISTED_CHANNEL"
            assert (await client.put_number(plain, 0.5)).violation == "UNLISTED_CHANNEL"
            gate.set_limits("no JSON")
            assert (await client.put_number(plain, 0.5)).violation == "LIMITS_UNAVAILABLE"
            told = await rehearsed(kernel)
    assert (told.writes, told.channels, told.machine) == ([], [], [])


async def test_limits_under_an_alias_alone_bind_nothing(gate: Any) -> None:
    gate.set_limits({"T:AO:ALIAS": {"max_value": 1}})
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        alias = await client.open("T:AO:ALIAS")
        assert (await client.put_number(alias, 0.5)).violation == "UNLISTED_CHANNEL"
        assert (await rehearsed(kernel)).writes == []


async def test_inhibit_and_pacing_are_not_asked_and_conditions_are_told(
    machine: Any, start_gate: Any
) -> None:
    mode = {"channel": "T:MODE", "op": "==", "value": "User"}
    permit = {"channel": "T:PERMIT", "op": "==", "value": "no"}
    lost = {"channel": "T:NO:SUCH", "op": ">", "value": 1}
    limits = {"T:AO": {"conditions": [mode, permit], "min_interval": 30}}
    with ExitStack() as stack:
        gate = stack.enter_context(start_gate(machine, limits=limits, serve=False))
        with (gate.folder / "runpermit.toml").open("a") as settings:
            lines = [f"{key} = {json.dumps(value)}" for key, value in lost.items()]
            settings.write("\n".join(["[[gate.guards]]", *lines, ""]))
        stack.enter_context(gate.serving())
        ask(gate.control, {"do": "inhibit", "on": True, "operator": "test", "reason": "a test"})
        of_request = [mode, {"channel": "T:MODE", "op": "!=", "value": "Shutdown"}]
        guards = [Condition.model_validate(guard) for guard in of_request]
        async with gate.session("rehearse", guards=guards) as kernel:
            client = await kernel.circuit()
            channel = await client.open("T:AO")
            for number in (1, 2, 3):
                assert (await client.put_number(channel, number, within=10)).status == 1
            told = await rehearsed(kernel)
    assert len(told.writes) == 3
    assert told.channels[0].min_interval == 30
    found = [(state.channel, state.op, state.value, state.holds) for state in told.machine]
    assert found == [
        ("T:NO:SUCH", ">", 1, False), ("T:MODE", "==", "User", True),
        ("T:MODE", "!=", "Shutdown", True), ("T:PERMIT", "==", "no", False),
    ]  # fmt: skip
    reads = {state.channel: state.reads for state in told.machine}
    assert reads["T:MODE"].endswith("(User)")
    assert reads["T:NO:SUCH"].startswith("can't be read")


# What follows


async def test_a_loop_that_waits_for_a_readback_ends_at_once(gate: Any, machine: Any) -> None:
    gate.set_limits(
        {"T:AO": {"readback": {"channel": "T:AI.VAL", "scale": 2, "offset": 1, "settle_time": 90}}}
    )
    code = """
    setpoint, readback = PV("T:AO"), PV("T:AI")
    assert setpoint.wait_for_connection(30) and readback.wait_for_connection(5)
    readback.get()
    start = time.monotonic()
    setpoint.put(3.5, wait=True)
    while readback.get() != 8 and time.monotonic() < start + 20:
        time.sleep(0.01)
    answer = readback.get(), caget("T:AI.VAL")
    """
    async with untouched(machine), gate.session("rehearse") as kernel:
        value, again = await kernel.epics("\n".join(line[4:] for line in code.splitlines()))
        told = await rehearsed(kernel)
    assert (value, again) == (8, 8)
    assert told.unknown == []
    assert told.channels[0].follows == ["T:AI.VAL"]
    assert await machine.value("T:AI") == 0


async def test_subscribers_hear_of_a_write_and_of_what_follows_before_its_callback(
    gate: Any,
) -> None:
    gate.set_limits({"T:AO": {"readback": {"channel": "T:AI"}}})
    async with gate.session("rehearse") as kernel:
        client, other = await kernel.circuit(), await kernel.circuit()
        channel, readback = await client.open("T:AO"), await other.open("T:AI")
        await client.subscribe(channel)
        await other.subscribe(readback)
        await client.monitored(channel)
        await other.monitored(readback)
        client.send(pack(Command.WRITE_NOTIFY, 6, 1, channel.sid, 9, encode(Dbr.DOUBLE, (4.5,))))
        assert await client.monitored(channel) == 4.5
        assert (await client.hear(Command.WRITE_NOTIFY)).p1 == 1
        assert await other.monitored(readback) == 4.5
        # A new one begins with it as well.
        third = await kernel.circuit()
        late = await third.open("T:AI")
        await third.subscribe(late)
        assert await third.monitored(late) == 4.5


async def test_later_live_events_of_a_written_channel_tell_the_rehearsed_value(
    gate: Any, machine: Any
) -> None:
    gate.set_limits({})
    live = await machine.value("T:F")
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:F")
        await client.subscribe(channel)
        await client.monitored(channel)
        assert (await client.put_number(channel, 5)).status == 1
        await machine.set("T:F", 77)
        assert set(await client.all_monitored(channel)) == {5}
        assert await client.value(channel) == 5
        await machine.set("T:F", live)
        told = await rehearsed(kernel)
    assert "changed during the rehearsal" in told.channels[0].moved_by


async def test_a_short_array_shrinks_its_channel(gate: Any, machine: Any) -> None:
    gate.set_limits({})
    async with machine.direct() as direct:
        full = encode(Dbr.DOUBLE, (1.0, 2.0, 3.0, 4.0, 5.0))
        assert (await direct.put(await direct.open("T:W:DOUBLE"), 6, 5, full)).status == 1
    async with gate.session("rehearse") as kernel:
        client, other = await kernel.circuit(), await kernel.circuit()
        channel, watched = await client.open("T:W:DOUBLE"), await other.open("T:W:DOUBLE")
        await other.subscribe(watched)
        assert await other.monitored(watched) == (1, 2, 3, 4, 5)
        two = encode(Dbr.DOUBLE, (9.0, 8.0))
        assert (await client.put(channel, 6, 2, two)).status == 1
        assert await client.value(channel) == (9, 8)
        frame = await client.read(channel, count=5)
        assert (frame.count, frame.payload) == (5, two + bytes(24))
        assert await other.monitored(watched) == (9, 8)
        told = await rehearsed(kernel)
    assert told.writes[0].old == [1, 2, 3, 4, 5]
    assert told.writes[0].new == [9, 8]
    planned = told.channels[0]
    assert (planned.low, planned.high, planned.restorable) == (None, None, True)
    assert await machine.value("T:W:DOUBLE") == (1, 2, 3, 4, 5)


async def test_a_long_array_is_read_in_other_types_too(gate: Any) -> None:
    gate.set_limits({})
    numbers = tuple(float(number) for number in range(1000))
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:BIG")
        array = encode(Dbr.DOUBLE, numbers)
        assert (await client.put(channel, 6, 1000, array)).status == 1
        assert await client.value(channel) == numbers
        frame = await client.read(channel, Dbr.LONG, 1000)
        assert frame.payload == encode(Dbr.LONG, tuple(range(1000)))


async def test_very_many_elements_are_converted_aside(gate: Any) -> None:
    gate.set_limits({})
    texts = tuple(str(number) for number in range(1500))
    async with gate.session("rehearse") as kernel:
        client, other = await kernel.circuit(), await kernel.circuit()
        channel = await client.open("T:TEXTS")
        watched = await other.open("T:TEXTS")
        other.send(pack(Command.EVENT_ADD, Dbr.LONG, 1500, watched.sid, 7, MASK))
        await other.hear(Command.EVENT_ADD)
        array = encode(Dbr.STRING, texts)
        assert (await client.put(channel, Dbr.STRING, 1500, array)).status == 1
        numbers = encode(Dbr.LONG, tuple(range(1500)))
        assert (await client.read(channel, Dbr.LONG, 1500)).payload == numbers
        assert (await other.hear(Command.EVENT_ADD)).payload == numbers
        told = await rehearsed(kernel)
    assert told.writes[0].new["count"] == 1500
    assert told.channels[0].exact
    assert "it was empty" in told.channels[0].why_not


async def test_a_subscription_to_other_than_values_is_told_nothing(gate: Any) -> None:
    gate.set_limits({})
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        alarms_alone = MASK[:13] + b"\4\0\0"
        client.send(pack(Command.EVENT_ADD, 6, 1, channel.sid, 7, alarms_alone))
        await client.hear(Command.EVENT_ADD)
        client.send(
            pack(Command.WRITE, 6, 1, channel.sid, 1, encode(Dbr.DOUBLE, (5.0,))),
            pack(Command.ECHO),
        )
        heard = await client.hear(Command.EVENT_ADD, Command.ECHO)
        assert heard.command == Command.ECHO


async def test_a_state_is_told_by_its_name_and_planned_exactly(gate: Any, machine: Any) -> None:
    gate.set_limits({})
    async with untouched(machine), gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:MB")
        two = encode(Dbr.STRING, ("0",))
        assert (await client.put(channel, Dbr.STRING, 1, two)).status == 1
        assert (await client.read(channel, Dbr.STRING, 1)).payload.startswith(b"0\0")
        assert await client.value(channel) == 2
        told = await rehearsed(kernel)
    assert (told.writes[0].new, told.writes[0].state) == (2, "0")
    planned = told.channels[0]
    assert (planned.exact, planned.tolerance, planned.low) == (True, None, None)
    assert (planned.last, planned.last_state, planned.state) == (2, "0", "10")
    assert not planned.restorable
    assert planned.why_not.startswith("a state")


async def test_done_channels_motors_and_busy_records_are_at_their_end(
    machine: Any, start_ioc: Any, start_gate: Any
) -> None:
    with start_ioc(module="tests.gate.rehearsal.motor_ioc") as ioc, start_gate(
        ioc, machine, limits={"C:M": {"done": {"channel": "T:BI", "value": "In"}}, "C:M.TWV": {}}
    ) as gate:  # fmt: skip
        async with gate.session("rehearse") as kernel:
            client = await kernel.circuit()
            motor, busy = await client.open("C:M"), await client.open("C:B")
            assert (await client.put_number(motor, 3.5)).status == 1
            assert (await client.put_number(busy, 1)).status == 1
            assert await client.value(busy) == 0
            fields = {"RBV": 3.5, "DVAL": 6.5, "DRBV": 6.5, "DMOV": 1, "MOVN": 0}
            for name, value in fields.items():
                assert await client.value(await client.open(f"C:M.{name}")) == value, name
            done = await client.open("T:BI")
            assert await client.value(done) == 1
            assert (await client.read(done, Dbr.STRING, 1)).payload.startswith(b"In\0")
            assert await client.value(await client.open("C:M.MSTA")) == 0
            # Another of its fields moves it elsewhere: where to, nobody knows any more.
            assert (await client.put_number(await client.open("C:M.TWV"), 1)).status == 1
            await client.value(await client.open("C:M.RBV"))
            await client.value(motor)
            told = await rehearsed(kernel)
        assert await ioc.value("C:PUTS") == 0
    assert [write.new for write in told.writes] == [3.5, 1, 1]
    assert told.channels[0].follows == ["C:M.RBV", "T:BI"]
    assert told.unknown == ["C:M.MSTA", "C:M.RBV", "C:M"]
    assert "1 while something is under way" in told.channels[1].why_not


async def test_what_nothing_models_is_read_live_and_told_as_unknown(
    gate: Any, machine: Any
) -> None:
    gate.set_limits({"T:F": {"affects": ["T:AO:ALIAS", "T:AO2", "T:LI"]}, "T:CALCOUT.A": {}})
    await machine.set("T:AO2", 4)
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel, moved = await client.open("T:F"), await client.open("T:AO2")
        watched, calc = await client.open("T:LI"), await client.open("T:CALCOUT")
        await client.subscribe(watched)
        await client.value(moved)
        assert (await client.put_number(channel, 1)).status == 1
        assert await client.value(moved) == 4
        await client.value(await client.open("T:AO"))
        assert await client.value(await client.open("T:F.DESC")) == "a record for its fields"
        # A field that is written may set the whole record going.
        assert (await client.put_number(await client.open("T:CALCOUT.A"), 1)).status == 1
        await client.value(calc)
        # Nobody knows what a modifier makes of it.
        await client.value(await client.open('T:AO2.{"ts":{}}'))
        told = await rehearsed(kernel)
    assert told.unknown == ["T:LI", "T:AO2", "T:AO", "T:CALCOUT", 'T:AO2.{"ts":{}}']
    assert told.reads == [
        "T:LI", "T:AO2", "T:AO", "T:F.DESC", "T:CALCOUT", 'T:AO2.{"ts":{}}'
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.alone
async def test_what_a_later_write_affects_is_no_longer_known(gate: Any) -> None:
    gate.set_limits({"T:F": {"affects": ["T:AO2", "T:NO:SUCH"]}})
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel, written = await client.open("T:F"), await client.open("T:AO2")
        assert (await client.put_number(written, 7)).status == 1
        await client.value(written)
        assert (await client.put_number(channel, 1, within=5)).status == 1
        assert await client.value(written) == 7

        async def again() -> Span:
            await asyncio.sleep(MISSED_SECONDS)  # so long the search remembers it by itself
            start = time.monotonic()
            assert (await client.put_number(channel, 2)).status == 1
            return start, time.monotonic()

        await in_time(again, 0.5)  # a channel that nobody has is searched once
        report = await kernel.session.close()
        assert report.rehearsed.unknown == ["T:AO2"]
        assert any("T:NO:SUCH, can't be looked at" in note for note in report.notes)
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel, written = await client.open("T:F"), await client.open("T:AO2")
        assert (await client.put_number(channel, 1, within=5)).status == 1
        assert (await client.put_number(written, 7)).status == 1
        assert await client.value(written) == 7
        assert (await rehearsed(kernel)).unknown == []


# What else moves it, and what can't be told


async def test_a_channel_in_closed_loop_is_told(gate: Any) -> None:
    gate.set_limits({})
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        assert (await client.put_number(await client.open("T:LOOP"), 5)).status == 1
        told = await rehearsed(kernel)
    assert told.channels[0].moved_by.startswith("its record is in closed loop")
    assert "T:AO2" in told.channels[0].moved_by


async def test_a_change_that_no_client_saw_is_found_at_the_end(gate: Any, machine: Any) -> None:
    gate.set_limits({})
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        for name in ("T:CALCOUT.A", "T:AO2"):
            gate.set_limits({"T:CALCOUT.A": {}})
            assert (await client.put_number(await client.open(name), 5)).status == 1
        await client.close()
        await machine.set("T:AO2", 4711)
        told = await rehearsed(kernel)
    found = {channel.channel: channel.moved_by for channel in told.channels}
    assert found["T:CALCOUT.A"] == ""
    assert "changed during the rehearsal" in found["T:AO2"]


@pytest.mark.slow
async def test_a_channel_that_can_not_be_looked_at_again_is_told(
    start_ioc: Any, start_gate: Any
) -> None:
    with start_ioc() as ioc, start_gate(ioc) as gate:
        async with gate.session("rehearse") as kernel:
            client = await kernel.circuit()
            assert (await client.put_number(await client.open("T:AO"), 5)).status == 1
            ioc.kill()
            told = await rehearsed(kernel)
    assert "could not be looked at again" in told.channels[0].moved_by


async def test_a_channel_whose_value_can_not_be_read_is_refused(gate: Any) -> None:
    gate.set_limits({})
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        refused = await client.put_number(await client.open("T:NOREAD"), 1)
        assert refused.violation == "LIMITS_UNAVAILABLE"
        assert (await rehearsed(kernel)).writes == []


async def test_what_can_be_put_back_and_stopped_is_told(gate: Any) -> None:
    stop = {"channel": "T:LO", "value": 0}
    gate.set_limits(
        {"T:AO": {"restore": False}, "T:MB": {"restore": True, "stop": stop}, "T:AO2.HIHI": {}}
    )
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        for name in ("T:AO", "T:MB", "T:AO2.HIHI", "T:LO", "T:ALARM"):
            assert (await client.put_number(await client.open(name), 1)).status == 1
        told = await rehearsed(kernel)
    found = {channel.channel: channel for channel in told.channels}
    assert found["T:AO"].why_not == "restore: false in the limits database"
    assert found["T:MB"].restorable
    assert found["T:MB"].stoppable
    assert found["T:AO2.HIHI"].why_not.startswith("a field")
    assert found["T:LO"].restorable
    assert not found["T:LO"].stoppable


async def test_an_alarm_is_told_in_words(gate: Any, machine: Any) -> None:
    gate.set_limits({})
    await machine.set("T:ALARM", 9)
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        assert (await client.put_number(await client.open("T:ALARM"), 1)).status == 1
        told = await rehearsed(kernel)
    await machine.set("T:ALARM", 0)
    assert told.channels[0].alarm == "MAJOR (HIHI)"


async def test_of_very_many_writes_the_first_are_told_and_all_are_counted(gate: Any) -> None:
    gate.set_limits({})
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        number = MAX_PLANNED_WRITES + 50
        client.send(
            *(
                pack(Command.WRITE, 6, 1, channel.sid, 1, encode(Dbr.DOUBLE, (float(turn),)))
                for turn in range(number)
            )
        )
        assert await client.value(channel, within=30) == number - 1
        told = await rehearsed(kernel)
    assert (len(told.writes), told.left_out) == (MAX_PLANNED_WRITES, 50)
    planned = told.channels[0]
    assert (planned.writes, planned.high, planned.last) == (number, number - 1, number - 1)


async def test_a_report_is_bounded_however_long_the_arrays_are(gate: Any) -> None:
    gate.set_limits({})
    array = encode(Dbr.DOUBLE, tuple(number / 7 for number in range(1000)))
    async with gate.session("rehearse") as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:BIG")
        for _ in range(80):
            client.send(pack(Command.WRITE, 6, 1000, channel.sid, 1, array))
        await client.value(channel, within=30)
        told = await rehearsed(kernel)
    assert len(told.writes) + told.left_out == 80
    assert 10 < len(told.writes) < 80
    assert sum(len(write.model_dump_json()) for write in told.writes) <= REPORT_BYTES


async def test_sessions_that_only_read_still_refuse_a_write(gate: Any, machine: Any) -> None:
    async with untouched(machine), gate.session("read_only") as kernel:
        client = await kernel.circuit()
        refused = await client.put_number(await client.open("T:AO"), 1)
        assert refused.violation == "NOT_ALLOWED"
        assert await rehearsed(kernel) is None


async def test_two_rehearsals_do_not_see_each_other(gate: Any) -> None:
    gate.set_limits({})
    async with gate.session("rehearse") as one, gate.session("rehearse") as two:
        first, second = await one.circuit(), await two.circuit()
        mine, theirs = await first.open("T:AO"), await second.open("T:AO")
        live = await second.value(theirs)
        assert (await first.put_number(mine, live + 5)).status == 1
        assert await second.value(theirs) == live
        await asyncio.sleep(0)
        assert (await rehearsed(two)).channels == []


async def test_writes_of_two_circuits_are_one_order(gate: Any) -> None:
    gate.set_limits({})
    async with gate.session("rehearse") as kernel:
        clients = [await kernel.circuit() for _ in range(3)]
        channels = [await client.open("T:AO2") for client in clients]
        for client, channel in zip(clients, channels, strict=True):
            numbers = [float(100 * channel.cid + turn) for turn in range(20)]
            client.send(
                *(
                    pack(Command.WRITE, 6, 1, channel.sid, 1, encode(Dbr.DOUBLE, (number,)))
                    for number in numbers
                )
            )
        for client, channel in zip(clients, channels, strict=True):
            await client.value(channel)
        told = await rehearsed(kernel)
    assert len(told.writes) == 60
    assert all(one.new == next_.old for one, next_ in itertools.pairwise(told.writes))
    assert told.writes[-1].new == told.channels[0].last
