"""What a program may say and leave, and what becomes of it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kernels.conversation import Ending, Run
from kernels.interface import RunOutcome
from kernels.outcome import outcome_of
from kernels.tree import opened_folder
from runpermit.errors import CodeRuntimeError

RunProgram = Callable[..., Awaitable[RunOutcome]]
PREFIXES = ("EPICS_CA_", "JUPYTER_", "JPY_", "PYDEVD_")


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


@pytest.mark.parametrize("ending", ["sys.exit(0)", "raise SystemExit(None)", "exit()"])
async def test_a_normal_end_of_the_program_is_success(run_program: RunProgram, ending: str) -> None:
    outcome = await run_program(f"import sys\nresults = {{'a': 1}}\n{ending}\nresults = None")
    assert outcome.error is None
    assert outcome.results == {"a": 1}
    assert outcome.stdout == ""


@pytest.mark.parametrize("code", ["sys.exit(3)", "sys.exit('failed')", "!touch made"])
async def test_a_bad_end_is_an_error(run_program: RunProgram, code: str) -> None:
    outcome = await run_program(f"import sys\nresults = {{}}\n{code}")
    assert isinstance(outcome.error, CodeRuntimeError)
    assert ("SyntaxError" if code.startswith("!") else "SystemExit") in outcome.error.message
    assert outcome.results is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1", "left no `results`"),
        ("results = None", "of type NoneType"),
        ("results = dict.fromkeys(range(10**7))", "10000000 elements"),
        ("open('.results.json', 'w').write('{\"a\": 1}')", "left no `results`"),
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


async def test_what_cannot_be_serialised_is_marked_and_large_results_arrive_whole(
    run_program: RunProgram,
) -> None:
    outcome = await run_program(
        "results = {'mean': 1, ('a', 1): 2, 'file': open('/dev/null'), 'x': [0.123] * 200_000}\n"
        "results['self'] = results"
    )
    assert outcome.error is None
    assert outcome.results is not None
    assert outcome.results["mean"] == 1
    assert outcome.results["(a, 1)"] == 2
    assert outcome.results["file"]["_type"] == "unserializable"
    assert outcome.results["self"]["reason"] == "contains itself"
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


@pytest.mark.slow
async def test_output_below_python_is_bounded_as_well(run_program: RunProgram) -> None:
    outcome = await run_program(
        "import subprocess\nsubprocess.run('yes | head -c 20000000', shell=True)\n"
        "subprocess.run('yes | head -c 20000000 >&2', shell=True)\nresults = {}"
    )
    assert outcome.error is None
    assert "bytes left out" in outcome.stdout
    assert len(outcome.stdout) <= 256 * 1024 + 100


@pytest.mark.parametrize(
    "message",
    [
        "kernel.iopub_thread.send_multipart([b'garbage'])",
        "kernel.iopub_thread.send_multipart([b'stream', b'<IDS|MSG>', b'0' * 64] + [b'{}'] * 4)",
        "content = {'name': 'stdout', 'text': 'x' * 2**25}\n"
        "kernel.send_response(kernel.iopub_socket, 'stream', content)",
    ],
    ids=["no message", "bad signature", "too large"],
)
async def test_a_kernel_that_sends_nonsense_harms_only_its_own_output(
    run_program: RunProgram, message: str
) -> None:
    outcome = await run_program(f"kernel = get_ipython().kernel\n{message}\nresults = {{'a': 1}}")
    assert outcome.error is None
    assert outcome.results == {"a": 1}
    assert outcome.stdout == ""


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
    with opened_folder(work) as folder:
        outcome = outcome_of(run, folder, {}, timeout=1, attempt=1, kernel_end="killed")
    assert isinstance(outcome.error, CodeRuntimeError)
    assert outcome.results is None
