import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kernels.conversation import Ending, Run
from kernels.interface import Kernels, RunOutcome
from kernels.local import LocalKernels
from kernels.outcome import outcome_of
from runpermit.errors import (
    CodeRuntimeError,
    ContainerConnectivityError,
    ExecutionTimeoutError,
)
from runpermit.models import ExecutionMode, Isolation

RunProgram = Callable[..., Awaitable[RunOutcome]]
READ_ONLY = ExecutionMode.READ_ONLY
SLEEP = f"60.{os.getpid()}"  # seconds, and a mark by which the child is found


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def modes(folder: Path) -> list[int]:
    return [path.stat().st_mode & 0o777 for path in folder.iterdir()]


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110  (another process does it)
            await asyncio.sleep(0.1)


async def test_a_program_leaves_results_and_output(run_program: RunProgram, work: Path) -> None:
    pieces: list[str] = []
    outcome = await run_program(
        "print('hello')\nresults = {'a': 1, 'nan': float('nan')}", on_stdout=pieces.append
    )
    assert outcome.error is None
    assert outcome.stdout == "hello\n" == "".join(pieces)
    assert outcome.results == {"a": 1, "nan": {"_type": "float", "value": "nan"}}
    assert outcome.figures == ()
    assert 0 < outcome.execution_time < 30
    assert names(work) == []


async def test_the_interface_is_kept_and_isolation_is_told() -> None:
    kernels: Kernels = LocalKernels()
    assert kernels.isolation is Isolation.NONE


async def test_code_runs_verbatim(run_program: RunProgram) -> None:
    code = (
        "from __future__ import annotations\n"
        "x = '''\n>>> a\n  %ls\n\t!b {x}\n'''\n"
        "def f(y: Undefined): pass\n"
        "results = {'x': x, 'name': __name__, 'annotation': f.__annotations__['y']}\n"
    )
    outcome = await run_program(code)
    assert outcome.results == {
        "x": "\n>>> a\n  %ls\n\t!b {x}\n",
        "name": "__main__",
        "annotation": "Undefined",
    }


async def test_shell_syntax_of_ipython_is_no_python(run_program: RunProgram) -> None:
    outcome = await run_program("!touch made\nresults = {}")
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "SyntaxError" in outcome.error.message


@pytest.mark.parametrize(
    "ending", ["sys.exit(0)", "sys.exit()", "raise SystemExit(None)", "exit()"]
)
async def test_a_normal_end_of_the_program_is_success(run_program: RunProgram, ending: str) -> None:
    outcome = await run_program(f"import sys\nresults = {{'a': 1}}\n{ending}\nresults = None")
    assert outcome.error is None
    assert outcome.results == {"a": 1}
    assert outcome.stdout == ""


@pytest.mark.parametrize("status", ["3", "'0'", "'failed'"])
async def test_an_exit_with_a_status_is_an_error(run_program: RunProgram, status: str) -> None:
    outcome = await run_program(f"import sys\nresults = {{}}\nsys.exit({status})")
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "SystemExit" in outcome.error.message
    assert outcome.results is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1", "left no `results`"),
        ("results = None", "of type NoneType"),
        ("results = [1]", "of type list"),
        ("results = dict.fromkeys(range(10**7))", "10000000 elements"),
    ],
)
async def test_missing_results_are_an_error_that_says_what_is_expected(
    run_program: RunProgram, code: str, said: str
) -> None:
    outcome = await run_program(code)
    assert isinstance(outcome.error, CodeRuntimeError)
    assert said in outcome.error.message
    assert outcome.error.execution_attempt == 2
    assert outcome.results is None


async def test_what_cannot_be_serialised_is_marked_in_the_results(run_program: RunProgram) -> None:
    outcome = await run_program(
        "results = {'mean': 1, ('a', 1): 2, 'file': open('/dev/null')}\nresults['self'] = results"
    )
    assert outcome.error is None
    assert outcome.results is not None
    assert outcome.results["mean"] == 1
    assert outcome.results["(a, 1)"] == 2
    assert outcome.results["file"]["_type"] == "unserializable"
    assert outcome.results["self"]["reason"] == "contains itself"


async def test_large_results_arrive_whole(run_program: RunProgram) -> None:
    outcome = await run_program("results = {'x': [0.123456789] * 200_000}")
    assert outcome.results is not None
    assert len(outcome.results["x"]) == 200_000


async def test_a_failure_tells_the_users_own_lines_without_colours(run_program: RunProgram) -> None:
    outcome = await run_program(
        "print('before')\ndef f():\n    return 1 / 0\nresults = {}\nf()  # here"
    )
    error = outcome.error
    assert isinstance(error, CodeRuntimeError)
    assert error.message == "ZeroDivisionError: division by zero"
    assert "f()  # here" in error.traceback_info
    assert "\x1b" not in error.traceback_info
    assert outcome.stdout == "before\n"
    assert outcome.results is None


async def test_long_tracebacks_and_messages_are_bounded(run_program: RunProgram) -> None:
    outcome = await run_program("raise ValueError('x' * 10**6)")
    assert isinstance(outcome.error, CodeRuntimeError)
    assert len(outcome.error.message) <= 2048
    assert len(outcome.error.traceback_info) <= 8192


async def test_an_exception_that_cannot_be_shown_is_an_error(run_program: RunProgram) -> None:
    outcome = await run_program(
        "class E(Exception):\n    def __str__(self): raise ValueError('no')\nresults = {}\nraise E"
    )
    assert isinstance(outcome.error, CodeRuntimeError)


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    ],
    ids=["plain", "swallows interrupts", "ignores the signal"],
)
async def test_an_endless_program_times_out(run_program: RunProgram, code: str) -> None:
    async with asyncio.timeout(15):
        outcome = await run_program(f"print('begun')\nresults = {{}}\n{code}", timeout=1)
    assert isinstance(outcome.error, ExecutionTimeoutError)
    assert outcome.error.timeout_seconds == 1
    assert outcome.stdout == "begun\n"
    assert outcome.results is None


async def test_a_timeout_interrupts_so_that_the_program_can_clean_up(
    run_program: RunProgram, work: Path
) -> None:
    outcome = await run_program(
        "import time\nresults = {}\ntry:\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    open('cleaned', 'w').close()",
        timeout=0.5,
    )
    assert isinstance(outcome.error, ExecutionTimeoutError)
    assert (work / "cleaned").exists()


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


async def test_a_forged_results_file_does_not_count(run_program: RunProgram) -> None:
    outcome = await run_program("open('.results.json', 'w').write('{\"a\": 1}')")
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "left no `results`" in outcome.error.message


async def test_a_python_that_does_not_exist_is_an_infrastructure_error(work: Path) -> None:
    with pytest.raises(ContainerConnectivityError, match="no-such-python"):
        async with LocalKernels(kernel_python="/no-such-python").session(READ_ONLY, work):
            pass


async def test_a_kernel_that_dies_at_its_start_is_an_infrastructure_error(
    work: Path, tmp_path: Path, runtime: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no such environment\nexit 7\n")
    python.chmod(0o755)
    with pytest.raises(ContainerConnectivityError) as failure:
        async with LocalKernels(kernel_python=str(python)).session(READ_ONLY, work):
            pass
    assert "exit status 7" in failure.value.message
    assert "no such environment" in failure.value.message
    assert names(runtime) == []


async def test_a_kernel_that_dies_before_the_code_began_is_an_infrastructure_error(
    work: Path, processes: Callable[[str], list[int]], runtime: Path
) -> None:
    async with LocalKernels().session(READ_ONLY, work) as kernel:
        (process,) = processes(str(runtime))
        os.kill(process, signal.SIGKILL)
        await asyncio.sleep(0.2)
        with pytest.raises(ContainerConnectivityError, match="before the code began"):
            await kernel.run("results = {}", timeout=5, attempt=1, on_stdout=print)


async def test_a_kernel_runs_one_program(work: Path) -> None:
    async with LocalKernels().session(READ_ONLY, work) as kernel:
        await kernel.run("results = {}", timeout=5, attempt=1, on_stdout=print)
        with pytest.raises(RuntimeError, match="one program"):
            await kernel.run("results = {}", timeout=5, attempt=1, on_stdout=print)


async def test_cancelling_ends_kernel_and_children_and_leaves_nothing(
    run_program: RunProgram, processes: Callable[[str], list[int]], runtime: Path
) -> None:
    begun = asyncio.Event()
    code = (
        f"import subprocess, time\nsubprocess.Popen(['sleep', '{SLEEP}'])\n"
        "print('begun')\ntime.sleep(60)"
    )
    task = asyncio.create_task(run_program(code, timeout=60, on_stdout=lambda _: begun.set()))
    await asyncio.wait_for(begun.wait(), 20)
    assert len(processes(SLEEP)) == 1
    assert len(processes(str(runtime))) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes(SLEEP) == []
    assert processes(str(runtime)) == []
    assert names(runtime) == []


async def test_children_of_a_program_end_with_it(
    run_program: RunProgram, processes: Callable[[str], list[int]]
) -> None:
    outcome = await run_program(
        f"import subprocess\nsubprocess.Popen(['sleep', '{SLEEP}'])\nresults = {{}}"
    )
    assert outcome.error is None
    assert processes(SLEEP) == []


async def test_an_error_of_the_listener_is_raised_and_ends_the_kernel(
    run_program: RunProgram, runtime: Path
) -> None:
    def listen(_: str) -> None:
        raise LookupError("no listener")

    with pytest.raises(LookupError):
        await run_program("print(1, flush=True)\nimport time\ntime.sleep(60)", on_stdout=listen)
    assert names(runtime) == []


async def test_no_variable_of_the_worker_reaches_the_code(
    run_program: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    outcome = await run_program(
        "import os, subprocess\n"
        "own = open('/proc/self/environ').read()\n"
        "child = subprocess.run(['env'], capture_output=True, text=True).stdout\n"
        "results = {'own': own, 'child': child, 'names': sorted(os.environ)}"
    )
    assert outcome.results is not None
    assert "very-secret" not in json.dumps(outcome.results)
    ours = {"HOME", "PATH", "TMPDIR", "LANG", "IPYTHONDIR", "MPLBACKEND", "MPLCONFIGDIR"}
    added_by_ipykernel = {"CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "GIT_PAGER", "PAGER", "TERM"}
    assert {
        name
        for name in outcome.results["names"]
        if not name.startswith(("EPICS_CA_", "JUPYTER_", "JPY_", "PYDEVD_"))
    } <= ours | added_by_ipykernel


async def test_runtime_folder_is_private(work: Path, runtime: Path) -> None:
    async with LocalKernels().session(READ_ONLY, work):
        assert modes(runtime) == [0o700]


@pytest.mark.slow
async def test_a_flood_of_output_is_cut_and_says_so(run_program: RunProgram) -> None:
    outcome = await run_program(
        "print('first')\nfor _ in range(100):\n    print('x' * 1_000_000)\n"
        "print('last')\nresults = {'a': 1}"
    )
    assert outcome.error is None
    assert outcome.results == {"a": 1}
    assert len(outcome.stdout) <= 256 * 1024 + 100
    assert outcome.stdout.startswith("first\nxxx")
    assert outcome.stdout.endswith("xxx\nlast\n")
    left_out = 100 * 1_000_001 + len("first\nlast\n") - 256 * 1024
    assert f"… {left_out} bytes left out …" in outcome.stdout


async def test_the_program_finds_its_context(run_program: RunProgram, work: Path) -> None:
    assert (await run_program("results = {'c': context}")).results == {"c": {}}
    (work / "context.json").write_text('{"beam": [1.5]}')
    assert (await run_program("results = context")).results == {"beam": [1.5]}


async def test_a_context_that_is_no_json_is_an_error(run_program: RunProgram, work: Path) -> None:
    (work / "context.json").write_text("{")
    outcome = await run_program("results = {}")
    assert outcome.error is not None


async def test_our_files_shadow_no_module_of_the_program(run_program: RunProgram) -> None:
    outcome = await run_program("import channels")
    assert isinstance(outcome.error, CodeRuntimeError)
    assert "ModuleNotFoundError" in outcome.error.message


async def test_trivial_code_loads_neither_numpy_nor_epics(run_program: RunProgram) -> None:
    outcome = await run_program(
        "import sys\nresults = {n: n in sys.modules for n in ('numpy', 'epics', 'matplotlib')}"
    )
    assert outcome.results == {"numpy": False, "epics": False, "matplotlib": False}


@pytest.mark.slow
async def test_output_below_python_is_bounded_as_well(run_program: RunProgram) -> None:
    outcome = await run_program(
        "import subprocess\nsubprocess.run('yes | head -c 20000000', shell=True)\n"
        "subprocess.run('yes | head -c 20000000 >&2', shell=True)\nresults = {}"
    )
    assert outcome.error is None
    assert "bytes left out" in outcome.stdout
    assert len(outcome.stdout) <= 256 * 1024 + 100


@pytest.mark.slow
@pytest.mark.parametrize(
    "message",
    [
        "[b'garbage']",
        "[b'stream', b'<IDS|MSG>', b'0' * 64, b'{}', b'{}', b'{}', b'{}']",
    ],
    ids=["no message", "bad signature"],
)
async def test_a_kernel_that_sends_nonsense_harms_only_its_own_output(
    run_program: RunProgram, message: str
) -> None:
    outcome = await run_program(
        "kernel = get_ipython().kernel\n"
        f"kernel.iopub_thread.send_multipart({message})\nresults = {{'a': 1}}"
    )
    assert outcome.error is None
    assert outcome.results == {"a": 1}


@pytest.mark.slow
async def test_a_message_larger_than_any_of_ours_is_not_taken(run_program: RunProgram) -> None:
    outcome = await run_program(
        "kernel = get_ipython().kernel\n"
        "content = {'name': 'stdout', 'text': 'x' * 20_000_000}\n"
        "kernel.send_response(kernel.iopub_socket, 'stream', content)\nresults = {'a': 1}"
    )
    assert outcome.error is None
    assert "x" not in outcome.stdout


@pytest.mark.parametrize(
    "reply",
    [
        {"status": "ok"},
        {"status": "ok", "payload": ["x"]},
        {"status": "ok", "payload": [{"source": "runpermit", "sha256": 1}]},
        {"status": "ok", "payload": [{"source": "runpermit", "sha256": "0"}]},
        {"status": 1, "ename": {}, "evalue": [], "traceback": {"a": 1}},
        {},
    ],
)
def test_a_reply_of_any_other_shape_is_an_error(work: Path, reply: dict[str, Any]) -> None:
    run = Run(ending=Ending.REPLIED, reply=reply)
    outcome = outcome_of(run, work, {}, timeout=1, attempt=1, kernel_end="killed")
    assert isinstance(outcome.error, CodeRuntimeError)
    assert outcome.results is None


@pytest.mark.slow
async def test_a_kernel_ends_with_its_worker(
    work: Path, runtime: Path, processes: Callable[[str], list[int]]
) -> None:
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, str(work), str(runtime), cwd=Path(__file__).parents[2]
    )
    await until(lambda: "begun" in names(work))
    worker.kill()
    await worker.wait()
    await until(lambda: not processes(str(runtime)))


WORKER = """
import asyncio, sys
from pathlib import Path
from kernels import local
from runpermit.models import ExecutionMode
local.RUNTIME_ROOT = sys.argv[2]
async def main():
    kernels = local.LocalKernels()
    async with kernels.session(ExecutionMode.READ_ONLY, Path(sys.argv[1])) as kernel:
        code = "open('begun', 'w').close()\\nimport time\\nwhile True: time.sleep(1)"
        await kernel.run(code, timeout=60, attempt=1, on_stdout=print)
asyncio.run(main())
"""
