"""The judge alone, with the journal and the IOC in the test's hand: what comes before what."""

import asyncio
import struct
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gate.channel_access.frames import Command, Frame
from gate.channel_access.records import Record
from gate.channel_access.values import Dbr, Target
from gate.journal.journal import JournalError
from gate.messages import Refusal
from gate.permits.enforcement import Enforcement
from gate.policy import watched_limits
from gate.policy.attempt import Attempted
from gate.policy.watched_limits import LimitsBeingRead
from gate.policy.writing import Writer
from runpermit.limits import LimitsFile
from tests.gate.giving_permits import planned

RECORD = Record("A", "A", "ao", Target(Dbr.DOUBLE, 1))
WRITE = Attempted("A", 1, Dbr.DOUBLE, 1, struct.pack(">d", 2.0))


@dataclass
class Bench:
    """What the judge sees; `story` is what happened, in order."""

    story: list[str] = field(default_factory=list)
    inhibited: str | None = None
    may_write: bool = True
    closed: bool = False
    identity: dict[str, object] = field(default_factory=dict)
    enforcement: Any = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    disk: asyncio.Event = field(default_factory=asyncio.Event)
    full: bool = False
    room: bool = True

    async def write(self, event: str, **_: Any) -> int:
        self.story.append(f"{event} is on its way to the disk")
        self.asked.set()
        await self.disk.wait()
        if self.full:
            raise JournalError("no space left")
        self.story.append(f"{event} is on the disk")
        return 7

    def has_room_for(self, _: Refusal) -> bool:
        return self.room

    def note(self, event: str, **_: Any) -> int:
        self.story.append(event)
        return 8

    def ask_read(self, _: int, dtype: int, __: int, *, after: bytes = b"") -> asyncio.Future[Frame]:
        if after:
            self.story.append(after.decode())
        payload = struct.pack(">d", 2.0 if "forwarded" in self.story else 1.0)
        if dtype != Dbr.DOUBLE:
            payload = bytes(8) + payload
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        answer.set_result(Frame((Command.READ_NOTIFY, dtype, 1, 1), 1, payload, b""))
        return answer

    def value_in(self, frame: Frame) -> Frame:
        return frame


@pytest.fixture
def bench() -> Bench:
    return Bench()


def judged(bench: Bench, tmp_path: Path, limits: Any = None) -> Any:
    (tmp_path / "limits.json").write_text('{"A": {"min_interval": 0, "max_value": 5}}')
    writer: Any = Writer(
        limits=limits or LimitsFile(tmp_path / "limits.json"),
        journal=bench,  # type: ignore[arg-type]
        inhibit=SimpleNamespace(refusal=lambda: bench.inhibited),  # type: ignore[arg-type]
        conditions=None,  # type: ignore[arg-type]
    )
    return asyncio.create_task(writer.write(bench, bench, RECORD, WRITE, lambda _: b"forwarded"))


async def on_its_way(bench: Bench) -> None:
    await asyncio.wait_for(bench.asked.wait(), 30)
    assert bench.story == ["write is on its way to the disk"]


async def test_a_write_is_on_the_disk_before_it_is_forwarded(bench: Bench, tmp_path: Path) -> None:
    judging = judged(bench, tmp_path)
    await on_its_way(bench)
    await asyncio.sleep(0.01)
    assert "forwarded" not in bench.story
    bench.disk.set()
    confirming = await judging
    assert (await confirming).outcome == "confirmed"
    assert bench.story == [
        "write is on its way to the disk", "write is on the disk", "forwarded", "confirmed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("meanwhile", "violation"),
    [
        ({"inhibited": "an operator says so"}, "INHIBITED"),
        ({"may_write": False}, "NOT_ALLOWED"),
        ({"closed": True}, "NOT_ALLOWED"),
    ],
)
async def test_what_forbids_writes_while_the_disk_is_slow_still_counts(
    bench: Bench, tmp_path: Path, meanwhile: dict[str, Any], violation: str
) -> None:
    judging = judged(bench, tmp_path)
    await on_its_way(bench)
    for name, value in meanwhile.items():
        setattr(bench, name, value)
    bench.disk.set()
    refusal = await judging
    assert isinstance(refusal, Refusal)
    assert refusal.violation_type == violation
    assert bench.story[1:] == ["write is on the disk", "not_forwarded", "refused"]


async def test_what_the_journal_does_not_take_is_not_forwarded(
    bench: Bench, tmp_path: Path
) -> None:
    bench.full = True
    bench.disk.set()
    refusal = await judged(bench, tmp_path)
    assert isinstance(refusal, Refusal)
    assert "no space left" in refusal.reason
    assert "forwarded" not in bench.story


async def test_a_refusal_beyond_its_sessions_room_is_not_in_the_journal(
    bench: Bench, tmp_path: Path
) -> None:
    bench.inhibited, bench.room = "an operator says so", False
    assert isinstance(await judged(bench, tmp_path), Refusal)
    assert bench.story == []


async def test_limits_that_are_being_read_are_waited_for(bench: Bench, tmp_path: Path) -> None:
    limits = SimpleNamespace(validator=LimitsBeingRead(None, unavailable_reason="it is being read"))
    judging = judged(bench, tmp_path, limits)
    await asyncio.sleep(0.05)
    assert bench.story == []
    limits.validator = LimitsFile(tmp_path / "limits.json").validator
    bench.disk.set()
    assert (await (await judging)).outcome == "confirmed"


async def test_limits_that_stay_unread_let_nothing_pass(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_limits, "_READING_SECONDS", 0.05)
    limits = SimpleNamespace(validator=LimitsBeingRead(None, unavailable_reason="it is being read"))
    refusal = await judged(bench, tmp_path, limits)
    assert refusal.violation_type == "LIMITS_UNAVAILABLE"


async def test_what_a_latch_or_guard_forbids_while_the_disk_is_slow_still_counts(
    bench: Bench, tmp_path: Path
) -> None:
    plan = planned([("A", 2.0)], {"A": 1.0})
    limits = LimitsFile(tmp_path / "limits.json")
    guards = SimpleNamespace(refusal=lambda: None)
    for kind, reason in (("latch", "NOT_ALLOWED"), ("guard", "CONDITION_FAILED")):
        bench.story.clear()
        bench.asked.clear()
        bench.disk.clear()
        judging = judged(bench, tmp_path, limits)
        bench.enforcement = Enforcement("p", plan, limits.validator, guards)
        await on_its_way(bench)
        if kind == "latch":
            bench.enforcement.latch("B", "is too high")
        else:
            guards.refusal = lambda: "it is hot"
        bench.disk.set()
        refusal = await judging
        assert refusal.violation_type == reason
        assert bench.story[1:] == ["write is on the disk", "not_forwarded", "refused"]
