"""The "no writes" switch: on at once, off only when it is kept, and on where nobody knows."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from gate.journal.journal import Journal, JournalError
from gate.journal.reading import records
from gate.policy.inhibit import FILE_NAME, Inhibit
from runpermit.errors import ServiceUnavailableError


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal.open(tmp_path)
    yield journal
    await journal.close()


def restarted(folder: Path, journal: Journal) -> Inhibit:
    """As the next gate finds it."""
    return Inhibit(folder, journal)


async def test_it_is_off_until_it_is_turned_on(tmp_path: Path, journal: Journal) -> None:
    inhibit = Inhibit(tmp_path, journal)
    assert not inhibit.state.on
    assert inhibit.refusal() is None


async def test_who_is_refused_learns_by_whom_why_since_when_and_how_to_lift_it(
    tmp_path: Path, journal: Journal
) -> None:
    inhibit = Inhibit(tmp_path, journal)
    state = await inhibit.turn(on=True, operator="jd", reason="vacuum\x1b[2J")
    since = state.since.replace("T", " ").replace("+00:00", " UTC")
    assert inhibit.refusal() == (
        f"All writes of this host are inhibited by jd since {since}: vacuum\\x1b[2J. "
        "To lift it: runpermit inhibit off"
    )


async def test_it_outlives_the_gate_and_each_change_is_in_the_journal(
    tmp_path: Path, journal: Journal
) -> None:
    inhibit = Inhibit(tmp_path, journal)
    on = await inhibit.turn(on=True, operator="jd", reason="vacuum")
    assert restarted(tmp_path, journal).state == inhibit.state == on
    off = await inhibit.turn(on=False, operator="mk", reason="")
    assert restarted(tmp_path, journal).state == inhibit.state == off
    assert inhibit.refusal() is None
    told = [(r["event"], r["on"], r["by"], r["reason"]) for r in records(tmp_path)]
    assert told == [("inhibit", True, "jd", "vacuum"), ("inhibit", False, "mk", "")]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"{}",
        b'{"on": "false"}', b'{"on": 0}', b'{"on": null}',
        b'{"on": true, "on": false}', b'{"on": false, "until": "noon"}', b'{"on": NaN}',
    ],
)  # fmt: skip
async def test_a_file_that_says_nothing_clear_means_on(
    tmp_path: Path, journal: Journal, content: bytes
) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    inhibit = Inhibit(tmp_path, journal)
    assert inhibit.state.on
    assert FILE_NAME in (inhibit.refusal() or "")
    await inhibit.turn(on=False, operator="jd", reason="looked after it")
    assert restarted(tmp_path, journal).refusal() is None


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
async def test_something_else_in_the_files_place_means_on(
    tmp_path: Path, journal: Journal, make: object
) -> None:
    assert callable(make)
    make(tmp_path / FILE_NAME)
    assert "can't be read" in (Inhibit(tmp_path, journal).refusal() or "")


async def test_other_sources_are_asked_at_every_write(tmp_path: Path, journal: Journal) -> None:
    inhibit = Inhibit(tmp_path, journal)
    reasons: list[str | None] = [None, None]
    inhibit.add_source(lambda: reasons[0])
    inhibit.add_source(lambda: reasons[1])
    assert inhibit.refusal() is None
    reasons[1] = "the inhibit channel is silent"
    assert inhibit.refusal() == "the inhibit channel is silent"
    reasons[0] = "another"
    assert inhibit.refusal() == "another"
    await inhibit.turn(on=True, operator="jd", reason="vacuum")
    assert "by jd" in (inhibit.refusal() or "")
    await inhibit.turn(on=False, operator="jd", reason="")
    assert inhibit.refusal() == "another"


async def test_on_counts_before_the_disk_has_it(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda _: disk.wait(10))
    inhibit = Inhibit(tmp_path, journal)
    turning = asyncio.create_task(inhibit.turn(on=True, operator="jd", reason=""))
    await asyncio.sleep(0)
    assert inhibit.refusal() is not None
    assert not turning.done()
    disk.set()
    assert (await turning).on


async def test_off_does_not_count_before_the_disk_has_it(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    inhibit = Inhibit(tmp_path, journal)
    await inhibit.turn(on=True, operator="jd", reason="")
    disk = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda _: disk.wait(10))
    turning = asyncio.create_task(inhibit.turn(on=False, operator="jd", reason=""))
    await asyncio.sleep(0.05)
    assert inhibit.refusal() is not None
    disk.set()
    assert not (await turning).on
    assert inhibit.refusal() is None


async def test_an_on_that_overtakes_an_off_stays(tmp_path: Path, journal: Journal) -> None:
    inhibit = Inhibit(tmp_path, journal)
    await inhibit.turn(on=True, operator="jd", reason="first")
    off = asyncio.create_task(inhibit.turn(on=False, operator="jd", reason=""))
    await asyncio.sleep(0)
    on = asyncio.create_task(inhibit.turn(on=True, operator="mk", reason="second"))
    assert (await off).by == "mk"
    await on
    assert inhibit.state.reason == "second"
    assert restarted(tmp_path, journal).state.reason == "second"


async def test_a_caller_that_hangs_up_does_not_leave_it_half_turned(
    tmp_path: Path, journal: Journal
) -> None:
    inhibit = Inhibit(tmp_path, journal)
    await inhibit.turn(on=True, operator="jd", reason="")
    turning = asyncio.create_task(inhibit.turn(on=False, operator="mk", reason=""))
    await asyncio.sleep(0)
    turning.cancel()
    await asyncio.sleep(0)
    async with inhibit._turning:
        assert turning.cancelled()
        assert inhibit.state.by == restarted(tmp_path, journal).state.by == "mk"
    assert [record["by"] for record in records(tmp_path)] == ["jd", "mk"]


async def test_without_a_journal_on_counts_and_is_kept_and_off_does_not(
    tmp_path: Path, journal: Journal
) -> None:
    inhibit = Inhibit(tmp_path, journal)
    await journal.close()
    with pytest.raises(JournalError):
        await inhibit.turn(on=True, operator="jd", reason="")
    assert inhibit.refusal() is not None
    assert restarted(tmp_path, journal).state.on
    with pytest.raises(JournalError):
        await inhibit.turn(on=False, operator="jd", reason="")
    assert inhibit.refusal() is not None
    assert restarted(tmp_path, journal).state.on


async def test_where_the_file_cannot_be_written_the_answer_says_what_is_in_force(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    inhibit = Inhibit(tmp_path, journal)

    def full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ServiceUnavailableError, match=r"No space.*restart .* would lift that"):
        await inhibit.turn(on=True, operator="jd", reason="")
    assert inhibit.refusal() is not None
    with pytest.raises(ServiceUnavailableError, match="Writes stay refused"):
        await inhibit.turn(on=False, operator="jd", reason="")
    assert inhibit.refusal() is not None
    assert not (tmp_path / FILE_NAME).exists()
    await journal.close()
    told = [(record["event"], record["on"]) for record in records(tmp_path)]
    assert told == [
        ("inhibit_not_kept", True), ("inhibit", True), ("inhibit", False),
        ("inhibit_not_kept", False),
    ]  # fmt: skip
