"""What is otherwise in a rehearsal: waits after the first write, and what the host is told."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.stack import free_port
from kernels.interface import RunOutcome
from kernels.live import LiveKernel
from runpermit.errors import CodeRuntimeError, ExecutionTimeoutError
from runpermit.models.plan import Declaration

Rehearse = Callable[..., Awaitable[RunOutcome]]
ROOT = Path(__file__).parents[2]

# A readback that never follows.
SETTLE = """
sleeps, t0 = 0, time.{clock}()
while abs(read_channel("T:AI") - 7) > 0.1 and time.{clock}() - t0 < 10:
    {sleep}(0.1)
    sleeps += 1
results = {{"sleeps": sleeps, "lasted": time.{clock}() - t0}}
"""
PLAN = 'plan("T:AO", -1, 2.5, 40)\n'
DECLARED = (Declaration(channel="T:AO", low=-1, high=2.5, max_writes=40),)


@pytest.fixture(scope="module")
def ioc() -> Iterator[int]:
    """The port of a soft IOC."""
    port = free_port()
    command = ("-m", "tests.gate.soft_ioc", "--port", str(port), "--until-eof")
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield port
        process.kill()


async def _pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):  # programs here are killed in the middle
        while piece := await source.read(64 * 1024):
            target.write(piece)
    target.close()


@pytest.fixture
async def connect(ioc: int) -> AsyncIterator[Callable[[LiveKernel], None]]:
    """Lead the circuits of a kernel to the IOC, with no gate between."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(kernel: LiveKernel) -> None:
        loop = asyncio.get_running_loop()
        kernel.listener.settimeout(0)
        while True:
            accepted, _ = await loop.sock_accept(kernel.listener)
            inside = await asyncio.open_connection(sock=accepted)
            outside = await asyncio.open_connection("127.0.0.1", ioc)
            for source, target in ((inside[0], outside[1]), (outside[0], inside[1])):
                tasks.add(asyncio.create_task(_pipe(source, target)))

    yield lambda kernel: tasks.add(asyncio.create_task(serve(kernel)))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def rehearse(run_program: Rehearse, connect: Callable[[LiveKernel], None]) -> Rehearse:
    async def run(code: str, **values: Any) -> RunOutcome:
        return await run_program(code, **{"begun": connect, "rehearse": True} | values)

    return run


@pytest.mark.parametrize("isolation", ["full", "none"])
async def test_a_settle_loop_after_a_write_takes_no_time_and_meets_its_deadline(
    rehearse: Rehearse,
) -> None:
    outcome = await rehearse(
        "import time\nwrite_channel('T:AO', 1)\n"
        + SETTLE.format(clock="time", sleep="time.sleep")
        + "write_channel('T:AO', 2)"
    )
    assert outcome.error is None, outcome.error
    assert outcome.results is not None
    assert outcome.results["sleeps"] <= 101
    assert 10 <= outcome.results["lasted"] <= 10.2 + outcome.execution_time
    assert outcome.execution_time < 8
    first, second = outcome.waits
    assert first == 0
    assert 8 < second < 10


@pytest.mark.parametrize(
    "imports",
    [
        "import time\nfrom time import monotonic as clock, sleep",
        "import time\nfrom time import perf_counter as clock\nimport asyncio\n"
        "from asyncio import sleep",
        "import time\nclock = lambda: time.time_ns() / 1e9\nfrom time import sleep",
    ],
    ids=["names", "asyncio", "nanoseconds"],
)
async def test_waits_are_cut_by_whatever_name(rehearse: Rehearse, imports: str) -> None:
    wait = "await sleep" if "asyncio" in imports else "sleep"
    outcome = await rehearse(
        f"{imports}\nwrite_channel('T:AO', 1)\nt0 = clock()\n"
        f"for _ in range(20): {wait}(1)\nresults = {{'lasted': clock() - t0}}"
    )
    assert outcome.error is None, outcome.error
    assert outcome.results is not None
    assert 20 <= outcome.results["lasted"] < 20.2 + outcome.execution_time
    assert outcome.execution_time < 15


async def test_waits_before_the_first_write_take_their_time(rehearse: Rehearse) -> None:
    outcome = await rehearse(
        "import time\nplan('T:AO', 0, 1, 1)\nread_channel('T:AO')\n"
        "time.sleep(1)\nwrite_channel('T:AO', 1)\nresults = {}"
    )
    assert outcome.error is None, outcome.error
    assert outcome.execution_time >= 1
    assert outcome.waits == (0.0,)


async def test_outside_of_a_rehearsal_nothing_is_cut_and_nothing_is_told(
    rehearse: Rehearse,
) -> None:
    outcome = await rehearse(
        f"import asyncio, time\n{PLAN}write_channel('T:AO', 1)\ntime.sleep(0.6)\n"
        "await asyncio.sleep(0.6)\n"
        "results = {'real': [type(f).__name__ for f in (time.sleep, time.time, time.monotonic)]}",
        rehearse=False,
    )
    assert outcome.error is None, outcome.error
    assert outcome.results == {"real": ["builtin_function_or_method"] * 3}
    assert outcome.execution_time >= 1.2
    assert outcome.waits == ()
    assert outcome.declared == ()


async def test_who_waits_at_the_same_time_waits_once_and_wakes_in_turn(
    rehearse: Rehearse,
) -> None:
    outcome = await rehearse(
        "import asyncio, time\nwrite_channel('T:AO', 1)\nt0 = time.monotonic()\nwoken = []\n"
        "async def pace(seconds, rounds):\n    for _ in range(rounds):\n"
        "        await asyncio.sleep(seconds)\n        woken.append(seconds)\n"
        "await asyncio.gather(pace(35, 2), pace(10, 6), pace(10, 6))\n"
        "results = {'lasted': time.monotonic() - t0, 'woken': woken}"
    )
    assert outcome.results is not None, outcome.error
    assert outcome.results["woken"] == [10] * 6 + [35] + [10] * 6 + [35]
    assert 70 <= outcome.results["lasted"] < 70.2 + outcome.execution_time
    assert outcome.waited == pytest.approx(70, abs=outcome.execution_time + 0.2)


async def test_a_thread_that_sleeps_beside_the_program_does_not_run_away_with_its_clock(
    rehearse: Rehearse,
) -> None:
    outcome = await rehearse(
        "import threading, time\nwrite_channel('T:AO', 1)\nrounds = []\n"
        "def beat():\n    while True:\n        time.sleep(0.1)\n        rounds.append(1)\n"
        "threading.Thread(target=beat, daemon=True).start()\nt0 = time.time()\n"
        "threading.Event().wait(1)\nresults = {'lasted': time.time() - t0, 'rounds': len(rounds)}"
    )
    assert outcome.results is not None, outcome.error
    assert 1 <= outcome.results["lasted"] < 1.2 + outcome.execution_time
    assert 1 <= outcome.results["rounds"] <= 10


async def test_what_cannot_be_slept_is_refused_as_always(rehearse: Rehearse) -> None:
    outcome = await rehearse(
        "import time\nwrite_channel('T:AO', 1)\nresults = {}\n"
        "for bad in (-1, float('nan'), float('inf'), '1', None):\n"
        "    try:\n        time.sleep(bad)\n"
        "    except Exception as error:\n        results[str(bad)] = type(error).__name__"
    )
    assert outcome.results == {
        "-1": "ValueError",
        "nan": "ValueError",
        "inf": "OverflowError",
        "1": "TypeError",
        "None": "TypeError",
    }


async def test_pyepics_keeps_real_time_while_the_program_runs_ahead(rehearse: Rehearse) -> None:
    """The record answers after a second; meanwhile the program sleeps for hours."""
    outcome = await rehearse(
        "import threading, time\nimport epics\n"
        "write_channels({'T:SEQ.LNK1': 'T:AO2', 'T:SEQ.DLY1': 1})\nresults = {}\n"
        "def write():\n    epics.ca.use_initial_context()\n"
        "    write_channel('T:SEQ.PROC', 1)\n    results['answered'] = True\n"
        "writer = threading.Thread(target=write)\nwriter.start()\n"
        "while writer.is_alive(): time.sleep(60)"
    )
    assert outcome.error is None, outcome.error
    assert outcome.results == {"answered": True}
    assert outcome.execution_time >= 1
    assert outcome.waits[-1] > 3600


async def test_each_put_that_was_not_refused_tells_what_was_waited_before_it(
    rehearse: Rehearse,
) -> None:
    outcome = await rehearse(
        "import time\nfrom epics import caput, PV\n"
        "write_channel('T:AO', 1)\ntime.sleep(1)\ncaput('T:AO', 2)\n"
        "try:\n    write_channel('T:NOWRITE', 1)\nexcept Exception as error: print(error)\n"
        "time.sleep(2)\nPV('T:AO').put(3)\nwrite_channels({'T:AO': 4, 'T:AO2': 5})\n1 / 0"
    )
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "T:NOWRITE" in outcome.stdout
    assert outcome.waits == pytest.approx([0, 1, 3, 3, 3], abs=0.05)


@pytest.mark.parametrize("isolation", ["full", "none"])
@pytest.mark.parametrize(
    "ending",
    [
        "1 / 0",
        "import os; os._exit(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        pytest.param("while True: pass", marks=pytest.mark.slow),
        pytest.param("import time\nwhile True:\n    time.sleep(0.1)", marks=pytest.mark.slow),
    ],
    ids=["exception", "exit", "killed", "hangs", "settles never"],
)
async def test_what_was_declared_and_waited_arrives_however_the_program_ends(
    rehearse: Rehearse, ending: str
) -> None:
    outcome = await rehearse(f"write_channel('T:AO', 1)\n{PLAN}{ending}", timeout=2)
    assert isinstance(outcome.error, CodeRuntimeError | ExecutionTimeoutError)
    assert outcome.declared == DECLARED
    assert outcome.waits == (0.0,)


async def test_the_last_declaration_of_a_channel_counts(rehearse: Rehearse) -> None:
    outcome = await rehearse("plan('T:AO', 5, 6, 1)\nplan('B', 0, 1, 2)\n" + PLAN + "results = {}")
    assert outcome.error is None, outcome.error
    assert outcome.declared == (
        *DECLARED,
        Declaration(channel="B", low=0, high=1, max_writes=2),
    )


@pytest.mark.parametrize("rehearsing", [True, False])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("1, 0, 1, 1", "TypeError: plan: channel must be text, not int"),
        ("'', 0, 1, 1", "ValueError: plan: channel must be the name of a channel"),
        ("'A', 2, 1, 1", "ValueError: plan: A: low = 2 is above high = 1"),
        ("'A', 0, 1, 100_001", "ValueError: plan: A: max_writes must be from 1 to 100000"),
        ("'A', 0, 1", "missing 1 required positional argument: 'max_writes'"),
    ],
)
async def test_a_declaration_that_nobody_can_approve_is_an_error_in_every_mode(
    run_program: Rehearse, arguments: str, said: str, *, rehearsing: bool
) -> None:
    outcome = await run_program(f"results = {{}}\nplan({arguments})", rehearse=rehearsing)
    assert isinstance(outcome.error, CodeRuntimeError)
    assert said in outcome.error.message
    assert outcome.declared == ()


async def test_more_than_a_hundred_declarations_are_an_error(run_program: Rehearse) -> None:
    code = "results = {}\nfor n in range(101):\n    for _ in range(3): plan(f'A{n}', 0, 1, 1)"
    outcome = await run_program(code, rehearse=True)
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "100 declarations are the most" in outcome.error.message
    assert len(outcome.declared) == 100


async def test_forged_words_are_judged_and_bounded_on_the_host(run_program: Rehearse) -> None:
    outcome = await run_program(
        "tell = get_ipython().kernel.handover.tell\n"
        "for n in range(150):\n"
        "    tell({'declared': dict(channel=f'A{n}', low=0, high=1, max_writes=1)})\n"
        "tell({'declared': dict(channel='X', low=2, high=1, max_writes=1)})\n"
        "tell({'waited': -1.0})\ntell({'waited': 2.5})\ntell({'waited': 'x' * 10**5})\n"
        "results = {}",
        rehearse=True,
    )
    assert outcome.error is None, outcome.error
    assert [declared.channel for declared in outcome.declared] == [f"A{n}" for n in range(100)]
    assert outcome.waits == (2.5,)


@pytest.mark.slow
async def test_a_kernel_that_tells_without_end_holds_up_only_itself(run_program: Rehearse) -> None:
    outcome = await run_program(
        "tell = get_ipython().kernel.handover.tell\nwhile True: tell({'waited': 1.0})",
        rehearse=True,
        timeout=3,
    )
    assert isinstance(outcome.error, ExecutionTimeoutError)
    assert len(outcome.waits) == 10_000
