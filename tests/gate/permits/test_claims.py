"""Claims: who writes a record, holds it; the next one waits, or is told who does."""

import asyncio

import pytest

from gate.permits.claims import Claims
from runpermit.errors import ServiceUnavailableError


async def test_records_of_others_are_held_at_the_same_time() -> None:
    claims = Claims()
    async with claims.hold("a", ["X", "Y.DESC"], 0), claims.hold("b", ["Z"], 0):
        pass


@pytest.mark.parametrize("channels", [["X"], ["Z", "X.DRVH"], ["X.VAL"], ["Y"]])
@pytest.mark.parametrize("execution", ["a", "b"])
async def test_whoever_comes_second_is_told_the_holder(channels: list[str], execution: str) -> None:
    claims = Claims()
    async with claims.hold("a", ["X", "Y.DESC"], 0):
        with pytest.raises(ServiceUnavailableError, match=r"execution a, .* 0\.05 s") as refused:
            async with claims.hold(execution, channels, 0.05):
                pass
        assert refused.value.technical_details["holder"] == "a"
    async with claims.hold(execution, channels, 0):
        pass


async def test_it_waits_until_all_are_free_and_holds_none_meanwhile() -> None:
    claims, held = Claims(), asyncio.Event()

    async def second() -> None:
        async with claims.hold("b", ["X", "Z"], 5):
            held.set()

    async with claims.hold("a", ["X"], 0):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0.02)
        async with claims.hold("c", ["Z"], 0):
            assert not held.is_set()
    await asyncio.wait_for(waiting, 30)


async def test_who_gives_up_waiting_holds_nothing() -> None:
    claims = Claims()
    async with claims.hold("a", ["X"], 0):
        waiting = asyncio.create_task(claims.hold("b", ["X"], 5).__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait({waiting})
    async with claims.hold("c", ["X"], 0):
        pass
