"""A restore that waits, is stopped, loses its IOC or its gate: it goes on where it stood."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from demo.stack import free_port
from gate.channel_access import ioc_circuit
from runpermit.errors import ServiceUnavailableError
from runpermit.limits import Condition
from tests.gate.aftermath_bench import Bench, bench_for, paces, until

PERMIT = "9f" * 32


async def test_while_writes_are_inhibited_it_waits_and_then_goes_on(
    bench: Bench, machine: Any
) -> None:
    await bench.apply(("T:AO", 2.0))
    await bench.inhibit.turn(on=True, operator="o", reason="a test")
    restoring = asyncio.create_task(bench.only())
    await until(lambda: bench.journalled("restore_waits") != [])
    assert "a test" in bench.journalled("restore_waits")[0]["why"]
    assert await machine.value("T:AO") == 2
    await bench.inhibit.turn(on=False, operator="o", reason="over")
    assert (await restoring).outcome == "restored"
    assert await machine.value("T:AO") == 1


async def test_inhibited_on_the_way_it_stands_still_and_then_goes_on(
    bench: Bench, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.apply(("T:AO", 2.0))
    bench.set_limits({"T:AO": {"max_step": 0.5, "min_interval": 0.2}})
    pace = paces(monkeypatch, 1)
    restoring = asyncio.create_task(bench.only())
    # The last step waits for its pace, and is refused when its turn comes.
    await until(pace.waiting.is_set)
    assert bench.steps() == [1.5]
    await bench.inhibit.turn(on=True, operator="o", reason="a test")
    pace.go_on.set()
    await until(lambda: bench.journalled("refused") != [])
    assert await machine.value("T:AO") == 1.5
    await bench.inhibit.turn(on=False, operator="o", reason="over")
    channel = await restoring
    assert (channel.outcome, channel.writes) == ("restored", 2)
    assert await machine.value("T:AO") == 1


GUARD = Condition.model_validate({"channel": "T:PERMIT", "op": "==", "value": "yes"})


async def test_where_a_guard_does_not_hold_nothing_is_put_back(
    machine: Any, tmp_path: Path
) -> None:
    await machine.set("T:AO", 1)
    async with bench_for(tmp_path, machine.port, guards=[GUARD]) as bench:
        await bench.apply(("T:AO", 2.0))
        await machine.set("T:PERMIT", 0)
        channel = await bench.only()
        await machine.set("T:PERMIT", 1)
        assert channel.outcome == "failed"
        assert "The guard T:PERMIT == 'yes' does not hold" in channel.reason
        assert await machine.value("T:AO") == 2
        assert (await bench.only()).outcome == "restored"


async def test_a_guard_that_is_violated_on_the_way_ends_it(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await machine.set("T:AO", 1)
    async with bench_for(tmp_path, machine.port, guards=[GUARD]) as bench:
        await bench.apply(("T:AO", 2.0))
        bench.set_limits({"T:AO": {"max_step": 0.1, "min_interval": 0.2}})
        pace = paces(monkeypatch, 2)
        restoring = asyncio.create_task(bench.only())
        async with asyncio.timeout(30):
            await pace.waiting.wait()
            await machine.set("T:PERMIT", 0)
            channel = await restoring
        await machine.set("T:PERMIT", 1)
        assert channel.outcome == "failed"
        assert "The guard T:PERMIT == 'yes' does not hold" in channel.reason
        assert len(bench.steps()) == 2


async def test_cancelled_it_ends_behind_the_write_under_way_and_goes_on_when_asked_again(
    bench: Bench, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.apply(("T:AO", 2.0), ("T:AO2", 2.0), permit=PERMIT)
    bench.set_limits({"T:AO": {"max_step": 0.25, "min_interval": 0.1}})
    puts = await machine.value("T:AO:PUTS"), await machine.value("T:AO2:PUTS")
    with monkeypatch.context() as patched:
        pace = paces(patched, 2)
        restoring = asyncio.create_task(bench.restore())
        await asyncio.wait_for(pace.waiting.wait(), 30)
        restoring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await restoring
    reached = await machine.value("T:AO")
    assert reached > 1
    await until(lambda: bench.journalled("restore_ended") != [])
    assert bench.journalled("restore_ended")[0]["stopped"] == "whoever asked for it is gone"
    # A verdict takes its last step for no other hand's.
    [left] = await bench.changes(PERMIT)
    assert (left.channel, left.written, left.reads) == ("T:AO", reached, reached)
    report = await bench.restore()
    assert [one.outcome for one in report.channels] == ["restored", "restored"]
    assert [one.writes for one in report.channels] == [0, round((reached - 1) / 0.25)]
    assert (await machine.value("T:AO:PUTS"), await machine.value("T:AO2:PUTS")) == (
        puts[0] + 4, puts[1] + 1,
    )  # fmt: skip


async def test_it_can_be_stopped_and_says_of_each_channel_where_it_stands(
    bench: Bench, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.apply(("T:AO", 2.0), ("T:AO2", 2.0))
    bench.set_limits({"T:AO2": {"max_step": 0.1, "min_interval": 0.2}})
    with monkeypatch.context() as patched:
        pace = paces(patched, 2)
        restoring = asyncio.create_task(bench.restore())
        async with asyncio.timeout(30):
            await pace.waiting.wait()
            assert bench.restorer.stop("other", "by jd") == []
            (name,) = bench.restorer.stop("e", "by jd")
            assert name.startswith("restore-")
            one, other = (await restoring).channels
    assert len(bench.steps()) == 2
    assert (one.outcome, other.outcome) == ("failed", "failed")
    assert one.reason == other.reason == "the restore was stopped before: by jd"
    assert await machine.value("T:AO") == 2
    assert (await bench.restore()).complete


async def test_it_goes_on_after_a_restart_of_the_gate(machine: Any, tmp_path: Path) -> None:
    await machine.set("T:AO", 1)
    async with bench_for(tmp_path, machine.port) as bench:
        await bench.apply(("T:AO", 2.0))
    async with bench_for(tmp_path, machine.port) as bench:
        assert (await bench.only()).outcome == "restored"
        # Nothing is left to do, and what others do from now on is theirs.
        assert (await bench.only()).outcome == "restored"
        await machine.set("T:AO", 2)
        assert (await bench.only()).outcome == "another_hand"
        assert len(bench.steps()) == 1


async def test_a_lost_ioc_fails_its_channel_and_the_others_go_on(
    machine: Any, start_ioc: Any, tmp_path: Path
) -> None:
    port = free_port()
    async with bench_for(tmp_path, machine.port, port) as bench:
        await machine.set("T:AO", 1)
        with start_ioc("--prefix", "R:", port=port):
            await bench.apply(("T:AO", 2.0), ("R:AO", 5.0))
        lost, restored = (await bench.restore()).channels
        assert (lost.channel, lost.outcome, lost.reads) == ("R:AO", "failed", None)
        assert (restored.channel, restored.outcome) == ("T:AO", "restored")
        with start_ioc("--prefix", "R:", "--start", "5", port=port) as ioc:
            bench.directory.forget(("127.0.0.1", port))
            bench.directory._known.clear()
            again, _ = (await bench.restore()).channels
            assert (again.outcome, again.writes) == ("restored", 1)
            assert await ioc.value("R:AO") == 0


@pytest.mark.slow
async def test_an_ioc_that_freezes_on_the_way_fails_its_channel_and_can_be_gone_on_with(
    start_ioc: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where it froze between read-back and put callback, only its silence tells that it is lost.
    monkeypatch.setattr(ioc_circuit, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(ioc_circuit, "ECHO_AFTER_SECONDS", 0.5)
    monkeypatch.setattr(ioc_circuit, "LOST_AFTER_SECONDS", 1.5)
    with start_ioc("--prefix", "R:") as ioc:
        async with bench_for(tmp_path, ioc.port) as bench:
            await bench.apply(("R:AO", 1.0))
            bench.set_limits({"R:AO": {"max_step": 0.1, "min_interval": 0.1}})
            restoring = asyncio.create_task(bench.only())
            await until(lambda: len(bench.steps()) >= 2)
            ioc.freeze()
            async with asyncio.timeout(30):
                channel = await restoring
            # Refused where it froze before the step was judged.
            assert channel.outcome in {"failed", "refused"}
            ioc.thaw()
            assert (await bench.only()).outcome == "restored"
            assert await ioc.value("R:AO") == 0


async def test_a_record_that_takes_its_time_is_waited_for(bench: Bench) -> None:
    # As a motor does: its put callback comes when it is there, a second later here.
    bench.set_limits({"T:SLOW.A": {"restore": True}})
    await bench.apply(("T:AO", 2.0), ("T:SLOW.A", 5.0))
    report = await bench.restore()
    assert [one.outcome for one in report.channels] == ["restored", "restored"]
    slow, other = (
        datetime.fromisoformat(record["at"])
        for record in bench.journalled("write")
        if record["session"].startswith("restore-")
    )
    assert (other - slow).total_seconds() > 0.9


async def test_what_was_stopped_on_its_way_is_put_back_from_there(
    bench: Bench, machine: Any
) -> None:
    await bench.apply(("T:AO", 2.0))
    bench.set_limits({"T:AO": {"stop": {"channel": "T:LO", "value": 5}}})
    assert await bench.stopper.stop(["T:AO"], {"execution": "e"}) == ["T:LO"]
    await machine.set("T:AO", 1.4)  # as a motor record does when it has come to a stand
    assert (await bench.only()).outcome == "restored"
    assert await machine.value("T:AO") == 1


async def test_what_a_stopped_restore_set_going_is_stopped(bench: Bench, machine: Any) -> None:
    stop = {"channel": "T:LO", "value": 5}
    bench.set_limits({"T:SLOW.A": {"restore": True, "stop": stop}})
    await bench.apply(("T:SLOW.A", 5.0))
    restoring = asyncio.create_task(bench.only())
    await until(lambda: len(bench.steps()) >= 1)
    bench.restorer.stop("e", "by jd")
    await restoring
    assert await machine.value("T:LO") == 5
    (record,) = bench.journalled("stop_write")
    assert record["stops"] == ["T:SLOW.A"]
    assert record["session"].startswith("restore-")


async def test_a_second_restore_of_an_execution_does_not_begin(bench: Bench) -> None:
    await bench.apply(("T:AO", 2.0))
    bench.set_limits({"T:AO": {"max_step": 0.25, "min_interval": 0.1}})
    restoring = asyncio.create_task(bench.only())
    await until(lambda: len(bench.steps()) >= 1)
    with pytest.raises(ServiceUnavailableError, match="is being put back already"):
        await bench.restore()
    assert (await restoring).outcome == "restored"
