"""The journal as whoever looks into it reads it: verified, and an execution's records in lines."""

import subprocess
import sys
from pathlib import Path

import pytest

from gate.journal.journal import Journal
from gate.journal.reading import audit, main
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
    command = [sys.executable, "-m", "gate.journal.reading", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Records 1 to 5 hold" in done.stdout


def test_an_audit_has_the_records_of_an_execution_and_the_chain(folder: Path) -> None:
    told = audit(folder, "mine")
    assert [(record["seq"], record["event"]) for record in told.records] == [
        (1, "write"),
        (2, "confirmed"),
    ]
    assert told.chain is not None
    assert (told.chain.first, told.chain.last, told.chain.broken) == (1, 5, "")
    assert told.left_out == 0


def test_an_audit_tells_what_stands_before_a_break_and_names_the_break(folder: Path) -> None:
    file = file_in(folder)
    file.write_bytes(file.read_bytes().replace(b'"differs"', b'"confirmed"', 1))
    told = audit(folder, "mine")
    assert told.chain is not None
    assert "record 3 does not follow" in told.chain.broken
    assert told.chain.last == 2
    assert [record["seq"] for record in told.records] == [1, 2]


async def test_an_audit_keeps_room_for_permits_and_counts_the_rest(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    for number in range(100):
        journal.note("write", execution="mine", channel="SR:X", new=number)
    permit = await journal.write("permit_consumed", execution="mine", permit="p")
    await journal.close()
    told = audit(tmp_path, "mine", 4000)
    assert told.records[-1]["seq"] == permit
    assert 0 < len(told.records) < 30
    assert told.left_out == 101 - len(told.records)


def test_an_audit_of_no_journal_says_that_nothing_holds(tmp_path: Path) -> None:
    told = audit(tmp_path, "mine")
    assert told.chain is not None
    assert told.chain.last is None
