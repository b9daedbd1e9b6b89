"""Programs with pyepics on the demo's storage ring, rehearsed without a model and with one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from runpermit.plans import Envelope, build_plan
from tests.gate.conftest import ROOT, gate_for, serving_ioc

pytestmark = [pytest.mark.parts, pytest.mark.slow]
LIMITS = json.loads((ROOT / "demo" / "limits.json").read_text())
SETPOINTS = [f"SR:HCM{number}:SP" for number in (1, 2)]
BPMS = [f"SR:BPM{number}:X" for number in (1, 2, 3, 4)]

RAMP = """
for number in range(1, 11):
    assert caput("SR:HCM1:SP", start + number * 0.1, wait=True) == 1
while abs(caget("SR:HCM1:RB") - (start + 1)) > 0.01:
    time.sleep(0.1)
answer = caget("SR:HCM1:SP")
"""
RESPONSE = """
setpoints = [PV(f"SR:HCM{n}:SP", auto_monitor=False) for n in (1, 2)]
bpms = [PV(f"SR:BPM{n}:X", auto_monitor=False) for n in (1, 2, 3, 4)]
for pv in (*setpoints, *bpms):
    assert pv.wait_for_connection(30)
answer = []
for setpoint in setpoints:
    orbit = {}
    before = setpoint.get()
    for step in (0.2, -0.2):
        setpoint.put(before + step, wait=True)
        time.sleep(SETTLE)
        orbit[step] = [sum(bpm.get() for _ in range(5)) / 5 for bpm in bpms]
    setpoint.put(before, wait=True)
    answer.append([(a - b) / 0.4 for a, b in zip(orbit[0.2], orbit[-0.2])])
"""


@pytest.fixture(scope="module")
def ring() -> Iterator[Any]:
    with serving_ioc("--seed", "1", module="demo.ring") as ioc:
        yield ioc


async def counts(ring: Any) -> list[Any]:
    return [await ring.value(f"SR:HCM{number}:PUTS") for number in (1, 2)]


async def test_a_ramp_with_its_settle_loop_makes_a_plan_that_lets_the_same_ramp_pass(
    ring: Any,
) -> None:
    before, start = await counts(ring), await ring.value(SETPOINTS[0])
    with gate_for(ring, limits=LIMITS) as gate:
        async with gate.session("rehearse") as kernel:
            assert await kernel.epics(f"start = {start}\n{RAMP}") == pytest.approx(start + 1)
            told = (await kernel.session.close()).rehearsed
    assert await counts(ring) == before
    plan = build_plan(
        **{name: getattr(told, name) for name in type(told).model_fields},
        declared=[], problem="", waits=None, at=None,
    )  # fmt: skip
    assert (plan.kind, len(plan.writes), plan.unknown) == ("complete", 10, [])
    envelope = Envelope(plan)
    assert envelope.drift(SETPOINTS[0], start) is None
    for number in range(1, 11):
        value = start + number * 0.1
        assert envelope.refusal(SETPOINTS[0], value) is None
        envelope.forwarded(SETPOINTS[0], value)
    assert envelope.refusal(SETPOINTS[0], start) is not None


async def test_an_orbit_response_without_a_model_is_flat_and_told_as_unknown(ring: Any) -> None:
    before = await counts(ring)
    affected = {name: {**LIMITS[name], "affects": BPMS} for name in SETPOINTS}
    with gate_for(ring, limits=LIMITS | affected) as gate:
        async with gate.session("rehearse") as kernel:
            response = await kernel.epics(RESPONSE.replace("SETTLE", "0"))
            told = (await kernel.session.close()).rehearsed
    assert all(abs(item) < 0.05 for row in response for item in row)
    assert set(told.unknown) == set(BPMS)
    assert (len(told.writes), await counts(ring)) == (6, before)


async def test_an_orbit_response_with_a_second_ring_as_its_model(ring: Any) -> None:
    before = await counts(ring)
    affected = {name: {**LIMITS[name], "affects": BPMS} for name in SETPOINTS}
    with serving_ioc("--seed", "2", module="demo.ring") as model:
        found = await model.value(SETPOINTS[0])
        upstream = {"upstream": f"127.0.0.1:{model.port}"}
        with gate_for(ring, limits=LIMITS | affected, rehearsal=upstream) as gate:
            async with gate.session("rehearse") as kernel:
                response = await kernel.epics(RESPONSE.replace("SETTLE", "1.5"), within=60)
                told = (await kernel.session.close()).rehearsed
        assert await model.value(SETPOINTS[0]) == found
    assert max(abs(item) for row in response for item in row) > 0.1
    assert (told.unknown, len(told.writes)) == ([], 6)
    assert await counts(ring) == before
