"""Programs that show one thing in the rehearsal and try another: the plan is what is kept."""

import contextlib
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gate.client import GateClient, Opening, SessionMode
from runpermit.errors import PythonExecutorException
from runpermit.models import Isolation, Permit, PlanKind, Verdict
from tests.system.asking import applied, approve, rehearsed
from tests.system.machine import Machine

pytestmark = pytest.mark.slow

# How a program may notice that it is rehearsed: nothing of ours hides it.
BY_CALENDAR = """\
import datetime, time
write_channel("SR:HCM4:SP", start + 0.01)
begun = datetime.datetime.now()
time.sleep(1.5)
rehearsed = (datetime.datetime.now() - begun).total_seconds() < 1
"""
INSIDES = """\
from numpy.testing import runstring
insides = {"plan": plan}
runstring("listener = plan.__self__._tell", insides)
listener = insides["listener"]
rehearsed = listener is not None
"""
BY_INSIDES = INSIDES + 'write_channel("SR:HCM4:SP", start + 0.01)\n'
BY_READING = """\
write_channel("SR:HCM4:SP", start + 0.01)
rehearsed = abs(read_channel("SR:HCM4:PUTS") - puts) < 1
"""
START = """\
start = float(read_channel("SR:HCM4:SP"))
puts = read_channel("SR:HCM4:PUTS")
"""
END = """\
write_channel("SR:HCM4:SP", start)
results = {"rehearsed": rehearsed}
"""
OTHER_VALUE = 'write_channel("SR:HCM4:SP", start + (0.01 if rehearsed else 0.4))\n'
OTHER_CHANNEL = 'write_channel("SR:HCM4:SP" if rehearsed else "SR:HCM6:SP", start + 0.01)\n'
MORE_OFTEN = (
    'for _ in range(1 if rehearsed else 9):\n    write_channel("SR:HCM4:SP", start + 0.01)\n'
)
DECLARED_ANEW = """\
if not rehearsed:
    plan("SR:HCM4:SP", -5, 5, 1000)
write_channel("SR:HCM4:SP", start + (0.01 if rehearsed else 0.4))
"""


@pytest.mark.parametrize(
    ("notices", "does", "channel", "passed"),
    [
        (BY_CALENDAR, OTHER_VALUE, "SR:HCM4:SP", 1),
        (BY_INSIDES, OTHER_CHANNEL, "SR:HCM6:SP", 1),
        (BY_READING, MORE_OFTEN, "SR:HCM4:SP", 3),
        (BY_INSIDES, DECLARED_ANEW, "SR:HCM4:SP", 1),
    ],
)
async def test_what_it_did_not_show_is_not_forwarded(
    house: Any, machine: Machine, notices: str, does: str, channel: str, passed: int
) -> None:
    code = START + notices + does + END
    handle, pending = await rehearsed(house, machine, code, restore="never", retries=3)
    assert (pending.plan.kind, pending.plan.count) == (PlanKind.COMPLETE, 3)
    assert {write.channel for write in pending.plan.writes} == {"SR:HCM4:SP"}
    before = await machine.counts()
    await approve(handle, pending)
    error = await house.failure(handle)
    assert type(error).__name__ == "ChannelLimitsViolationError"
    assert (error.channel_address, error.violation_type) == (channel, "OUTSIDE_PLAN")
    assert error.technical_details["verdict"] == Verdict.PARTIAL
    assert error.technical_details["forwarded"] == passed
    assert await machine.since(before) == {"SR:HCM4:SP": passed}


async def test_one_that_hides_its_writes_from_every_rehearsal_never_writes(
    house: Any, machine: Machine
) -> None:
    code = INSIDES + (
        "if not rehearsed:\n"
        "    runstring(\"import epics; epics.caput('SR:HCM4:SP', 0.3, wait=True)\", {})\n"
        "results = {}\n"
    )
    before = await machine.counts()
    error = await house.run_to_failure(code)
    assert type(error).__name__ == "ChannelLimitsViolationError"
    assert (error.channel_address, error.attempted_value) == ("SR:HCM4:SP", 0.3)
    assert "rehearsed" in error.message
    assert await machine.since(before) == {}


async def test_a_range_beyond_the_limits_is_never_asked_about(house: Any, machine: Machine) -> None:
    before = await machine.counts()
    error = await house.run_to_failure(
        'plan("SR:HCM4:SP", -50, 50, 10)\nwrite_channel("SR:HCM4:SP", 0.01)\nresults = {}\n'
    )
    assert type(error).__name__ == "ChannelLimitsViolationError"
    assert (error.channel_address, error.violation_type) == ("SR:HCM4:SP", "MIN_EXCEEDED")
    assert await machine.since(before) == {}


async def test_a_range_beyond_the_limits_is_none_either_where_it_is_forged(
    house: Any, machine: Machine
) -> None:
    before = await machine.counts()
    error = await house.run_to_failure(
        INSIDES + "from types import SimpleNamespace\n"
        'fields = {"channel": "SR:HCM4:SP", "low": -50.0, "high": 50.0, "max_writes": 10}\n'
        "if rehearsed:\n    listener(SimpleNamespace(_asdict=lambda: fields))\n"
        'write_channel("SR:HCM4:SP", 0.01)\nresults = {}\n'
    )
    assert type(error).__name__ == "ChannelLimitsViolationError"
    assert error.channel_address == "SR:HCM4:SP"
    assert await machine.since(before) == {}


async def test_forged_words_to_the_host_make_no_plan_wider(house: Any, machine: Machine) -> None:
    handle, pending = await rehearsed(
        house,
        machine,
        INSIDES
        + """\
start = float(read_channel("SR:HCM4:SP"))
write_channel("SR:HCM4:SP", start + 0.01)
if rehearsed:
    runstring("tell = listener.__self__._tell", insides)
    tell = insides["tell"]
    for word in (
        {"waited": -5.0}, {"waited": float("nan")}, {"waited": "long"}, {"waited_in_all": -1.0},
        {"declared": {"channel": "SR:HCM4:SP", "low": float("-inf"), "high": 1.0, "max_writes": 1}},
        {"declared": {"channel": "SR:HCM4:SP", "low": 0.0, "high": 1.0, "max_writes": 10**9}},
        {"declared": {"channel": ["SR:HCM4:SP"], "low": 0.0, "high": 1.0, "max_writes": 1}},
        {"declared": None}, {"results": {}}, [], 5,
    ):
        tell(word)
write_channel("SR:HCM4:SP", start + 0.02)
results = {}
""",
    )
    plan = pending.plan
    assert (plan.kind, plan.count, plan.declared) == (PlanKind.COMPLETE, 2, [])
    assert 0 <= plan.seconds < 60
    await handle.signal("reject")
    await house.failure(handle)


async def test_a_permit_that_was_used_opens_nothing_more(house: Any, machine: Machine) -> None:
    code = 'write_channel("SR:HCM4:SP", read_channel("SR:HCM4:SP"))\nresults = {}\n'
    handle, pending = await rehearsed(house, machine, code)
    before = await machine.counts()
    await applied(house, handle, pending)
    assert await machine.since(before) == {"SR:HCM4:SP": 1}
    gate = GateClient(house.stack.gate_socket)
    for issue in (1, 2):
        permit = Permit(revision=pending.binds, issue=issue, decided_at=datetime.now(UTC))
        with pytest.raises(PythonExecutorException) as refused:
            async with opened(gate, permit):
                pass
        assert not refused.value.is_infrastructure_error()
    told = await gate.verdict(permit.id, handle.id)
    assert told.verdict is Verdict.NOT_OPENED
    assert await machine.since(before) == {"SR:HCM4:SP": 1}


@contextlib.asynccontextmanager
async def opened(gate: GateClient, permit: Permit) -> AsyncIterator[None]:
    """A session as a worker opens it that was told to apply once more."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        about = Opening(
            execution=permit.revision.workflow_id,
            run_id="another",
            attempt=1,
            mode=SessionMode.APPLY,
            isolation=Isolation.FULL,
            permit=permit,
        )
        async with gate.session(about, listener):
            yield
