"""The suite in several processes: who measures time is alone, and the summary is pytest's own."""

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parent / "conftest.py"
pytestmark = pytest.mark.slow

TEST = """\
import os
import time
import pytest
from pathlib import Path

@pytest.mark.parametrize("number", range(20))
def test_note(number):
    begin = time.monotonic()
    time.sleep(0.02)
    with Path({notes!r}).open("a") as notes:
        notes.write(f"{{os.getpid()}} {{begin}} {{time.monotonic()}}\\n")
"""


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder)
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n  alone: x\n  parts: x\n  soak: x\n  chromium: x\n"
    )
    known = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "ALLOW_NO_SKIP"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-n2", "--dist=loadfile", "--basetemp=base", *arguments],
        cwd=folder,
        env=known | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_while_a_test_that_measures_time_runs_no_other_process_runs_one(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    text = TEST.format(notes=str(notes))
    (tmp_path / "test_other.py").write_text(text)
    (tmp_path / "test_measure.py").write_text(text + "pytestmark = pytest.mark.alone\n")

    done = run(tmp_path)

    assert re.search(r"^=+ 40 passed in [\d.]+s =+$", done.stdout, re.MULTILINE), done.stdout
    lines = [line.split() for line in notes.read_text().splitlines()]
    assert len({process for process, _, _ in lines}) == 2
    runs = sorted((float(begin), float(end)) for _, begin, end in lines)
    assert [pair for pair in pairwise(runs) if pair[1][0] < pair[0][1]] == []


def test_a_skip_in_any_process_fails_where_none_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("def test_fine(): pass\n")
    (tmp_path / "test_two.py").write_text("import pytest\ndef test_two(): pytest.skip('why')\n")

    done = run(tmp_path, ALLOW_NO_SKIP="1")

    assert done.returncode == 1, done.stdout
    assert "skipped tests are not allowed here" in done.stdout
    assert "1 passed, 1 skipped in" in done.stdout
