"""How programs start and end in any kernel, sandboxed or plain."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kernels.interface import RunOutcome
from runpermit.errors import CodeRuntimeError, ExecutionTimeoutError

RunProgram = Callable[..., Awaitable[RunOutcome]]
PREFIXES = ("EPICS_CA_", "JUPYTER_", "JPY_", "PYDEVD_")


@pytest.fixture(params=["full", "none"])
def isolation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_program_leaves_results_and_output(run_program: RunProgram, work: Path) -> None:
    pieces: list[str] = []
    outcome = await run_program(
        "print('hello')\nresults = {'a': 1, 'nan': float('nan')}", on_stdout=pieces.append
    )
    assert outcome.error is None
    assert outcome.stdout == "hello\n" == "".join(pieces)
    assert outcome.results == {"a": 1, "nan": {"_type": "float", "value": "nan"}}
    assert outcome.figures == ()
    assert outcome.left_out == ()
    assert 0 < outcome.execution_time < 30
    assert list(work.glob("*")) == []  # noqa: ASYNC240


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    ],
    ids=["swallows interrupts", "ignores the signal"],
)
async def test_an_endless_program_times_out(run_program: RunProgram, code: str) -> None:
    async with asyncio.timeout(15):
        outcome = await run_program(f"print('begun')\nresults = {{}}\n{code}", timeout=1)
    assert isinstance(outcome.error, ExecutionTimeoutError)
    assert outcome.error.timeout_seconds == 1
    assert outcome.stdout == "begun\n"
    assert outcome.results is None


async def test_a_timeout_interrupts_so_that_the_program_can_clean_up(
    run_program: RunProgram,
) -> None:
    outcome = await run_program(
        "import time\nresults = {}\ntry:\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('cleaned')",
        timeout=0.5,
    )
    assert isinstance(outcome.error, ExecutionTimeoutError)
    assert outcome.stdout == "cleaned\n"


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("os._exit(0)", "exit status 0"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("open('.results.json', 'w').write('{}'); os._exit(0)", "exit status 0"),
    ],
)
async def test_a_kernel_that_ends_while_the_code_runs_is_never_a_success(
    run_program: RunProgram, code: str, how: str
) -> None:
    outcome = await run_program(f"import os, signal\nresults = {{'a': 1}}\n{code}")
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "kernel process ended" in outcome.error.message
    assert how in outcome.error.message
    assert outcome.results is None


async def test_children_of_a_program_end_with_it(
    run_program: RunProgram, processes: Callable[[], set[int]]
) -> None:
    before = processes()
    outcome = await run_program(
        "import subprocess\nsubprocess.Popen(['sleep', '600'])\nresults = {}"
    )
    assert outcome.error is None
    assert processes() == before


async def test_no_variable_of_the_worker_reaches_the_code(
    run_program: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    outcome = await run_program(
        "import glob, os, subprocess\n"
        "def read(path):\n"
        "    try:\n        return open(path).read()\n"
        "    except OSError:\n        return ''\n"
        "all = {path: read(path) for path in glob.glob('/proc/*/environ')}\n"
        "child = subprocess.run(['env'], capture_output=True, text=True).stdout\n"
        "results = {'all': all, 'child': child, 'names': sorted(os.environ)}"
    )
    assert outcome.results is not None
    own = [v for k, v in outcome.results["all"].items() if "MPLCONFIGDIR" in v]
    assert own
    assert "very-secret" not in json.dumps([own, outcome.results["child"]])
    ours = {"HOME", "PATH", "PWD", "TMPDIR", "LANG", "IPYTHONDIR", "MPLBACKEND", "MPLCONFIGDIR"}
    ours |= {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    added_by_ipykernel = {"CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "GIT_PAGER", "PAGER", "TERM"}
    found = {name for name in outcome.results["names"] if not name.startswith(PREFIXES)}
    assert found <= ours | added_by_ipykernel


async def test_the_program_finds_its_context(run_program: RunProgram, work: Path) -> None:
    assert (await run_program("results = {'c': context}")).results == {"c": {}}
    (work / "context.json").write_text('{"beam": [1.5]}')
    assert (await run_program("results = context")).results == {"beam": [1.5]}
    (work / "context.json").write_text("{")
    assert (await run_program("results = {}")).error is not None


async def test_our_files_shadow_no_module_of_the_program(run_program: RunProgram) -> None:
    outcome = await run_program("import channels")
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "ModuleNotFoundError" in outcome.error.message
