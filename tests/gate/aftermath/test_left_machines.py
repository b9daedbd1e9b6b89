"""What is listed as MACHINE LEFT CHANGED when nobody is left to ask, and for how long."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gate.aftermath.left_machines import LeftMachines
from gate.journal.journal import Journal
from gate.permits.index import PermitIndex
from runpermit.gate_control import ask
from runpermit.models import LeftMachine
from tests.gate.giving_permits import planned
from tests.gate.punctual import Span, in_time

pytestmark = pytest.mark.parts
TWO = planned([("T:AO", 1.0), ("T:AO2", 2.0)])


@pytest.fixture
def gate(machine: Any, start_gate: Any) -> Iterator[Any]:
    with start_gate(machine, serve=False, enforced=True) as gate:
        yield gate


@pytest.fixture(autouse=True)
async def at_rest(machine: Any) -> None:
    for name in ("T:AO", "T:AO2"):
        await machine.set(name, 0)


def left(gate: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = ask(gate.control, {"do": "status"})["left"]
    return listed


@asynccontextmanager
async def applied(gate: Any, *numbers: float, **more: Any) -> AsyncIterator[Any]:
    """A session that wrote these numbers to T:AO, still open."""
    plan = planned([("T:AO", number) for number in numbers] or [("T:AO", 1.0)])
    async with gate.session(plan=plan, **more) as kernel:
        if numbers:
            client = await kernel.circuit()
            channel = await client.open("T:AO")
            for number in numbers:
                assert (await client.put_number(channel, number)).status == 1
        yield kernel


async def until_listed(gate: Any) -> list[dict[str, Any]]:
    async with asyncio.timeout(30):
        while not (found := left(gate)):  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0.02)
    return found


@pytest.mark.alone
async def test_what_was_written_before_the_worker_was_gone_is_listed_within_a_second(
    gate: Any, machine: Any
) -> None:
    async def listing() -> Span:
        for name in ("T:AO", "T:AO2"):
            await machine.set(name, 0)
        async with gate.session(plan=TWO) as kernel:
            client = await kernel.circuit()
            for name, number in (("T:AO", 1.0), ("T:AO2", 2.0)):
                assert (await client.put_number(await client.open(name), number)).status == 1
            assert left(gate) == []  # it goes on
            gone = time.monotonic()
        (listed,) = await until_listed(gate)
        at = time.monotonic()
        closed = await gate.journalled("session_closed", permit=listed["permit"])
        assert listed == {
            "execution": "e", "first_run_id": "r", "permit": closed["permit"], "at": closed["at"],
            "channels": ["T:AO", "T:AO2"],
        }  # fmt: skip
        assert await gate.client.leave("e", "jd")
        return gone, at

    with gate.serving():
        await in_time(listing, 1)


@pytest.mark.parametrize("killed", [False, True])
async def test_it_is_listed_over_a_restart_also_of_a_gate_that_was_killed_meanwhile(
    gate: Any, *, killed: bool
) -> None:
    with gate.serving():
        async with applied(gate, 1.0):
            if killed:
                gate.running.kill()
    with gate.serving():
        (listed,) = left(gate)
        assert (listed["execution"], listed["channels"]) == ("e", ["T:AO"])
        assert await gate.client.leave("e", "jd")
    with gate.serving():
        assert left(gate) == []


async def test_what_came_to_its_end_or_wrote_nothing_is_not_listed(gate: Any) -> None:
    with gate.serving():
        async with applied(gate, 1.0, execution="completed") as kernel:
            await kernel.session.close(completed=True)
        async with applied(gate, execution="nothing") as kernel:
            await kernel.session.close()
        assert left(gate) == []
    with gate.serving():
        assert left(gate) == []


async def test_what_read_as_before_in_the_end_is_not_listed(gate: Any) -> None:
    with gate.serving():
        async with applied(gate, 1.0, 0.0) as kernel:
            await kernel.session.close()
        assert left(gate) == []


async def test_an_uncertain_write_is_listed_whatever_was_read(gate: Any) -> None:
    with gate.serving():
        permit = await gate.permit(planned([("T:AO", 0.0)]))
        async with gate.session(permit=permit) as kernel:
            client = await kernel.circuit()
            channel = await client.open("T:AO")
            assert (await client.put_number(channel, 0.0)).status == 1
            await gate.journalled("confirmed")
            gate.running.kill()
    (file,) = gate.journal_folder.glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    assert b'"event": "confirmed"' in lines[-1]
    file.write_bytes(b"".join(lines[:-1]))
    with gate.serving():
        assert [one["channels"] for one in left(gate)] == [["T:AO"]]


async def test_a_later_permit_that_came_to_its_end_takes_it_off_and_one_without_writes_does_not(
    gate: Any,
) -> None:
    with gate.serving():
        async with applied(gate, 1.0) as kernel:
            await kernel.session.close()
        async with applied(gate) as kernel:
            await kernel.session.close(completed=True)
        assert len(left(gate)) == 1
        plan = planned([("T:AO", 2.0)], live={"T:AO": 1.0})
        async with gate.session(plan=plan) as kernel:
            client = await kernel.circuit()
            assert (await client.put_number(await client.open("T:AO"), 2.0)).status == 1
            await kernel.session.close(completed=True)
        assert left(gate) == []


async def test_a_complete_restore_takes_it_off_and_another_hand_leaves_it(
    gate: Any, machine: Any
) -> None:
    with gate.serving():
        async with applied(gate, 1.0) as kernel:
            await kernel.session.close()
        await machine.set("T:AO", 5)
        assert not (await gate.client.restore("e", "jd")).complete
        assert len(left(gate)) == 1
        await machine.set("T:AO", 1)
        assert (await gate.client.restore("e", "jd")).complete
        assert left(gate) == []
        assert not await gate.client.leave("e", "jd")
    with gate.serving():
        assert left(gate) == []


async def test_who_left_it_alone_is_in_the_journal(gate: Any) -> None:
    with gate.serving():
        async with applied(gate, 1.0) as kernel:
            await kernel.session.close()
        assert await gate.client.leave("e", "j\nd")
        assert left(gate) == []
        record = await gate.journalled("left_alone", execution="e")
        assert record["operator"] == "j d"
        with pytest.raises(ValueError, match="`execution` is missing"):
            ask(gate.control, {"do": "leave"})


async def test_a_gate_that_was_killed_before_anything_was_written_lists_nothing(gate: Any) -> None:
    with gate.serving():
        async with applied(gate):
            gate.running.kill()
    with gate.serving():
        assert left(gate) == []


async def told(folder: Path) -> list[LeftMachine]:
    """What a gate lists that finds 30 channels written in its journal."""
    journal = Journal.open(folder)
    identity = {"execution": "e", "permit": "p", "session": "apply-1"}
    await journal.write("permit_consumed", **identity, first_run_id="r")
    for number in range(30):
        seq = journal.note("write", **identity, channel=f"C{number:02}", old=0, new=1)
        journal.note("confirmed", permit="p", of=seq, outcome="confirmed", read_back=1)
    await journal.write("session_closed", **identity, forwarded=30, completed=False)
    machines = LeftMachines(journal, PermitIndex.scan(folder))
    await machines.look_at_all()
    await journal.close()
    return machines.listed


async def test_at_most_twenty_channels_are_named(tmp_path: Path) -> None:
    (listed,) = await told(tmp_path)
    assert listed.channels == [f"C{number:02}" for number in range(20)]


async def test_where_the_journal_does_not_tell_the_execution_is_listed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> NoReturn:
        raise ValueError("a record of the permit is malformed")

    monkeypatch.setattr(PermitIndex, "story", unreadable)
    (listed,) = await told(tmp_path)
    assert (listed.execution, listed.permit, listed.channels) == ("e", "p", [])
