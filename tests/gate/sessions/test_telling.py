"""What a worker is told of writes while its program goes on: soon, seldom, and in whole lines."""

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from gate.messages import LAST_WRITES, WriteOutcome, WriteRecord, WritesSoFar
from gate.sessions.reporting import Reporting
from gate.sessions.telling import Telling
from tests.gate.giving_permits import declared, planned


async def told(session: Any, count: int) -> WritesSoFar:
    """What the session was told, once it knows what became of `count` writes."""
    async with asyncio.timeout(20):
        while session.wrote is None or session.wrote.known < count:  # noqa: ASYNC110  (of the gate)
            await asyncio.sleep(0.02)
    wrote: WritesSoFar = session.wrote
    return wrote


async def test_a_worker_hears_of_writes_while_the_session_is_open(gate: Any, machine: Any) -> None:
    gate.set_limits({"T:AO": {"max_value": 10}})
    await machine.set("T:AO", 0)
    plan = planned([("T:AO", 1), ("T:AO", 2), ("T:AO", 3)])
    async with gate.session(plan=plan) as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        assert kernel.session.wrote is None
        for number in (1, 2):
            await client.put_number(channel, number)
        wrote = await told(kernel.session, 2)
        assert (wrote.forwarded, wrote.planned, wrote.outcomes) == (2, 3, {"confirmed": 2})
        last = [(write.channel, write.old, write.new, write.outcome) for write in wrote.last]
        assert last == [("T:AO", 0.0, 1.0, "confirmed"), ("T:AO", 1.0, 2.0, "confirmed")]
        await client.put_number(channel, 11)
        await asyncio.wait_for(asyncio.shield(kernel.session.refused), 30)
        await client.put_number(channel, 3)
        assert (await told(kernel.session, 3)).last[-1].new == 3.0
        assert not kernel.session.lost.done()


async def test_of_a_declared_plan_nobody_knows_how_many_writes_there_will_be(gate: Any) -> None:
    async with gate.session(plan=declared("T:AO", 0, 0, 5, 100)) as kernel:
        client = await kernel.circuit()
        await client.put_number(await client.open("T:AO"), 1)
        assert (await told(kernel.session, 1)).planned == 0


def test_of_thousands_the_last_ones_are_told_and_long_values_are_short() -> None:
    reporting = Reporting("s")
    for number in range(3000):
        outcome = WriteOutcome.DIFFERS if number % 3 == 0 else WriteOutcome.CONFIRMED
        reporting.wrote(
            WriteRecord(channel="A", old="x" * 5000, new=[number] * 500, outcome=outcome)
        )
    wrote = reporting.so_far(3001, 4000)
    assert (wrote.forwarded, wrote.planned) == (3001, 4000)
    assert wrote.outcomes == {"confirmed": 2000, "differs": 1000}
    assert len(wrote.last) == LAST_WRITES
    assert len(wrote.model_dump_json()) < 4000


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A worker's connection, both ends; what is left unread fills it soon."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.settimeout(0)
        theirs.settimeout(0)
        yield ours, theirs


async def until_closed(end: socket.socket) -> list[dict[str, Any]]:
    said = b""
    while more := await asyncio.get_running_loop().sock_recv(end, 65536):
        said += more
    return [json.loads(line) for line in said.splitlines()]


async def test_ten_thousand_writes_at_once_are_one_line(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    telling = Telling(ours)
    reporting = Reporting("s")
    for number in range(10_000):
        record = WriteRecord(channel="A", new=number, outcome=WriteOutcome.CONFIRMED)
        reporting.wrote(record)
        telling.wrote(lambda: reporting.so_far(10_000, 0))
    said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(theirs, 65536), 30)
    [line] = said.splitlines()
    assert json.loads(line)["wrote"]["outcomes"] == {"confirmed": 10_000}
    await telling.end()


async def test_a_worker_that_did_not_listen_finds_whole_lines_in_order_and_no_heap(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.sessions.telling.WRITES_SECONDS", 0.001)
    ours, theirs = pair
    telling = Telling(ours)
    telling.say({"session": "x" * 100_000})
    for _ in range(20):
        telling.wrote(lambda: WritesSoFar(forwarded=1))
        await asyncio.sleep(0.002)
    telling.say({"refused": {}})
    telling.say({"closed": {}})
    ending = asyncio.create_task(telling.end())
    reading = asyncio.create_task(until_closed(theirs))
    await asyncio.wait_for(ending, 30)
    ours.close()
    assert [list(said) for said in await reading] == [["session"], ["refused"], ["closed"]]


async def test_what_is_told_ends_with_a_worker_that_is_gone(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    telling = Telling(ours)
    telling.say({"session": "x" * 100_000})
    telling.say({"closed": {}})
    theirs.close()
    await asyncio.wait_for(telling.end(), 30)
