"""The journal as whoever looks into it reads it: verified, and an execution's records in lines."""

import subprocess
import sys
from pathlib import Path

import pytest

from gate.journal import Journal
from gate.journal_reading import main
from tests.gate.conftest import ROOT


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    journal = Journal.open(tmp_path / "journal")
    for execution in ("mine", "other"):
        seq = await journal.write("write", execution=execution, channel=f"{execution}\u202e", new=1)
        journal.note("confirmed", of=seq, outcome="differs", read_back=[0.5])
    await journal.write("inhibited", by="operator")
    await journal.close()
    return tmp_path / "journal"


def file_in(folder: Path) -> Path:
    (file,) = folder.glob("*.jsonl")
    return file


def test_the_records_of_an_execution_and_what_was_noted_of_its_writes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--execution", "mine"]) == 0
    first, second, verdict, head = capsys.readouterr().out.splitlines()
    assert first.startswith("1 20")
    assert first.endswith('write channel="mine\\u202e" new=1')
    assert second.endswith('confirmed of=1 outcome="differs" read_back=[0.5]')
    assert verdict.startswith("Records 1 to 5 hold")
    assert len(head) == 64


def test_the_first_break_is_named_by_file_and_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = file_in(folder)
    file.write_bytes(file.read_bytes().replace(b'"differs"', b'"confirmed"', 1))
    assert main([str(folder), "--execution", "other"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"{file}:3: record 3 does not follow")
    assert "hold" not in said.out


def test_a_line_that_is_not_whole_is_no_break(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = file_in(folder)
    file.write_bytes(file.read_bytes()[:-5])
    assert main([str(folder)]) == 0
    assert f"{file}:5: not whole" in capsys.readouterr().out


def test_where_no_journal_is_nothing_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert main([str(tmp_path / "missing")]) == 2
    assert "hold" not in capsys.readouterr().out


def test_it_is_a_command(folder: Path) -> None:
    command = [sys.executable, "-m", "gate.journal_reading", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Records 1 to 5 hold" in done.stdout
