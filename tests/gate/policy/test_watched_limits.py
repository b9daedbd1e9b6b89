"""The limits file under a gate that runs: what changes counts soon, and holds up nobody."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gate.policy import watched_limits
from gate.policy.watched_limits import LimitsBeingRead, WatchedLimits, limits_in_force
from runpermit.errors import ChannelLimitsViolationError
from runpermit.limits import LimitsDatabase, LimitsValidator, ViolationType
from tests.gate.punctual import Span, in_time

COUNTS = 0.3  # s, until a change counts
HELD_SECONDS = 60
FREE, TIGHT = '{"A": {"max_value": 10}}', '{"A": {"max_value": 1}}'


class Parser:
    """Stands before the parser; it can be held up, or made to fail."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.failure: Exception | None = None
        self._parse = LimitsDatabase.from_bytes

    def __call__(self, content: bytes, path: Path) -> LimitsDatabase:
        self.entered.set()
        assert self.go_on.wait(HELD_SECONDS)
        if self.failure is not None:
            raise self.failure
        return self._parse(content, path)


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> Parser:
    found = Parser()
    monkeypatch.setattr(LimitsDatabase, "from_bytes", found)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "limits.json"
    file.write_text(FREE)
    return file


@pytest.fixture
def watched(path: Path, parser: Parser) -> Iterator[WatchedLimits]:
    yield from watching(WatchedLimits(path))
    parser.go_on.set()


def watching(limits: WatchedLimits) -> Iterator[WatchedLimits]:
    limits.watch()
    yield limits
    limits.close()


def write(path: Path, text: str) -> None:
    path.write_text(text)


def refusal(limits: WatchedLimits, value: float = 5) -> str | None:
    """How a write is refused now, if it is."""
    began = time.monotonic()
    try:
        limits.validator.validate("A", value)
    except ChannelLimitsViolationError as violation:
        return violation.violation_type
    finally:
        assert time.monotonic() - began < HELD_SECONDS / 2, "it waited for the file"
    return None


def soon(true: Callable[[], bool], within: float = 30) -> None:
    until = time.monotonic() + within
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.alone
async def test_a_tightened_limit_counts_within_its_time(watched: WatchedLimits, path: Path) -> None:
    async def counting() -> Span:
        write(path, FREE)
        soon(lambda: refusal(watched) is None)
        write(path, TIGHT)
        at = time.monotonic()
        while (why := refusal(watched)) is None:  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0.01)
        assert why in {ViolationType.MAX_EXCEEDED, ViolationType.LIMITS_UNAVAILABLE}
        return at, time.monotonic()

    await in_time(counting, COUNTS)
    soon(lambda: refusal(watched) == ViolationType.MAX_EXCEEDED)


def test_a_file_that_goes_refuses_until_it_is_back(watched: WatchedLimits, path: Path) -> None:
    path.unlink()
    soon(lambda: refusal(watched) == ViolationType.LIMITS_UNAVAILABLE)
    path.write_text(FREE)
    soon(lambda: refusal(watched) is None)


def test_while_a_change_is_read_every_write_is_refused_and_nobody_waits(
    watched: WatchedLimits, path: Path, parser: Parser
) -> None:
    parser.entered.clear()
    parser.go_on.clear()
    path.write_text(TIGHT)
    assert parser.entered.wait(30)
    assert refusal(watched, 0) == ViolationType.LIMITS_UNAVAILABLE
    assert "is being read" in (watched.status().error or "")
    parser.go_on.set()
    soon(lambda: watched.status().error is None)
    assert refusal(watched, 0) is None
    assert refusal(watched) == ViolationType.MAX_EXCEEDED


def test_a_file_system_that_is_silent_counts_as_gone(
    watched: WatchedLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    stat = Path.stat

    def slow(self: Path, **how: Any) -> Any:
        assert answers.wait(HELD_SECONDS)
        return stat(self, **how)

    monkeypatch.setattr(watched_limits, "_SILENT", 0.3)
    monkeypatch.setattr(Path, "stat", slow)
    soon(lambda: refusal(watched) == ViolationType.LIMITS_UNAVAILABLE)
    assert "has not answered" in (watched.status().error or "")
    answers.set()
    monkeypatch.setattr(watched_limits, "_SILENT", 30)
    soon(lambda: refusal(watched) is None)


def test_an_unforeseen_error_refuses_and_the_watch_goes_on(
    watched: WatchedLimits, path: Path, parser: Parser
) -> None:
    parser.failure = KeyError("odd")
    path.write_text(TIGHT)
    soon(lambda: "KeyError" in (watched.status().error or ""))
    assert refusal(watched, 0) == ViolationType.LIMITS_UNAVAILABLE
    parser.failure = None
    soon(lambda: refusal(watched) == ViolationType.MAX_EXCEEDED)


def test_where_checking_is_disabled_nothing_is_refused_while_the_file_is_read(
    path: Path, parser: Parser
) -> None:
    for limits in watching(WatchedLimits(path, enabled=False)):
        parser.entered.clear()
        parser.go_on.clear()
        path.write_text(TIGHT)
        assert parser.entered.wait(30)
        assert refusal(limits) is None
        parser.go_on.set()


async def test_a_large_file_stops_no_other_work_of_the_gate(path: Path) -> None:
    """Parsing takes seconds; who waits for as long takes the inhibit channel for silent."""
    entry = {"min_value": -1, "max_value": 1, "max_step": 0.5, "units": "A"}
    text = json.dumps({f"SR:HCM{number}:SP": entry for number in range(40_000)})
    for limits in watching(WatchedLimits(path)):
        write(path, text)
        # What this process works between two turns; the machine's other work counts for nothing.
        turns = [time.process_time()]
        while limits.validator.find("SR:HCM1:SP") is None:
            await asyncio.sleep(0.005)
            turns.append(time.process_time())
        assert max(after - before for before, after in pairwise(turns)) < 0.5


@pytest.mark.parts
@pytest.mark.alone
async def test_behind_a_gate_a_tightened_limit_counts_within_its_time(
    gate: Any, machine: Any
) -> None:
    async def counting() -> Span:
        gate.set_limits({"T:AO": {"max_value": 10}})
        await machine.set("T:AO", 0)
        async with gate.session() as kernel:
            client = await kernel.circuit()
            channel = await client.open("T:AO")
            assert (await client.put_number(channel, 5)).status == 1
            tight = '{"T:AO": {"max_value": 1, "min_interval": 0}}'
            (gate.folder / "limits.json").write_text(tight)
            at = passed = time.monotonic()
            while (violation := (await client.put_number(channel, 5)).violation) is None:
                passed = time.monotonic()
        assert violation in {ViolationType.MAX_EXCEEDED, ViolationType.LIMITS_UNAVAILABLE}
        return at, passed

    await in_time(counting, COUNTS)


class ChangingLimits:
    """Limits that are being read at the first two looks."""

    def __init__(self) -> None:
        self.looks = 0
        self.read = LimitsValidator(None, enabled=False)

    @property
    def validator(self) -> LimitsValidator:
        self.looks += 1
        return LimitsBeingRead(None) if self.looks <= 2 else self.read


async def test_limits_that_are_being_read_are_waited_for_while_anybody_wants_to_know() -> None:
    limits: Any = ChangingLimits()
    asked: list[None] = []
    assert await limits_in_force(limits, lambda: asked.append(None)) is limits.read
    assert len(asked) == 2

    def ended() -> NoReturn:
        raise LookupError

    with pytest.raises(LookupError):
        await limits_in_force(ChangingLimits(), ended)  # type: ignore[arg-type]
