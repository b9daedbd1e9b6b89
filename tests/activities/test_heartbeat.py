import asyncio
import gc
from itertools import pairwise

import pytest
from temporalio.testing import ActivityEnvironment

from activities.heartbeat import StdoutTail, heartbeating
from runpermit.models import RunProgress


async def beats(tail: StdoutTail | None, seconds: float) -> list[RunProgress]:
    environment = ActivityEnvironment()
    told: list[RunProgress] = []
    environment.on_heartbeat = told.append

    async def step() -> None:
        async with heartbeating(tail):
            await asyncio.sleep(seconds)
        await asyncio.sleep(0.6)

    await environment.run(step)
    return told


@pytest.mark.alone
async def test_a_step_tells_every_half_second_that_it_lives_and_stops_with_its_end() -> None:
    told = await beats(None, 1.75)
    assert 2 <= len(told) <= 4
    assert all(later.elapsed - one.elapsed >= 0.4 for one, later in pairwise(told))
    assert told[-1].elapsed <= 1.75
    assert told[0].stdout_tail == ""


async def test_the_beat_ends_with_a_step_that_fails() -> None:
    environment = ActivityEnvironment()
    told: list[RunProgress] = []
    environment.on_heartbeat = told.append

    async def fail() -> None:
        async with heartbeating():
            await asyncio.sleep(0)
            _ = 1 / 0

    async def step() -> None:
        with pytest.raises(ZeroDivisionError):
            await fail()
        await asyncio.sleep(0.6)

    await environment.run(step)
    gc.collect()  # an exception that nobody fetched would warn here
    assert len(told) <= 1


async def test_the_end_of_the_output_travels_along() -> None:
    tail = StdoutTail()
    tail.add("one\n")
    tail.add("two\n")
    told = await beats(tail, 0.1)
    assert told[0].stdout_tail == "one\ntwo\n"


def test_of_long_output_the_end_is_kept() -> None:
    tail = StdoutTail()
    for _ in range(10):
        tail.add("x" * 3000)
    tail.add("end")
    assert len(tail.text) == 4000
    assert tail.text.endswith("xend")


def test_characters_that_would_act_on_a_terminal_are_shown_as_escapes() -> None:
    tail = StdoutTail()
    tail.add("\x1b[31mred\u202e\ud800\n")
    assert tail.text == "\\x1b[31mred\\u202e\\ud800\n"
    assert RunProgress(elapsed=0, stdout_tail=tail.text).model_dump_json()
