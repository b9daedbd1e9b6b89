"""Guards: seen at once, latched, and never permitting what they can't see.

The deadlines are the design's, times three: 100 ms for a change, 1.5 s for an IOC that freezes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from demo.stack import free_port
from gate.channel_access.directory import Directory
from gate.channel_access.watched_channel import WatchedIocs
from gate.policy.guards import Guards
from runpermit.limits import Condition
from tests.gate.punctual import Span, in_time

CHANGE_SECONDS = 3 * 0.1
FREEZE_SECONDS = 3 * 1.5


@contextmanager
def watching(*ports: int) -> Iterator[WatchedIocs]:
    directory = Directory([f"127.0.0.1:{port}" for port in ports], [])
    try:
        yield WatchedIocs(directory)
    finally:
        directory.close()


def condition(channel: str, op: str, value: str | float) -> Condition:
    return Condition.model_validate({"channel": channel, "op": op, "value": value})


@asynccontextmanager
async def guarding(iocs: WatchedIocs, *conditions: Condition) -> AsyncIterator[Guards]:
    guards = await Guards.open(conditions, iocs)
    try:
        yield guards
    finally:
        await guards.close()


async def violated(guards: Guards) -> str:
    """The reason that is told unasked."""
    return await asyncio.wait_for(asyncio.shield(guards.violated), 30)


async def test_without_guards_nothing_is_refused() -> None:
    with watching() as iocs:
        async with guarding(iocs) as guards:
            assert guards.refusal() is None


@pytest.mark.alone
async def test_one_that_holds_permits_until_it_is_violated_and_never_again(machine: Any) -> None:
    mode = condition("T:MODE", "==", "User")

    async def change() -> Span:
        await machine.set("T:AO", 1)
        async with guarding(iocs, mode, condition("T:AO", "<", 5)) as guards:
            assert guards.refusal() is None
            await machine.set("T:AO", 7)
            at = time.monotonic()
            why = await violated(guards)
            told = time.monotonic()
            assert why == "The guard T:AO < 5 does not hold: it reads 7."
            await machine.set("T:AO", 1)
            assert guards.refusal() == why
        return at, told

    with watching(machine.port) as iocs:
        await in_time(change, CHANGE_SECONDS)
        async with guarding(iocs, mode) as again:
            assert again.refusal() is None


async def test_one_that_is_violated_from_the_start_never_permits(machine: Any) -> None:
    await machine.set("T:MODE", 2)
    with watching(machine.port) as iocs:
        async with guarding(iocs, condition("T:MODE", "!=", "User")) as guards:
            assert guards.refusal() == (
                "The guard T:MODE != 'User' does not hold: it reads 2 (User)."
            )
            assert guards.violated.done()


async def test_one_that_nobody_has_never_permits() -> None:
    with watching(free_port()) as iocs:
        async with guarding(iocs, condition("T:NONE", "==", 1)) as guards:
            assert guards.refusal() == ("The guard T:NONE == 1 can't be judged: no IOC has T:NONE.")


async def test_one_that_was_never_set_never_permits(machine: Any) -> None:
    with watching(machine.port) as iocs:
        async with guarding(iocs, condition("T:LI", "==", 0)) as guards:
            assert "INVALID" in (guards.refusal() or "")


async def test_an_alarm_that_becomes_invalid_counts_as_violated(machine: Any) -> None:
    with watching(machine.port) as iocs:
        await machine.set("T:ALARM", 1)
        async with guarding(iocs, condition("T:ALARM", "<", 100)) as guards:
            assert guards.refusal() is None
            await machine.set("T:ALARM.HHSV", 3)
            await machine.set("T:ALARM", 9)
            assert "INVALID" in await violated(guards)
            await machine.set("T:ALARM.HHSV", 2)


async def test_after_the_end_nothing_is_permitted(machine: Any) -> None:
    with watching(machine.port) as iocs:
        guards = await Guards.open([condition("T:PERMIT", "==", 1)], iocs)
        assert guards.refusal() is None
        await guards.close()
        assert guards.refusal() == "The guards are no longer watched."


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("disturb", ["freeze", "kill"])
async def test_an_ioc_that_freezes_or_dies_violates_its_guards_in_time(
    start_ioc: Any, disturb: str
) -> None:
    async def silence() -> Span:
        with start_ioc("--prefix", "G:") as ioc, watching(ioc.port) as iocs:
            async with guarding(iocs, condition("G:PERMIT", "==", "yes")) as guards:
                assert guards.refusal() is None
                getattr(ioc, disturb)()
                at = time.monotonic()
                why = await violated(guards)
                told = time.monotonic()
                assert why.startswith("The guard G:PERMIT == 'yes' can't be judged: ")
                ioc.thaw()
                assert guards.refusal() == why
        return at, told

    await in_time(silence, FREEZE_SECONDS)


async def test_guards_of_one_ioc_share_a_circuit(machine: Any) -> None:
    with watching(machine.port) as iocs:
        async with (
            guarding(iocs, condition("T:PERMIT", "==", 1), condition("T:MODE", "==", 2)) as one,
            guarding(iocs, condition("T:PERMIT", "==", 1)) as other,
        ):
            assert one.refusal() is None
            assert other.refusal() is None
            (ioc,) = iocs._iocs.values()
            assert ioc.users == 3
        assert ioc.circuit.closed
        assert iocs._iocs == {}
