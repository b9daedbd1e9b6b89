"""What the journal says of a permit after a fault, whatever the fault was."""

import asyncio
import json
import math
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.channel_access.frames import Command, pack
from gate.channel_access.values import Dbr, encode
from gate.messages import LINE_BYTES, MAX_WRITES, GateVerdict
from gate.permits.index import PermitIndex
from gate.permits.permits import bounded
from runpermit.errors import (
    CodeAnalysisError,
    ContainerConfigurationError,
    ServiceUnavailableError,
    WorkflowError,
)
from runpermit.gate_control import GateRefusedError, ask
from tests.gate.giving_permits import planned
from tests.gate.punctual import Span, in_time

STOP_SECONDS = 0.1
TWO = planned([("T:AO", 1.0), ("T:AO2", 5.0)])


@pytest.fixture
async def at_rest(enforcing: Any, machine: Any) -> None:
    enforcing.set_limits({"T:AO": {}, "T:AO2": {}})
    for name in ("T:AO", "T:AO2"):
        await machine.set(name, 0)


async def puts(kernel: Any, *writes: tuple[str, float]) -> None:
    client = await kernel.circuit()
    for name, number in writes:
        await client.put_number(await client.open(name), number)


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_a_session_that_is_open_is_fenced_first(enforcing: Any, machine: Any) -> None:
    permit = await enforcing.permit(TWO)
    async with enforcing.session(permit=permit) as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:AO")
        await client.put_number(channel, 1)
        said = await enforcing.client.verdict(permit.id, "e")
        before = await machine.value("T:AO2:PUTS")
        assert await client.ended()
        report = await asyncio.wait_for(kernel.session.closed_by_gate, 30)
        assert report.ended == "the verdict on its permit was asked for"
        assert not kernel.session.lost.done()
    assert (said.verdict, said.forwarded) == ("partial", 1)
    assert said.session == kernel.session.identity
    assert "the verdict on its permit was asked for" in said.reason
    (write,) = said.writes
    assert (write.channel, write.old, write.new, write.outcome) == ("T:AO", 0.0, 1.0, "confirmed")
    (change,) = said.changes
    assert (change.channel, change.before, change.written, change.reads) == ("T:AO", 0.0, 1.0, 1.0)
    assert (change.restorable, change.why_not, change.uncertain) == (True, "", False)
    assert await machine.value("T:AO2:PUTS") == before


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_it_says_the_same_when_it_is_asked_again(enforcing: Any, machine: Any) -> None:
    permit = await enforcing.permit(TWO)
    async with enforcing.session(permit=permit) as kernel:
        await puts(kernel, ("T:AO", 1.0), ("T:AO2", 5.0))
        await kernel.session.close(completed=True)
    first = await enforcing.client.verdict(permit.id, "e")
    assert (first.verdict, first.forwarded) == ("completed", 2)
    assert first.reason == "The program came to its end."
    assert await enforcing.client.verdict(permit.id, "e") == first
    await machine.set("T:AO2", 7)
    again = await enforcing.client.verdict(permit.id, "e")
    assert [change.reads for change in again.changes] == [1.0, 7.0]
    said = await enforcing.journalled("verdict", permit=permit.id)
    assert (said["verdict"], said["forwarded"], said["execution"]) == ("completed", 2, "e")


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
@pytest.mark.parametrize(
    ("writes", "completed", "verdict"),
    [
        ([], False, "nothing_forwarded"),
        ([], True, "completed"),
        ([("T:AO", 1.0)], False, "partial"),
        ([("T:AO", 1.0)], True, "completed"),
        ([("T:AO", 99.0)], True, "nothing_forwarded"),
        ([("T:AO", 1.0), ("T:AO", 99.0)], True, "partial"),
    ],
)
async def test_the_verdicts(
    enforcing: Any, writes: list[tuple[str, float]], verdict: str, *, completed: bool
) -> None:
    permit = await enforcing.permit(TWO)
    async with enforcing.session(permit=permit) as kernel:
        await puts(kernel, *writes)
        await kernel.session.close(completed=completed)
    assert (await enforcing.client.verdict(permit.id, "e")).verdict == verdict


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_what_the_program_put_back_itself_is_not_left_changed(enforcing: Any) -> None:
    plan = planned([("T:AO", 1.0), ("T:AO2", 5.0), ("T:AO", 0.0)], why_not="", restorable=False)
    permit = await enforcing.permit(plan)
    async with enforcing.session(permit=permit) as kernel:
        await puts(kernel, ("T:AO", 1.0), ("T:AO2", 5.0), ("T:AO", 0.0))
        await kernel.session.close()
    (change,) = (await enforcing.client.verdict(permit.id, "e")).changes
    assert (change.channel, change.restorable) == ("T:AO2", False)
    assert change.why_not == "it can't be put back"


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_a_permit_is_told_to_its_own_execution_alone(enforcing: Any) -> None:
    permit = await enforcing.permit(TWO)
    async with enforcing.session(permit=permit):
        with pytest.raises(WorkflowError, match="none of f"):
            await enforcing.client.verdict(permit.id, "f")


@pytest.mark.parts
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_gate_that_is_killed_between_intent_and_confirmation_tells_it_as_uncertain(
    machine: Any, start_gate: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before it forwards, and after; both look alike to the journal, not to the machine."""
    monkeypatch.setenv("DIES", moment)
    for name in ("T:AO", "T:AO2"):
        await machine.set(name, 0)
    with start_gate(machine, serve=False, enforced=True) as gate:
        gate.module = "tests.gate.dying_gate"
        with gate.serving():
            permit = await gate.permit(TWO)
            async with gate.session(permit=permit) as kernel:
                client = await kernel.circuit()
                await client.put_number(await client.open("T:AO"), 1)
                with suppress(ConnectionError, TimeoutError):
                    await client.put_number(await client.open("T:AO2"), 5)
                await asyncio.wait_for(kernel.session.lost, 30)
                with pytest.raises(ServiceUnavailableError):
                    await gate.client.verdict(permit.id, "e")
        gate.module = "gate"
        arrived = {"before": 0.0, "after": 5.0}[moment]
        assert await machine.value("T:AO2") == arrived
        with gate.serving():
            for _ in range(2):
                said = await gate.client.verdict(permit.id, "e")
                assert (said.verdict, said.forwarded) == ("partial", 2)
                outcomes = [(w.channel, w.outcome, w.read_back) for w in said.writes]
                assert outcomes == [
                    ("T:AO", "confirmed", 1.0),
                    ("T:AO2", "uncertain", arrived),
                ]
                assert [(c.channel, c.reads, c.uncertain) for c in said.changes] == [
                    ("T:AO", 1.0, False),
                    ("T:AO2", arrived, True),
                ]
                assert "The gate ended while the session was open" in said.reason
            with pytest.raises(WorkflowError, match="This permit was used at"):
                async with gate.session(permit=permit):
                    pass


@pytest.mark.parts
async def test_a_write_whose_ioc_was_lost_is_uncertain_and_can_not_be_read(
    start_ioc: Any, start_gate: Any
) -> None:
    """The record is busy with a put callback: its IOC has the next one, and has not taken it."""
    limits = {"C:SLOW.A": {}}
    with start_ioc("--prefix", "C:") as ioc, start_gate(ioc, limits=limits, enforced=True) as gate:
        await ioc.set("C:SLOW.ODLY", 60)
        permit = await gate.permit(planned([("C:SLOW.A", 1.0), ("C:SLOW.A", 2.0)]))
        async with gate.session(permit=permit) as kernel:
            for number in (1.0, 2.0):
                client = await kernel.circuit()
                channel = await client.open("C:SLOW.A")
                value = encode(Dbr.DOUBLE, (number,))
                client.send(pack(Command.WRITE_NOTIFY, 6, 1, channel.sid, 1, value))
                await gate.journalled("write", new=number)
                await asyncio.sleep(0.1)
            ioc.kill()
            await kernel.session.close()
        said = await gate.client.verdict(permit.id, "e")
    assert (said.verdict, said.forwarded) == ("partial", 2)
    assert [(w.outcome, w.read_back) for w in said.writes] == [
        ("alarm", 1.0),  # it was never processed before
        ("uncertain", None),
    ]
    (change,) = said.changes
    assert (change.written, change.reads, change.uncertain) == (2.0, None, True)


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_a_worker_that_does_not_renew_loses_its_session(
    machine: Any, start_gate: Any
) -> None:
    with start_gate(machine, enforced=True, gate={"lease": 2}) as gate:
        permit = await gate.permit(TWO)
        async with gate.session(permit=permit, self_renewing=False) as kernel:
            for _ in range(5):
                await asyncio.sleep(0.5)
                kernel.session.renew()
            await puts(kernel, ("T:AO", 1.0))
            report = await asyncio.wait_for(kernel.session.closed_by_gate, 30)
            assert report.ended == "its worker was silent for 2 s (gate.lease)"
            assert report.forwarded == 1
            assert await kernel.session.close(completed=True) == report
            kernel.session.renew()
        said = await gate.client.verdict(permit.id, "e")
    assert (said.verdict, said.reason) == (
        "partial",
        f"The gate ended the session: {report.ended}.",
    )


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_a_stop_ends_the_sessions_of_its_execution_alone(enforcing: Any) -> None:
    first = await enforcing.permit(planned([("T:AO", 1.0)]), "stops")
    async with (
        enforcing.session(execution="stops", permit=first) as stopped,
        enforcing.session("read_only", execution="stops") as reading,
        enforcing.session(execution="goes", plan=planned([("T:AO2", 1.0)])) as other,
    ):
        names = await enforcing.client.stop("stops", "jd", "beam dump")
        assert sorted(names) == sorted([stopped.session.identity, reading.session.identity])
        for kernel in (stopped, reading):
            report = await asyncio.wait_for(kernel.session.closed_by_gate, 30)
            assert report.ended == "stopped by jd: beam dump"
        await puts(other, ("T:AO2", 1.0))
        assert (await other.session.close()).forwarded == 1
    record = await enforcing.journalled("stopped", execution="stops")
    assert (record["operator"], record["reason"]) == ("jd", "beam dump")


@pytest.mark.parts
@pytest.mark.alone
@pytest.mark.usefixtures("at_rest")
@pytest.mark.parametrize("asked", ["busy", None])
async def test_after_a_stop_nothing_is_forwarded_within_its_time(
    enforcing: Any, machine: Any, asked: str | None
) -> None:
    plan = planned([("T:AO", 1.0)] * 1000 + [("T:AO2", 1.0)] * 1000)

    async def stopping() -> Span:
        execution = f"{asked or 'all'} {time.time()}"
        async with (
            enforcing.session(execution=execution, plan=plan) as kernel,
            machine.direct() as direct,
        ):
            return await last_forwarded(kernel, direct, asked and execution)

    async def last_forwarded(kernel: Any, direct: Any, stopped: str | None) -> Span:
        counters = [await direct.open(f"{name}:PUTS") for name in ("T:AO", "T:AO2")]
        for name in ("T:AO", "T:AO2"):
            client = await kernel.circuit()
            channel = await client.open(name)
            one = encode(Dbr.DOUBLE, (1.0,))
            client.send(pack(Command.WRITE, 6, 1, channel.sid, 1, one) * 900)
        await asyncio.sleep(0.05)
        begun = changed = time.monotonic()
        assert len(await enforcing.client.stop(stopped, "jd", "")) == 1
        counts: list[Any] = []
        while time.monotonic() < changed + 0.5:
            found = [await direct.value(counter) for counter in counters]
            if found != counts:
                counts, changed = found, time.monotonic()
        report = await asyncio.wait_for(kernel.session.closed_by_gate, 30)
        assert report.forwarded > 0
        # Where all had passed before it was stopped nothing was measured.
        return begun, changed if report.forwarded < 1800 else math.inf

    await in_time(stopping, 3 * STOP_SECONDS)


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_what_was_on_its_way_when_it_was_stopped_is_stopped_as_the_limits_say(
    enforcing: Any, machine: Any
) -> None:
    enforcing.set_limits(
        {"T:SLOW.A": {"stop": {"channel": "T:LO", "value": 7}}, "T:AO": {}, "T:LO": {}}
    )
    await machine.set("T:LO", 0)
    await machine.set("T:SLOW.A", 0)
    await asyncio.sleep(1.2)  # its delay
    await machine.set("T:SLOW.ODLY", 60)
    async with enforcing.session(execution="moves", plan=planned([("T:SLOW.A", 1.0)])) as kernel:
        client = await kernel.circuit()
        channel = await client.open("T:SLOW.A")
        one = encode(Dbr.DOUBLE, (1.0,))
        client.send(pack(Command.WRITE_NOTIFY, 6, 1, channel.sid, 1, one))
        write = await enforcing.journalled("write", channel="T:SLOW.A")
        await enforcing.journalled("confirmed", of=write["seq"])
        await enforcing.client.stop("moves", "jd", "")
        await asyncio.wait_for(kernel.session.closed_by_gate, 30)
    assert await machine.value("T:LO") == 7


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_records_of_an_execution_are_told(enforcing: Any) -> None:
    permit = await enforcing.permit(TWO, "told")
    async with enforcing.session(execution="told", permit=permit) as kernel:
        await puts(kernel, ("T:AO", 1.0))
        await kernel.session.close()
    await enforcing.client.stop("told", "jd", "enough")
    await enforcing.journalled("session_closed", execution="told")
    found = await enforcing.client.records("told")
    assert [record["event"] for record in found.records] == [
        "permit_consumed", "session_opened", "write", "confirmed", "session_closed", "stopped",
    ]  # fmt: skip
    assert found.left_out == 0
    assert found.chain is not None
    assert found.chain.broken == ""


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_the_status_tells_who_may_write_now(enforcing: Any) -> None:
    async with (
        enforcing.session(execution="writes", plan=TWO),
        enforcing.session("read_only", execution="reads"),
    ):
        status = await asyncio.to_thread(ask, enforcing.control, {"do": "status"})
    assert status["writing"] == ["writes"]


@pytest.mark.parts
@pytest.mark.parametrize(
    "request_",
    [
        {"do": "verdict"},
        {"do": "verdict", "permit": 1, "execution": "e"},
        {"do": "verdict", "permit": "p", "execution": "e"},
        {"do": "verdict", "permit": "0" * 64, "execution": ""},
        {"do": "verdict", "permit": "0" * 64, "execution": "x" * 2000},
        {"do": "stop"},
        {"do": "stop", "execution": 5},
        {"do": "records"},
        {"do": "restore"},
        {"do": "verify", "permit": "p"},
        {"do": "describe"},
        {"do": "describe", "channels": "T:AO"},
        {"do": "describe", "channels": [1]},
        {"do": "describe", "channels": ["T:AO"] * 2000},
    ],
)
async def test_what_is_asked_without_saying_of_what_is_refused(
    enforcing: Any, request_: dict[str, Any]
) -> None:
    with pytest.raises(GateRefusedError) as refused:
        await asyncio.to_thread(ask, enforcing.control, request_)
    assert refused.value.category == "configuration"


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_channels_are_described(enforcing: Any) -> None:
    (channel,) = await enforcing.client.describe(["T:AO"])
    assert (channel.channel, channel.live, channel.units) == ("T:AO", 0.0, "A")
    for name in ("T:NO:SUCH", "no name", "x" * 300, "\u03a9", ""):
        with pytest.raises(CodeAnalysisError, match=name[:20] or "no channel"):
            await enforcing.client.describe([name])


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_an_apply_is_verified_and_put_back(enforcing: Any, machine: Any) -> None:
    permit = await enforcing.permit(TWO, "back")
    async with enforcing.session(execution="back", permit=permit) as kernel:
        await puts(kernel, ("T:AO", 1.0), ("T:AO2", 5.0))
        await kernel.session.close(completed=True)
    verified = await enforcing.client.verify(permit.id, "back")
    assert [(one.channel, one.accepted) for one in verified] == [("T:AO", True), ("T:AO2", True)]
    async with enforcing.session(execution="other", plan=planned([("T:AO", 1.0)], {"T:AO": 1})):
        pass
    report = await enforcing.client.restore("back", "jd")
    assert report.complete
    assert (await machine.value("T:AO"), await machine.value("T:AO2")) == (0, 0)


@pytest.mark.parts
@pytest.mark.usefixtures("at_rest")
async def test_a_restore_ends_with_its_connection_and_goes_on_when_it_is_asked_for_again(
    enforcing: Any, machine: Any
) -> None:
    enforcing.set_limits({"T:AO": {"max_step": 10}})
    permit = await enforcing.permit(planned([("T:AO", 8.0)]), "long")
    async with enforcing.session(execution="long", permit=permit) as kernel:
        await puts(kernel, ("T:AO", 8.0))
        await kernel.session.close(completed=True)
    enforcing.set_limits({"T:AO": {"max_step": 1, "min_interval": 1}})
    restoring = asyncio.create_task(enforcing.client.restore("long", "jd"))
    async with asyncio.timeout(30):
        while await machine.value("T:AO") == 8:  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0.02)
    restoring.cancel()
    await asyncio.wait({restoring})
    await enforcing.journalled("restore_ended", execution="long", complete=False)
    stands = await machine.value("T:AO")
    assert 0 < stands < 8
    await asyncio.sleep(1.5)
    assert await machine.value("T:AO") == stands
    enforcing.set_limits({"T:AO": {"max_step": 1}})
    report = await enforcing.client.restore("long", "jd")
    assert report.complete
    assert await machine.value("T:AO") == 0


def index(folder: Path, *records: dict[str, Any]) -> PermitIndex:
    lines = (json.dumps({"seq": seq, "at": f"2026-01-02T{seq:02}"} | record) + "\n"
             for seq, record in enumerate(records, 1))  # fmt: skip
    (folder / "2026-01.jsonl").write_text("".join(lines))
    return PermitIndex.scan(folder)


CONSUMED = {
    "event": "permit_consumed",
    "permit": "p",
    "execution": "e",
    "first_run_id": "r",
    "session": "s",
}
WRITE = {"event": "write", "permit": "p", "channel": "A", "old": 1, "new": 2}


def test_an_older_gate_that_was_killed_ends_a_story_where_the_next_one_begins(
    tmp_path: Path,
) -> None:
    """What has the same permit behind it can't be of that session."""
    started = {"event": "gate_started"}
    found = index(tmp_path, CONSUMED, WRITE, started, WRITE | {"channel": "B"}).story("p")
    assert (found.forwarded, list(found.channels)) == (1, ["A"])


def test_a_channel_that_is_named_as_a_record_ends_no_story(tmp_path: Path) -> None:
    other = CONSUMED | {"permit": "q", "channels": {"event": "gate_started"}}
    found = index(tmp_path, CONSUMED, WRITE, other, WRITE | {"channel": "B"}).story("p")
    assert found.forwarded == 2


def test_a_session_that_was_refused_the_permit_does_not_end_its_story(tmp_path: Path) -> None:
    other = {"event": "session_closed", "permit": "p", "session": "other", "completed": True}
    found = index(tmp_path, CONSUMED, other, WRITE).story("p")
    assert (found.forwarded, found.closed, found.verdict) == (1, None, "partial")


def test_a_story_goes_on_in_the_next_month(tmp_path: Path) -> None:
    found = index(tmp_path, CONSUMED)
    (tmp_path / "2026-02.jsonl").write_text(json.dumps({"seq": 2, "at": ""} | WRITE) + "\n")
    assert found.story("p").forwarded == 1


def test_a_line_that_is_being_written_is_no_record_yet(tmp_path: Path) -> None:
    found = index(tmp_path, CONSUMED)
    with (tmp_path / "2026-01.jsonl").open("a") as file:
        file.write(json.dumps({"seq": 2, "at": ""} | WRITE)[:-5])
    assert found.story("p").verdict == "nothing_forwarded"


@pytest.mark.parametrize(
    "line", ['{"permit": "p"', '{"permit": "p", "event": "write"}', '["p", "permit"]']
)
def test_a_story_with_a_record_that_can_not_be_read_is_not_told(tmp_path: Path, line: str) -> None:
    found = index(tmp_path, CONSUMED)
    with (tmp_path / "2026-01.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"malformed|Expecting"):
        found.story("p")


@pytest.mark.parametrize(
    "line",
    ['{"event": "permit_consumed"}', '{"event": "permit_void", "permit": "p"', '["stopped"]',
     '{"event": "stopped"}',
     '{"event": "stopped", "execution": "e", "at": "?", "operator": "", "reason": ""}'],
)  # fmt: skip
def test_a_journal_that_does_not_tell_which_permits_were_used_is_not_taken(
    tmp_path: Path, line: str
) -> None:
    (tmp_path / "2026-01.jsonl").write_text(line + "\n")
    with pytest.raises(ContainerConfigurationError, match=r"2026-01\.jsonl, line 1"):
        PermitIndex.scan(tmp_path)


AT = datetime(2026, 1, 2, 3, tzinfo=UTC)
LATER = AT + timedelta(minutes=2)


@pytest.mark.parametrize(
    ("stopped", "first_run_id", "decided_at", "refused"),
    [
        ({"first_run_id": "a"}, "a", LATER, True),
        ({"first_run_id": "a"}, "b", AT, False),
        ({"first_run_id": ""}, "a", AT, True),
        ({"first_run_id": ""}, "a", LATER, False),
        # Its host's clock may be ahead of the gate's.
        ({"first_run_id": ""}, "a", AT + timedelta(seconds=59), True),
        ({"first_run_id": ""}, "a", LATER.replace(tzinfo=None), True),
        ({}, "a", LATER, True),  # a gate before told none
    ],
)
def test_a_stop_holds_for_the_execution_that_it_was_meant_for(
    tmp_path: Path,
    stopped: dict[str, str],
    first_run_id: str,
    decided_at: datetime,
    refused: bool,  # noqa: FBT001
) -> None:
    stop = {"event": "stopped", "at": AT.isoformat(), "operator": "jd", "reason": ""}
    found = index(tmp_path, stop | {"execution": "e"} | stopped)
    assert (found.stopped("e", first_run_id, decided_at) is not None) is refused
    assert found.stopped("other", first_run_id, decided_at) is None


def test_a_stop_in_each_way_holds_beside_the_others(tmp_path: Path) -> None:
    stop = {"event": "stopped", "execution": "e", "operator": "jd", "reason": ""}
    runs = [stop | {"at": AT.isoformat(), "first_run_id": run} for run in ("", "a", "b")]
    found = index(tmp_path, *runs)
    assert all(found.stopped("e", run, LATER) for run in "ab")
    assert found.stopped("e", "c", LATER) is None
    assert found.stopped("e", "c", AT)


def test_many_writes_are_counted_and_the_first_are_told(tmp_path: Path) -> None:
    found = index(tmp_path, CONSUMED, *[WRITE] * (MAX_WRITES + 5)).story("p")
    assert (found.forwarded, len(found.writes)) == (MAX_WRITES + 5, MAX_WRITES)


def test_a_verdict_on_many_large_writes_still_fits_one_line(tmp_path: Path) -> None:
    texts = ["\u03a9" * 40] * 20
    writes = [
        WRITE | {"channel": f"C{number}", "old": [], "new": texts} for number in range(MAX_WRITES)
    ]
    story = index(tmp_path, CONSUMED, *writes).story("p")
    changes = bounded(story.changes({f"C{number}": texts for number in range(MAX_WRITES)}))
    assert 100 < len(story.writes) < MAX_WRITES == len(changes)
    assert changes[0].written == texts
    assert changes[-1].written == {"_type": "array", "count": 20}
    told = GateVerdict(verdict=story.verdict, writes=story.writes, changes=changes)
    assert len(json.dumps({"verdict": told.model_dump(mode="json")})) < LINE_BYTES


def test_a_write_that_did_not_leave_the_gate_is_none(tmp_path: Path) -> None:
    withheld = {"event": "not_forwarded", "permit": "p", "of": 2}
    story = index(tmp_path, CONSUMED, WRITE, withheld).story("p")
    assert (story.forwarded, story.verdict) == (0, "nothing_forwarded")
    assert story.changes({}) == []
