"""What an execution left changed is put back, or it is said why not: seen at the IOC."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from demo.stack import free_port
from gate.values import Value
from runpermit.errors import ContainerConfigurationError, ServiceUnavailableError
from runpermit.limits import Condition
from tests.gate.aftermath_bench import Bench, bench_for, until


@pytest.fixture
async def bench(machine: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    for channel in ("T:AO", "T:AO2", "T:CLAMP", "T:LO"):
        await machine.set(channel, 1)
    async with bench_for(tmp_path, machine.port) as bench:
        yield bench


async def test_every_channel_reads_what_it_read_before_the_last_change_first(
    bench: Bench, machine: Any
) -> None:
    await bench.apply(("T:A:DOUBLE", (7.0, 8.0)), execution="before")
    await bench.apply(("T:AO", 2.0), ("T:LO", 7), ("T:AO", 5.0), ("T:A:DOUBLE", (1.0, 2.0)))
    report = await bench.restore()
    assert report.complete
    assert report.operator == "jd"
    told = [(one.channel, one.outcome, one.writes) for one in report.channels]
    assert told == [("T:A:DOUBLE", "restored", 1), ("T:LO", "restored", 1), ("T:AO", "restored", 1)]
    assert await machine.value("T:AO") == 1
    assert await machine.value("T:LO") == 1
    assert await machine.value("T:A:DOUBLE") == (7, 8)
    assert bench.steps() == [[7.0, 8.0], 1, 1.0]
    (started,) = bench.journalled("restore_started")
    assert started["operator"] == "jd"
    await until(lambda: bench.journalled("restore_ended") != [])
    (ended,) = bench.journalled("restore_ended")
    assert (ended["complete"], ended["stopped"], ended["attempt"]) == (True, "", 3)
    assert [one["outcome"] for one in bench.journalled("restore_channel")] == ["restored"] * 3


async def test_it_goes_in_steps_at_the_pace_of_its_limits(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:AO", 2.0))
    bench.set_limits({"T:AO": {"max_step": 0.3, "min_interval": 0.05}})
    puts = await machine.value("T:AO:PUTS")
    start = asyncio.get_running_loop().time()
    assert (await bench.only()).writes == 4
    assert asyncio.get_running_loop().time() - start >= 3 * 0.05
    assert await machine.value("T:AO:PUTS") == puts + 4
    assert await machine.value("T:AO") == 1
    assert bench.steps() == pytest.approx([1.75, 1.5, 1.25, 1])


@pytest.mark.parametrize("element", ["CHAR", "SHORT", "LONG", "FLOAT", "DOUBLE"])
async def test_arrays_of_every_kind_of_number_go_in_steps(
    bench: Bench, machine: Any, element: str
) -> None:
    name = f"T:W:{element}"
    await bench.apply((name, (10, 20)), execution="before")
    await bench.apply((name, (13, 14)))
    bench.set_limits({name: {"max_step": 3}})
    assert (await bench.only()).outcome == "restored"
    assert await machine.value(name) == (10, 20)
    # What may be rounded goes in smaller ones.
    assert len(bench.steps()) == (3 if element == "FLOAT" else 2)


async def test_floats_are_not_rounded_past_their_step(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:ONE:FLOAT", 1000.0), execution="before")
    await bench.apply(("T:ONE:FLOAT", 1001.0))
    bench.set_limits({"T:ONE:FLOAT": {"max_step": 0.1}})
    channel = await bench.only()
    assert (channel.outcome, channel.reason) == ("restored", "")
    assert await machine.value("T:ONE:FLOAT") == 1000


async def test_what_reads_no_number_is_told(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:AO", 2.0))
    await machine.set("T:AO", float("nan"))
    channel = await bench.only()
    assert (channel.outcome, channel.reads) == ("another_hand", {"_type": "float", "value": "nan"})


async def test_what_reads_as_before_is_not_written(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:AO", 2.0))
    await machine.set("T:AO", 1)
    channel = await bench.only()
    assert (channel.outcome, channel.writes) == ("unchanged", 0)
    assert bench.steps() == []


async def test_another_hand_is_respected_and_the_others_go_on(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:AO", 2.0), ("T:AO2", 3.0))
    await machine.set("T:AO2", 4)
    other, ours = (await bench.restore()).channels
    assert (other.channel, other.outcome, other.reads) == ("T:AO2", "another_hand", 4)
    assert "reads 4" in other.reason
    assert (ours.channel, ours.outcome) == ("T:AO", "restored")
    assert await machine.value("T:AO2") == 4


@pytest.mark.parametrize("set_to", [1.42, 1.75])
async def test_another_hand_between_two_steps_is_respected(
    bench: Bench, machine: Any, set_to: float
) -> None:
    await bench.apply(("T:AO", 2.0))
    bench.set_limits({"T:AO": {"max_step": 0.1, "min_interval": 0.2}})
    restoring = asyncio.create_task(bench.only())
    await until(lambda: len(bench.steps()) == 2)
    # The next step waits for its pace by now.
    await asyncio.sleep(0.05)
    await machine.set("T:AO", set_to)
    channel = await restoring
    assert (channel.outcome, channel.reads) == ("another_hand", set_to)
    assert await machine.value("T:AO") == set_to


async def test_what_a_record_made_of_our_write_is_ours(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:CLAMP", 50.0))
    assert await machine.value("T:CLAMP") == 10
    assert (await bench.only()).outcome == "restored"
    assert await machine.value("T:CLAMP") == 1


@pytest.mark.parametrize("reads", [1.0, 2.0])
async def test_where_nobody_knows_what_became_of_a_write_both_values_are_ours(
    bench: Bench, machine: Any, reads: float
) -> None:
    await machine.set("T:AO", reads)
    await bench.journal.write("permit_consumed", execution="e", channels={"T:AO": ""})
    for old, new in ((0.5, 1.0), (1.0, 2.0)):
        seq = await bench.journal.write(
            "write", execution="e", session="apply-1", channel="T:AO", old=old, new=new
        )
    bench.journal.note("confirmed", of=seq - 1, outcome="confirmed", read_back=1.0)
    assert (await bench.only()).outcome == "restored"
    assert await machine.value("T:AO") == 0.5


@pytest.mark.parametrize(
    ("channel", "value", "limits", "reason"),
    [
        ("T:AO", 2.0, {"T:AO": {"restore": False}}, "restore: false"),
        ("T:MB", 1, {}, "a state: its limits"),
        ("T:SO", "new", {}, "a text: its limits"),
        ("T:F.HIGH", 3.0, {"T:F.HIGH": {}}, "a field: its limits"),
    ],
)
async def test_what_is_not_to_be_put_back_is_not_touched(
    bench: Bench, machine: Any, channel: str, value: Value, limits: dict[str, Any], reason: str
) -> None:
    bench.set_limits(limits)
    await bench.apply((channel, value))
    told = await bench.only()
    assert told.outcome == "not_restorable"
    assert reason in told.reason
    assert bench.steps() == []
    assert await machine.value(channel) == value


@pytest.mark.parametrize(("channel", "before", "value"), [("T:MB", 0, 1), ("T:SO", "old", "new")])
async def test_states_and_texts_are_put_back_where_their_limits_say_so(
    bench: Bench, machine: Any, channel: str, before: Value, value: Value
) -> None:
    bench.set_limits({channel: {"restore": True}})
    await bench.apply((channel, before), execution="before")
    await bench.apply((channel, value))
    assert (await bench.only()).outcome == "restored"
    assert await machine.value(channel) == before


async def test_what_the_plan_said_can_not_be_put_back_is_not(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:AO", 2.0), **{"T:AO": "a kicker must not be restored"})
    channel = await bench.only()
    assert (channel.outcome, channel.reason) == ("not_restorable", "a kicker must not be restored")
    assert await machine.value("T:AO") == 2


async def test_what_was_in_no_plan_is_not_put_back(bench: Bench) -> None:
    await bench.journal.write(
        "write", execution="e", session="apply-1", channel="T:AO", old=0, new=1.0
    )
    channel = await bench.only()
    assert (channel.outcome, channel.reason) == (
        "not_restorable", "it is in no plan that was approved",
    )  # fmt: skip


async def test_a_long_array_that_the_journal_does_not_hold_is_not_put_back(
    start_ioc: Any, tmp_path: Path
) -> None:
    with start_ioc("--prefix", "L:", "--big", "20000") as ioc:
        async with bench_for(tmp_path, ioc.port) as bench:
            ones, twos = (tuple([number] * 15_000) for number in (1.0, 2.0))
            await bench.apply(("L:BIG", ones), execution="before")
            await bench.apply(("L:BIG", twos))
            channel = await bench.only()
            assert channel.outcome == "not_restorable"
            assert channel.reason == "the journal does not hold all of what it was before"


async def test_a_refusal_ends_its_channel_and_the_others_go_on(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:AO", 2.0), ("T:AO2", 3.0))
    bench.set_limits({"T:AO2": {"conditions": [{"channel": "T:PERMIT", "op": "==", "value": 0}]}})
    refused, restored = (await bench.restore()).channels
    assert (refused.channel, refused.outcome, refused.writes) == ("T:AO2", "refused", 0)
    assert "T:PERMIT == 0 does not hold" in refused.reason
    assert (restored.channel, restored.outcome) == ("T:AO", "restored")
    assert await machine.value("T:AO2") == 3


async def test_what_its_limits_forbid_by_now_is_not_even_approached(
    bench: Bench, machine: Any
) -> None:
    await bench.apply(("T:AO", 5.0))
    bench.set_limits({"T:AO": {"min_value": 3, "max_step": 0.5}})
    channel = await bench.only()
    assert channel.outcome == "refused"
    assert "min_value" in channel.reason
    assert await machine.value("T:AO") == 5


async def test_where_no_way_leads_nothing_is_written(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:AO", -1.0))
    bench.set_limits({"T:AO": {"max_step_relative": 0.5}})
    channel = await bench.only()
    assert channel.outcome == "refused"
    assert channel.reason.startswith("no way leads from -1 to 1")
    assert await machine.value("T:AO") == -1


async def test_broken_limits_refuse(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:AO", 2.0))
    (bench.folder / "limits.json").write_text("{")
    assert (await bench.only()).outcome == "refused"
    assert await machine.value("T:AO") == 2


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
    bench: Bench, machine: Any
) -> None:
    await bench.apply(("T:AO", 2.0))
    bench.set_limits({"T:AO": {"max_step": 0.5, "min_interval": 0.3}})
    restoring = asyncio.create_task(bench.only())
    await until(lambda: bench.steps() == [1.5])
    # The last step waits for its pace by now, and is refused when its turn comes.
    await asyncio.sleep(0.1)
    await bench.inhibit.turn(on=True, operator="o", reason="a test")
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


async def test_a_guard_that_is_violated_on_the_way_ends_it(machine: Any, tmp_path: Path) -> None:
    await machine.set("T:AO", 1)
    async with bench_for(tmp_path, machine.port, guards=[GUARD]) as bench:
        await bench.apply(("T:AO", 2.0))
        bench.set_limits({"T:AO": {"max_step": 0.1, "min_interval": 0.2}})
        restoring = asyncio.create_task(bench.only())
        await until(lambda: len(bench.steps()) == 2)
        await machine.set("T:PERMIT", 0)
        async with asyncio.timeout(0.3):
            channel = await restoring
        await machine.set("T:PERMIT", 1)
        assert channel.outcome == "failed"
        assert "The guard T:PERMIT == 'yes' does not hold" in channel.reason
        assert len(bench.steps()) == 2


async def test_cancelled_it_ends_behind_the_write_under_way_and_goes_on_when_asked_again(
    bench: Bench, machine: Any
) -> None:
    await bench.apply(("T:AO", 2.0), ("T:AO2", 2.0))
    bench.set_limits({"T:AO": {"max_step": 0.25, "min_interval": 0.1}})
    puts = await machine.value("T:AO:PUTS"), await machine.value("T:AO2:PUTS")
    restoring = asyncio.create_task(bench.restore())
    await until(lambda: len(bench.steps()) == 3)
    restoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restoring
    reached = await machine.value("T:AO")
    assert reached > 1
    await until(lambda: bench.journalled("restore_ended") != [])
    assert bench.journalled("restore_ended")[0]["stopped"] == "whoever asked for it is gone"
    report = await bench.restore()
    assert [one.outcome for one in report.channels] == ["restored", "restored"]
    assert [one.writes for one in report.channels] == [0, round((reached - 1) / 0.25)]
    assert (await machine.value("T:AO:PUTS"), await machine.value("T:AO2:PUTS")) == (
        puts[0] + 4, puts[1] + 1,
    )  # fmt: skip


async def test_it_can_be_stopped_and_says_of_each_channel_where_it_stands(
    bench: Bench, machine: Any
) -> None:
    await bench.apply(("T:AO", 2.0), ("T:AO2", 2.0))
    bench.set_limits({"T:AO2": {"max_step": 0.1, "min_interval": 0.2}})
    restoring = asyncio.create_task(bench.restore())
    await until(lambda: len(bench.steps()) == 2)
    assert bench.restorer.stop("other", "by jd") == []
    (name,) = bench.restorer.stop("e", "by jd")
    assert name.startswith("restore-")
    async with asyncio.timeout(0.15):
        one, other = (await restoring).channels
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
    start_ioc: Any, tmp_path: Path
) -> None:
    with start_ioc("--prefix", "R:") as ioc:
        async with bench_for(tmp_path, ioc.port) as bench:
            await bench.apply(("R:AO", 1.0))
            bench.set_limits({"R:AO": {"max_step": 0.1, "min_interval": 0.1}})
            restoring = asyncio.create_task(bench.only())
            await until(lambda: len(bench.steps()) == 2)
            ioc.freeze()
            async with asyncio.timeout(4):
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
    await until(lambda: len(bench.steps()) == 1)
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
    await until(lambda: len(bench.steps()) == 1)
    with pytest.raises(ServiceUnavailableError, match="is being put back already"):
        await bench.restore()
    assert (await restoring).outcome == "restored"


async def test_while_the_execution_applies_nothing_is_put_back(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:AO", 2.0))
    bench.applying = True
    with pytest.raises(ServiceUnavailableError, match="still has a session that may write"):
        await bench.restore()
    assert await machine.value("T:AO") == 2


async def test_channels_that_another_execution_writes_are_not_touched(
    bench: Bench, machine: Any
) -> None:
    await bench.apply(("T:AO", 2.0))
    async with bench.claims.hold("other", ["T:AO"], 0):
        with pytest.raises(ServiceUnavailableError, match="other"):
            await bench.restore()
        assert await machine.value("T:AO") == 2
    assert (await bench.only()).outcome == "restored"


async def test_while_it_goes_on_nobody_else_claims_its_channels(bench: Bench) -> None:
    await bench.apply(("T:AO", 2.0))
    bench.set_limits({"T:AO": {"max_step": 0.25, "min_interval": 0.1}})
    restoring = asyncio.create_task(bench.only())
    await until(lambda: len(bench.steps()) == 1)
    with pytest.raises(ServiceUnavailableError):
        async with bench.claims.hold("other", ["T:AO"], 0):
            pass
    assert (await restoring).outcome == "restored"


async def test_a_journal_that_can_not_be_read_restores_nothing(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:AO", 2.0))
    with next((bench.folder / "journal").glob("*.jsonl")).open("ab") as file:
        file.write(b'{"execution": "e", "event": \n')
    with pytest.raises(ServiceUnavailableError, match="does not tell what e left changed"):
        await bench.restore()
    assert await machine.value("T:AO") == 2


async def test_an_execution_that_wrote_nothing_has_nothing_to_put_back(bench: Bench) -> None:
    assert (await bench.restore("unknown")).channels == []


async def test_a_gate_that_writes_nothing_puts_nothing_back(bench: Bench, machine: Any) -> None:
    await bench.apply(("T:AO", 2.0))
    bench.restorer._writes_enabled = False
    with pytest.raises(
        ContainerConfigurationError, match=r"control_system\.writes_enabled = false"
    ):
        await bench.restore()
    assert await machine.value("T:AO") == 2
