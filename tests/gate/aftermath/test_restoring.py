"""What an execution left changed is put back, or it is said why not: seen at the IOC."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gate.channel_access.values import Value
from runpermit.errors import ContainerConfigurationError, ServiceUnavailableError
from tests.gate.aftermath_bench import Bench, bench_for, paces, until


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
    bench: Bench, machine: Any, monkeypatch: pytest.MonkeyPatch, set_to: float
) -> None:
    await bench.apply(("T:AO", 2.0))
    bench.set_limits({"T:AO": {"max_step": 0.1, "min_interval": 0.2}})
    pace = paces(monkeypatch, 2)
    restoring = asyncio.create_task(bench.only())
    await until(pace.waiting.is_set)
    assert len(bench.steps()) == 2
    await machine.set("T:AO", set_to)
    pace.go_on.set()
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
    await until(lambda: len(bench.steps()) >= 1)
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
