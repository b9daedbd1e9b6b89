"""The scorecard's programs: each does its harm in a plain kernel, and none in ours.

Those that take long run in `make soak`; `make scorecard` runs all and prints a table.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.security.catalogue import PROGRAMS, Program
from tests.security.scorecard import Range, Score, judged_here, shooting_range

pytestmark = [pytest.mark.parts, pytest.mark.slow]


@pytest.fixture(scope="module")
def score() -> Iterator[Callable[[Program], Score]]:
    """Runs a program in both kernels, whose labs stand as long as the module's tests run."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    context = shooting_range()
    here: Range = wait(context.__aenter__())
    yield lambda program: wait(here.score(program))
    left = wait(here.ours.innocent())
    wait(context.__aexit__(None, None, None))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    assert not left


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(program, id=program.identity, marks=[pytest.mark.soak] * program.slow)
        for program in PROGRAMS
        if judged_here(program)
    ],
)
def test_harmful_without_protection_and_contained_by_ours(
    program: Program, score: Callable[[Program], Score]
) -> None:
    scored = score(program)
    assert scored.effective, scored
    assert scored.contained, scored


def test_there_are_enough_of_them() -> None:
    assert len(PROGRAMS) >= 60
    assert len({program.identity for program in PROGRAMS}) == len(PROGRAMS)
    assert all(program.route for program in PROGRAMS)
