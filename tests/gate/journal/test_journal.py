"""The journal: order, durability, one sync for many, and what a failing disk does to it."""

import asyncio
import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gate.journal import journal as journal_module
from gate.journal.chain import RECORD_BYTES
from gate.journal.journal import Journal, JournalError
from gate.journal.reading import records, verify
from runpermit.errors import ContainerConfigurationError
from runpermit.serialization import strict_json_loads
from tests.gate.punctual import Span, in_time


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def journal(folder: Path) -> AsyncIterator[Journal]:
    journal = Journal.open(folder)
    yield journal
    await journal.close()


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of the file at each fdatasync, noted when the disk had it."""
    sizes: list[int] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        real(descriptor)
        sizes.append(size)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    return sizes


def lines(folder: Path) -> list[bytes]:
    return b"".join(file.read_bytes() for file in sorted(folder.glob("*.jsonl"))).split(b"\n")[:-1]


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.jsonl"))


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}


def open_elsewhere(folder: Path) -> str:
    """What another process says that opens the journal."""
    code = "import sys; from pathlib import Path; from gate.journal.journal import Journal; "
    other = subprocess.run(
        [sys.executable, "-c", code + "Journal.open(Path(sys.argv[1]))", folder],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    return other.stderr


async def test_records_are_numbered_dated_and_chained(folder: Path, journal: Journal) -> None:
    assert await journal.write("opened", session="a", count=1) == 1
    assert await journal.write("closed", values=[0.5, None, True]) == 2
    first, second = lines(folder)
    assert json.loads(first) == {
        "seq": 1, "at": json.loads(first)["at"], "event": "opened",
        "session": "a", "count": 1, "prev": "0" * 64,
    }  # fmt: skip
    assert json.loads(second)["prev"] == hashlib.sha256(first).hexdigest()
    assert list(records(folder)) == [json.loads(first), json.loads(second)]
    at = json.loads(first)["at"]
    assert len(at) == len("2026-01-01T00:00:00.000000+00:00")
    assert at.endswith("+00:00")


async def test_only_the_gates_user_can_read_it(folder: Path, journal: Journal) -> None:
    await journal.write("opened")
    assert modes(folder) == {"journal": 0o700, f"{datetime.now(UTC):%Y-%m}.jsonl": 0o600}


async def test_every_line_is_strict_json_whatever_the_fields_hold(
    folder: Path, journal: Journal
) -> None:
    await journal.write(
        "write", nan=float("nan"), text="\udce9\u202e\x1b[2J\nµ", raw=b"\xff", keys={1: 1, "1": 2},
        deep=Path("/x"), huge=10**5000,
    )  # fmt: skip
    (line,) = lines(folder)
    assert line.isascii()
    assert strict_json_loads(line)["nan"] == {"_type": "float", "value": "nan"}
    (record,) = records(folder)
    assert record["text"] == "\\udce9\u202e\x1b[2J\nµ"


async def test_the_order_of_records_is_the_order_of_calls(folder: Path, journal: Journal) -> None:
    waiting = []
    for number in range(200):
        if number % 3:
            waiting.append(asyncio.create_task(journal.write("write", number=number)))
            await asyncio.sleep(0)
        else:
            assert journal.note("note", number=number) == number + 1
        if number % 50 == 0:
            await asyncio.sleep(0.002)
    await asyncio.gather(*waiting)
    await journal.close()
    assert [record["number"] for record in records(folder)] == list(range(200))


async def test_a_write_returns_when_the_disk_has_it(
    folder: Path, journal: Journal, syncs: list[int]
) -> None:
    for number in range(20):
        await journal.write("write", number=number)
        assert syncs[-1] == size(folder)


async def test_a_slow_disk_stops_neither_the_loop_nor_lets_a_write_through(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda _: disk.wait(10))
    writing = asyncio.create_task(journal.write("write"))
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert not writing.done()
    disk.set()
    assert await writing == 1


async def test_one_sync_serves_all_that_wait(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = os.fdatasync, []

    def slow(descriptor: int) -> None:
        count.append(descriptor)
        time.sleep(0.01)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    await asyncio.gather(*(journal.write("write", number=number) for number in range(500)))
    assert len(count) < 20
    assert verify(folder).last == 500


@pytest.mark.alone
async def test_notes_are_durable_within_a_second_or_so_even_if_more_of_them_come(
    folder: Path, journal: Journal, syncs: list[int]
) -> None:
    async def synced() -> Span:
        before = len(syncs)
        journal.note("note")
        start = time.monotonic()
        async with asyncio.timeout(30):
            while len(syncs) == before:
                await asyncio.sleep(0.05)
                journal.note("note")
        return start, time.monotonic()

    await in_time(synced, 1.6)
    assert 0 < syncs[0] <= size(folder)


async def test_a_busy_event_loop_does_not_starve_the_writer(folder: Path) -> None:
    """With Python's own switch interval a record takes up to 20 s, on an idle machine at least."""
    sys.setswitchinterval(0.005)
    journal = Journal.open(folder)
    assert sys.getswitchinterval() < 0.001
    done = False

    async def busy() -> None:
        while not done:
            end = time.perf_counter() + 0.002
            while time.perf_counter() < end:
                pass
            await asyncio.sleep(0)

    work = asyncio.create_task(busy())
    start = time.perf_counter()
    for _ in range(20):
        await journal.write("write")
    took = time.perf_counter() - start
    done = True
    await work
    await journal.close()
    assert took < 20


async def test_what_was_queued_behind_a_failure_is_refused_too(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, disk = threading.Event(), threading.Event()

    def fail_once(_: int) -> None:
        if not disk.is_set():
            failing.set()
            disk.wait(10)
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail_once)
    first = asyncio.create_task(journal.write("first"))
    await asyncio.to_thread(failing.wait, 10)
    second = asyncio.create_task(journal.write("second"))
    await asyncio.sleep(0)
    disk.set()
    with pytest.raises(JournalError):
        await first
    with pytest.raises(JournalError):
        await second
    await journal.close()
    assert [record["event"] for record in records(folder)] in ([], ["first"])


async def test_a_cancelled_caller_has_its_record_kept_and_disturbs_nobody(
    folder: Path, journal: Journal
) -> None:
    first, second = (asyncio.create_task(journal.write("write", number=n)) for n in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 2
    assert [record["number"] for record in records(folder)] == [0, 1]


@pytest.mark.parametrize(
    "fields", [{"seq": 1}, {"prev": "x"}, {"at": 0}, {"v": "x" * RECORD_BYTES}]
)
async def test_what_is_no_record_is_refused_and_leaves_no_gap(
    folder: Path, journal: Journal, fields: dict[str, Any]
) -> None:
    await journal.write("before")
    with pytest.raises(ValueError, match="event: "):
        await journal.write("event", **fields)
    with pytest.raises(ValueError, match="event: "):
        journal.note("event", **fields)
    assert await journal.write("after") == 2
    assert verify(folder).broken is None


async def test_after_a_flush_all_that_was_noted_can_be_read(folder: Path, journal: Journal) -> None:
    for number in range(3):
        journal.note("noted", number=number)
    await journal.flush()
    assert [record["number"] for record in records(folder)] == [0, 1, 2]
    assert verify(folder).broken is None
    assert await journal.write("next") == 4
    await journal.close()
    with pytest.raises(JournalError):
        await journal.flush()


async def test_closing_makes_notes_durable_and_takes_no_more(
    folder: Path, journal: Journal, syncs: list[int]
) -> None:
    journal.note("note")
    await journal.close()
    assert syncs == [size(folder)]
    with pytest.raises(JournalError, match="is closed"):
        await journal.write("write")
    await journal.close()


async def test_it_continues_where_it_ended(folder: Path, journal: Journal) -> None:
    await journal.write("first")
    await journal.close()
    again = Journal.open(folder)
    assert await again.write("second") == 2
    await again.close()
    found = verify(folder)
    assert (found.first, found.last, found.broken, found.torn) == (1, 2, None, None)
    assert found.head == hashlib.sha256(lines(folder)[-1]).hexdigest()


async def test_a_second_gate_is_refused_until_the_first_has_closed(
    folder: Path, journal: Journal
) -> None:
    with pytest.raises(ContainerConfigurationError, match=f"{folder}.* another gate"):
        Journal.open(folder)
    assert "is in use by another gate" in open_elsewhere(folder)
    await journal.close()
    await Journal.open(folder).close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ContainerConfigurationError, match="file/journal"):
        Journal.open(tmp_path / "file" / "journal")


async def test_each_month_has_its_file_and_the_chain_runs_through_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = "2026-01-31T23:59:59.999999+00:00"
    monkeypatch.setattr(journal_module, "_now", lambda: clock)
    journal = Journal.open(folder)
    await journal.write("january")
    clock = "2026-02-01T00:00:00.000000+00:00"
    await journal.write("february")
    clock = "2026-01-15T00:00:00.000000+00:00"  # set back
    await journal.write("january again")
    await journal.close()
    journal = Journal.open(folder)
    await journal.write("and again")
    await journal.close()
    assert sorted(modes(folder)) == ["2026-01.jsonl", "2026-02.jsonl", "journal"]
    assert [record["at"][:7] for record in records(folder)] == [
        "2026-01", "2026-02", "2026-01", "2026-01",
    ]  # fmt: skip
    assert [record["seq"] for record in records(folder)] == [1, 2, 3, 4]


@pytest.mark.parametrize("call", ["fdatasync", "write"])
async def test_after_a_failure_of_the_disk_no_record_is_taken_until_it_is_opened_again(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    await journal.write("before")
    with monkeypatch.context() as broken:
        real = getattr(os, call)

        def fail(descriptor: int, *rest: Any) -> int:
            if os.path.realpath(f"/proc/self/fd/{descriptor}").startswith(str(folder)):
                raise OSError(errno.EIO, "Input/output error")
            return int(real(descriptor, *rest) or 0)

        broken.setattr(os, call, fail)
        with pytest.raises(JournalError, match=r"journal.*Input/output error"):
            await asyncio.gather(*(journal.write("lost") for _ in range(3)))
    with pytest.raises(JournalError, match="start the gate again"):
        await journal.write("after")
    assert journal.failure is not None
    kept = lines(folder)
    with capture_logs() as logs:
        assert journal.note("note", of=1) == 0
    assert logs[0]["fields"] == {"of": 1}
    await journal.close()
    assert lines(folder) == kept
    again = Journal.open(folder)
    assert await again.write("mended") == len(kept) + 1
    await again.close()
    assert verify(folder).broken is None
