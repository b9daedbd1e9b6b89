"""What crashes, full disks and hands leave of a journal, and what is found in it then."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gate.journal import journal as journal_module
from gate.journal.chain import START, encode
from gate.journal.journal import Journal
from gate.journal.reading import BrokenJournalError, records, verify
from runpermit.errors import ContainerConfigurationError

ROOT = Path(__file__).parents[3]


def fill(folder: Path, count: int) -> Path:
    """A closed journal of that many records; its file."""

    async def write() -> None:
        journal = Journal.open(folder)
        for number in range(count):
            await journal.write("write", number=number, channel="SR:HCM1:SP")
        await journal.close()

    asyncio.run(write())
    (file,) = folder.glob("*.jsonl")
    return file


def go_on(folder: Path) -> int:
    """Open, write one record, close; the record's number."""

    async def write() -> int:
        journal = Journal.open(folder)
        seq = await journal.write("after")
        await journal.close()
        return seq

    return asyncio.run(write())


def sound(number: int) -> bytes:
    """A journal of that many records, as its file holds it."""
    link, content = START, b""
    for _ in range(number):
        line, link = encode(link, "2026-01-01T00:00:00.000000+00:00", "write", {"channel": "SR:X"})
        content += line + b"\n"
    return content


def check_torn(torn: bytes) -> None:
    """Two records and `torn` behind them: read, continued, and nothing of it lost."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "2026-01.jsonl").write_bytes(sound(2) + torn)
        found = verify(folder)
        assert (found.last, found.broken) == (2, None)
        assert (found.torn.line if found.torn else None) == (3 if torn else None)
        with capture_logs() as logs:
            assert [record["seq"] for record in records(folder)] == [1, 2]
        assert len(logs) == bool(torn)
        assert go_on(folder) == (4 if torn else 3)
        after = list(records(folder))[2:]
        assert [record["event"] for record in after] == ["torn_line_cut"] * bool(torn) + ["after"]
        for kept in after[0].get("kept_in", []):
            assert (folder / kept).read_bytes() == torn


def test_a_last_line_torn_at_any_byte_is_kept_apart_and_told_of() -> None:
    whole, line = sound(2), sound(3)[len(sound(2)) :]
    assert len(line) > 100
    assert sound(3).startswith(whole)
    for cut in range(len(line)):
        check_torn(line[:cut])


@given(st.binary(max_size=200_000).map(lambda junk: junk.replace(b"\n", b"")))
@example(b"x" * 200_000)
@settings(deadline=None, max_examples=60)
def test_whatever_a_crash_left_behind_the_last_line_is_kept_apart_and_told_of(junk: bytes) -> None:
    check_torn(junk)


def test_a_file_of_a_torn_line_that_no_record_tells_of_is_told_of_at_the_next_opening(
    tmp_path: Path,
) -> None:
    fill(tmp_path, 2)
    (tmp_path / "torn-3-0123abcd").write_bytes(b'{"seq": 3')
    (tmp_path / "torn-2-4567cdef").write_bytes(b"told of before")
    go_on(tmp_path)
    told = list(records(tmp_path))[2]
    assert (told["event"], told["kept_in"]) == ("torn_line_cut", ["torn-3-0123abcd"])
    go_on(tmp_path)
    assert [record["event"] for record in records(tmp_path)][2:] == [
        "torn_line_cut", "after", "after",
    ]  # fmt: skip


def test_a_changed_byte_is_found_wherever_it_is_before_the_last_line(tmp_path: Path) -> None:
    file = fill(tmp_path, 4)
    content = file.read_bytes()
    last = content.rindex(b"\n", 0, len(content) - 1) + 1
    for position in range(last):
        changed = bytearray(content)
        changed[position] ^= 1
        file.write_bytes(changed)
        line = content.count(b"\n", 0, position) + 1
        broken = verify(tmp_path).broken
        assert broken is not None, position
        assert broken.file == file
        assert broken.line in {line, line + 1}
    with pytest.raises(BrokenJournalError, match=f"{file}, line "):
        list(records(tmp_path))


def test_a_line_taken_out_or_put_in_is_found(tmp_path: Path) -> None:
    file = fill(tmp_path, 4)
    lines = file.read_bytes().splitlines(keepends=True)
    for changed, line in (
        (lines[:1] + lines[2:], 2),
        ([*lines[:2], b"\n", *lines[2:]], 3),
        (lines[:3] + lines[2:], 4),
        ([lines[0], lines[1].rstrip(b"\n"), *lines[2:]], 2),
    ):
        file.write_bytes(b"".join(changed))
        broken = verify(tmp_path).broken
        assert broken is not None
        assert broken.line == line


def test_a_month_taken_out_of_the_middle_is_found_and_one_from_the_beginning_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for month in ("01", "02", "03"):
        now = f"2026-{month}-01T00:00:00.000000+00:00"
        monkeypatch.setattr(journal_module, "_now", lambda now=now: now)
        go_on(tmp_path)
    (tmp_path / "2026-01.jsonl").unlink()
    found = verify(tmp_path)
    assert (found.first, found.last, found.broken) == (2, 3, None)
    go_on(tmp_path)
    monkeypatch.undo()
    (tmp_path / "2026-01.jsonl").write_bytes((tmp_path / "2026-02.jsonl").read_bytes())
    (tmp_path / "2026-02.jsonl").unlink()
    (tmp_path / "2026-01.jsonl").rename(tmp_path / "2026-02.jsonl")
    assert verify(tmp_path).broken is None
    (tmp_path / "2026-02.jsonl").write_bytes(b'{"seq": 1, "prev": "' + b"0" * 64 + b'"}\n')
    broken = verify(tmp_path).broken
    assert broken is not None
    assert (broken.file.name, broken.line) == ("2026-03.jsonl", 1)


def test_a_gate_does_not_start_on_a_chain_that_is_broken_at_its_end(tmp_path: Path) -> None:
    file = fill(tmp_path, 3)
    first, second, third = file.read_bytes().splitlines(keepends=True)
    for end in (
        [second.replace(b"HCM1", b"HCM2"), third],
        [third],
        [second, third.replace(b'"seq": 3', b'"seq": 4')],
        [second, b"{}\n"],
        [second, b"\n"],
        [second, b"\xff\n"],
    ):
        file.write_bytes(first + b"".join(end))
        with pytest.raises(ContainerConfigurationError, match=f"{tmp_path}.* broken at its end"):
            Journal.open(tmp_path)
    file.write_bytes(first + second + third)
    assert go_on(tmp_path) == 4


WRITER = """
import asyncio, sys
from pathlib import Path
from gate.journal.journal import Journal

async def main():
    journal = Journal.open(Path(sys.argv[1]))
    print("open", flush=True)

    async def one():
        while True:
            print(await journal.write("write", filling="x" * 100), flush=True)

    await asyncio.gather(*(one() for _ in range(4)))

if len(sys.argv) > 2:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
asyncio.run(main())
"""


def start_writer(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.slow
def test_killed_while_it_writes_it_has_all_that_was_acknowledged(tmp_path: Path) -> None:
    for _ in range(3):
        before = verify(tmp_path).last or 0
        writer = start_writer(tmp_path)
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(100)]
        writer.send_signal(signal.SIGKILL)
        said += writer.communicate()[0].splitlines()
        acknowledged = [int(line) for line in said if line.strip().isdigit()]
        assert len(acknowledged) >= 90
        found = verify(tmp_path)
        assert found.broken is None
        assert found.last is not None
        assert found.last >= max(acknowledged) > before
        assert {record["seq"] for record in records(tmp_path)} >= set(acknowledged)
        go_on(tmp_path)
        assert verify(tmp_path).broken is None


def test_a_full_disk_ends_the_writing_and_leaves_whole_lines(tmp_path: Path) -> None:
    """A file of limited size stands for the disk: the last write is cut short, as on a full one."""
    writer = start_writer(tmp_path, "20000")
    output, errors = writer.communicate(timeout=60)
    assert "JournalError" in errors
    assert "can't be written: File too large" in errors
    acknowledged = [int(line) for line in output.splitlines() if line.isdigit()]
    found = verify(tmp_path)
    assert (found.broken, found.torn) == (None, None)
    # The last one may have reached the disk, and its writer no more.
    assert found.last >= max(acknowledged) > 20
    assert go_on(tmp_path) == found.last + 1
