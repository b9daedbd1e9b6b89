"""Work that is begun before its task has a turn."""

import asyncio

import pytest

from gate.eager import begin


class Work:
    """Waits twice, and notes how far it came."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.waits = [loop.create_future(), loop.create_future()]
        self.story: list[object] = []

    async def run(self) -> None:
        self.story.append("begun")
        try:
            for wait in self.waits:
                self.story.append(await wait)
        except (asyncio.CancelledError, LookupError) as error:
            self.story.append(type(error))
            raise
        finally:
            self.story.append("ended")


async def test_it_is_done_at_once_up_to_where_it_waits_and_a_task_does_the_rest() -> None:
    work = Work()
    task = begin(work.run())
    assert work.story == ["begun"]
    assert task is not None
    for number, wait in enumerate(work.waits):
        wait.set_result(number)
    await task
    assert work.story == ["begun", 0, 1, "ended"]


async def test_what_never_waits_needs_no_task() -> None:
    work = Work()
    work.waits.clear()
    assert begin(work.run()) is None
    assert work.story == ["begun", "ended"]


async def test_what_it_raises_comes_from_where_it_had_come_to() -> None:
    async def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        begin(fails())
    work = Work()
    task = begin(work.run())
    assert task is not None
    work.waits[0].set_exception(LookupError())
    with pytest.raises(LookupError):
        await task
    assert work.story == ["begun", LookupError, "ended"]


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_a_cancellation_reaches_it_wherever_it_waits(turns: int) -> None:
    work = Work()
    task = begin(work.run())
    assert task is not None
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.story == ["begun", asyncio.CancelledError, "ended"]
