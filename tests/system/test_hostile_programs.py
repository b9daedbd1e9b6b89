"""Programs that flood, hang, die or leave rubbish: a typed error, and a worker that goes on."""
# ruff: noqa: ASYNC240  (a test may wait for its own disk)

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

NULL = "results = {}\x00"
SEGFAULT = (
    "import numpy as np\n"
    "np.lib.stride_tricks.as_strided(np.zeros(1), shape=(10**9,))[10**8:] = 1\n"
    "results = {}"
)


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _the_worker_serves_the_next(house: Any, read_current: str) -> AsyncIterator[None]:
    first = house.worker_pid
    yield
    assert (await house.run(read_current)).execution_result.results["current"] > 0
    assert house.kernels() == []
    assert Path(f"/proc/{first}").exists()


@pytest.mark.slow
async def test_a_program_that_prints_100_mb_keeps_head_and_tail(house: Any) -> None:
    result = await house.run(
        "print('first line')\n"
        "line = 'x' * 99_999\n"
        "for _ in range(1000):\n"
        "    print(line)\n"
        "print('last line')\n"
        "results = {}\n",
        timeout_seconds=120,
    )
    stdout = result.execution_result.stdout
    assert stdout.startswith("first line")
    assert "last line" in stdout
    assert "left out" in stdout
    assert len(stdout.encode()) <= 64 * 1024
    sizes = [path.stat().st_size for path in result.execution_result.folder_path.rglob("*")]
    assert max(sizes) < 2_000_000


async def test_a_program_that_never_ends_is_ended_after_its_time(house: Any) -> None:
    error = await house.run_to_failure(
        "import time\nprint('began', flush=True)\nwhile True:\n    time.sleep(0.1)\n",
        timeout_seconds=3,
    )
    assert type(error).__name__ == "ExecutionTimeoutError"
    assert error.timeout_seconds == 3
    assert str(error) == "Python code execution timeout after 3 seconds"
    assert "began" in (error.folder_path / "attempts" / "01_execution.ipynb").read_text()


@pytest.mark.slow
async def test_a_program_that_refuses_to_be_interrupted_is_killed(house: Any) -> None:
    error = await house.run_to_failure(
        "while True:\n    try:\n        while True:\n            pass\n"
        "    except BaseException:\n        pass\n",
        timeout_seconds=1,
    )
    assert type(error).__name__ == "ExecutionTimeoutError"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        # By ways that the analysis does not see: it is not what protects.
        ("import random\nrandom._os._exit(0)", "exit status 0"),
        ("import random\nrandom._os.kill(random._os.getpid(), 9)", "signal 9"),
        (SEGFAULT, "signal 11"),
        ("import sys\nsys.exit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def f(): f()\nf()", "RecursionError"),
        ("1 / 0", "ZeroDivisionError"),
        ("x = 1", "left no `results`"),
        ("results = 5", "of type int"),
    ],
)
async def test_a_program_that_ends_badly_is_a_runtime_error(
    house: Any, code: str, said: str
) -> None:
    error = await house.run_to_failure(code)
    assert type(error).__name__ == "CodeRuntimeError"
    assert error.is_code_error()
    assert error.execution_attempt == 1
    assert said in f"{error.message}\n{error.traceback_info}"
    assert error.folder_path.is_dir()


@pytest.mark.parametrize("code", ["def f(:\n", NULL, "results = {}\n  a = 1", "(" * 5000])
async def test_a_program_that_is_no_python_is_a_syntax_error(house: Any, code: str) -> None:
    error = await house.run_to_failure(code)
    assert type(error).__name__ == "CodeSyntaxError"
    assert error.syntax_issues


async def test_a_failed_run_still_leaves_its_figures_and_output(house: Any) -> None:
    error = await house.run_to_failure(
        "import matplotlib.pyplot as plt\n"
        "plt.plot([1, 2]); plt.show()\nprint('so far')\nraise ValueError('at last')"
    )
    assert "at last" in str(error)
    notebook = (error.folder_path / "attempts" / "01_execution.ipynb").read_text()
    assert "so far" in notebook
    assert "image/png" in notebook


async def test_large_results_stay_in_the_folder(house: Any) -> None:
    result = await house.run("results = {'samples': list(range(200_000))}")
    success = result.execution_result
    file = success.folder_path / "results.json"
    assert success.results == {
        "_type": "file",
        "path": str(file),
        "bytes": file.stat().st_size,
        "keys": ["samples"],
    }


async def test_nan_and_infinity_come_back_as_marked_text(house: Any) -> None:
    result = await house.run("results = {'a': float('nan'), 'b': [float('-inf')]}")
    assert result.execution_result.results == {
        "a": {"_type": "float", "value": "nan"},
        "b": [{"_type": "float", "value": "-inf"}],
    }


async def test_a_result_without_json_form_is_marked_in_its_place(house: Any) -> None:
    result = await house.run(
        "results = {'read': open('/dev/null').read, 'n': 1}\nresults['self'] = results"
    )
    results = result.execution_result.results
    assert results["n"] == 1
    assert results["read"]["_type"] == "unserializable"
    assert results["self"]["reason"] == "contains itself"


async def test_processes_that_a_program_leaves_behind_are_ended(
    house: Any, eventually: Any
) -> None:
    result = await house.run(
        "import random\n"
        "pid = random._os.posix_spawn('/bin/sleep', ['sleep', '600'], {})\n"
        "results = {'pid': pid}"
    )
    process = Path(f"/proc/{result.execution_result.results['pid']}")
    await eventually(lambda: not _is_sleeping(process), within=5)


async def test_code_that_starts_processes_is_refused_before_it_runs(house: Any) -> None:
    error = await house.run_to_failure("import subprocess\nsubprocess.run(['ls'])\nresults = {}")
    assert type(error).__name__ == "CodeAnalysisError"
    assert any(re.search(r"line 2: `subprocess\.run`", issue) for issue in error.issues)
    assert not list((error.folder_path / "attempts").glob("*execution*"))


def _is_sleeping(process: Path) -> bool:
    try:
        return (process / "cmdline").read_bytes().startswith(b"sleep")
    except OSError:
        return False
