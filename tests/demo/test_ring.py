import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo import devices, optics, records
from demo import ring as ring_module
from runpermit.limits import LimitsDatabase

LIMITS = Path(ring_module.__file__).with_name("limits.json")


def test_channels_have_the_types_and_metadata_of_a_storage_ring(ring: Any) -> None:
    answer = ring.client("""
answer = {name: [PV("SR:" + name).get(as_string=name in ("MODE", "OPERATOR:NOTE")),
                 PV("SR:" + name).type.removeprefix("time_"), PV("SR:" + name).get_ctrlvars()]
          for name in ("BEAM:CURRENT", "BEAM:LIFETIME", "HCM1:SP", "MODE", "OPERATOR:NOTE")}
""")
    current, kind, control = answer["BEAM:CURRENT"]
    assert (current, kind, control["units"]) == (pytest.approx(300, abs=1), "double", "mA")
    lifetime, kind, control = answer["BEAM:LIFETIME"]
    assert (lifetime, kind, control["units"]) == (pytest.approx(8, abs=0.1), "double", "h")
    _, kind, control = answer["HCM1:SP"]
    assert (kind, control["units"], control["precision"]) == ("double", "A", 4)
    assert (control["lower_ctrl_limit"], control["upper_ctrl_limit"]) == (-10, 10)
    mode, kind, control = answer["MODE"]
    assert (mode, kind, tuple(control["enum_strs"])) == ("User", "enum", records.MODES)
    assert answer["OPERATOR:NOTE"][:2] == ["", "string"]


def test_the_orbit_is_a_waveform_of_a_thousand_elements_that_agrees_with_the_bpms(
    ring: Any,
) -> None:
    answer = ring.client("""
answer = {"orbit": caget("SR:ORBIT:WAVEFORM").tolist(), "s": caget("SR:ORBIT:S").tolist(),
          "bpms": [caget(f"SR:BPM{n}:X") for n in range(1, 9)]}
""")
    assert len(answer["orbit"]) == len(answer["s"]) == 1000
    at_bpms = np.interp(optics.BPM_POSITIONS, answer["s"], answer["orbit"])
    assert at_bpms == pytest.approx(answer["bpms"], abs=8 * optics.POSITION_NOISE)


def test_a_readback_follows_its_setpoint_within_half_a_second(ring: Any) -> None:
    before, after = ring.client("""
readback = PV("SR:HCM1:RB")
target = caget("SR:HCM1:SP") + 0.4
before = readback.get() - target
caput("SR:HCM1:SP", target, wait=True)
time.sleep(0.5)
answer = [before, readback.get(use_monitor=False) - target]
""")
    assert before == pytest.approx(-0.4, abs=0.01)
    assert after == pytest.approx(0, abs=0.01)


@pytest.mark.slow
def test_the_bpms_answer_to_a_corrector_through_the_response_matrix(ring: Any) -> None:
    response = ring.client("""
bpms = [PV(f"SR:BPM{n}:X") for n in range(1, 9)]
def orbit():
    time.sleep(0.6)
    readings = []
    for _ in range(5):
        readings.append([bpm.get(use_monitor=False) for bpm in bpms])
        time.sleep(0.11)
    return [sum(column) / 5 for column in zip(*readings)]
answer = []
for n in (2, 5):
    start = caget(f"SR:HCM{n}:SP")
    before = orbit()
    caput(f"SR:HCM{n}:SP", start + 0.5, wait=True)
    answer.append([(b - a) / 0.5 for a, b in zip(before, orbit())])
    caput(f"SR:HCM{n}:SP", start, wait=True)
""")
    truth = optics.BPM_RESPONSE[:, [1, 4]].T
    assert np.array(response) == pytest.approx(truth, abs=0.02)


def test_the_ioc_counts_every_put_whatever_became_of_it(ring: Any) -> None:
    answer = ring.client("""
sp, puts = PV("SR:HCM4:SP"), PV("SR:HCM4:PUTS")
answer = [puts.get()]
sp.put(0.5, wait=True); sp.put(0.5, wait=True)
answer.append(puts.get(use_monitor=False))
sp.put(50, wait=True)
answer += [puts.get(use_monitor=False), sp.get(use_monitor=False)]
for step in range(100): sp.put(step / 100)
sp.put(0.0, wait=True)
answer += [puts.get(use_monitor=False), caget("SR:HCM6:PUTS")]
caput("SR:MODE", "Injection", wait=True); caput("SR:OPERATOR:NOTE", "hello", wait=True)
answer += [caget("SR:MODE:PUTS"), caget("SR:OPERATOR:NOTE:PUTS"), caget("SR:OPERATOR:NOTE")]
""")
    drive_limit = 10
    assert answer == [0, 2, 3, drive_limit, 104, 0, 1, 1, "hello"]


def test_the_ramp_is_one_array_that_is_set_and_counted_as_a_whole(ring: Any) -> None:
    answer = ring.client("""
answer = [caget("SR:RF:RAMP").tolist()]
caput("SR:RF:RAMP", [value + 0.05 for value in answer[0]], wait=True)
answer += [caget("SR:RF:RAMP", use_monitor=False).tolist(), caget("SR:RF:RAMP:PUTS")]
""")
    start, raised, puts = answer
    assert start == list(devices.RAMP_START)
    assert raised == pytest.approx([value + 0.05 for value in start])
    assert puts == 1


def test_the_slit_answers_when_it_has_arrived_and_stands_when_it_is_stopped(ring: Any) -> None:
    answer = ring.client("""
readback, moving, pos = PV("SR:SLIT:RB"), PV("SR:SLIT:MOVING"), PV("SR:SLIT:POS")
begun = time.monotonic()
pos.put(7.0, wait=True)
answer = [time.monotonic() - begun, readback.get(use_monitor=False)]
pos.put(17.0, use_complete=True)
time.sleep(0.4)
answer += [moving.get(as_string=True, use_monitor=False), pos.put_complete]
caput("SR:SLIT:STOP", "Stop", wait=True)
stopped = time.monotonic()
while not pos.put_complete and time.monotonic() < stopped + 2:
    time.sleep(0.01)
answer += [time.monotonic() - stopped, moving.get(as_string=True, use_monitor=False)]
answer += [readback.get(use_monitor=False), caget("SR:SLIT:POS:PUTS"), caget("SR:SLIT:STOP:PUTS")]
""")
    seconds, arrived, moving, answered, to_stop, still, where, puts, stops = answer
    assert seconds >= 0.9
    assert arrived == pytest.approx(7.0, abs=0.001)
    assert (moving, answered) == ("Moving", False)
    assert to_stop < 0.7 * seconds
    assert (still, puts, stops) == ("Still", 2, 1)
    assert 7.0 < where < 10.0


def test_a_feedback_moves_the_tuner_back_and_is_not_counted_as_a_put(ring: Any) -> None:
    answer = ring.client("""
setpoint, detuning = PV("SR:TUNER:SP"), PV("SR:TUNER:DETUNING")
before = [setpoint.get(use_monitor=False), caget("SR:TUNER:PUTS")]
setpoint.put(before[0] + 0.15, wait=True)
answer = [*before, detuning.get(use_monitor=False)]
time.sleep(1.5)
answer += [setpoint.get(use_monitor=False), caget("SR:TUNER:PUTS", use_monitor=False)]
time.sleep(0.5)
answer.append(setpoint.get(use_monitor=False))
""")
    start, none, detuned, back, puts, later = answer
    assert detuned > 0.2
    assert back == pytest.approx(start, abs=4 * devices.TUNER_DRIFT)
    assert (none, puts) == (0, 1)
    assert later != back


def test_the_interlock_is_tripped_by_a_record_of_its_own(ring: Any) -> None:
    answer = ring.client("""
lock, answer = PV("SR:INTERLOCK"), []
for value in ("Tripped", "OK"):
    caput("SR:INTERLOCK", 1 - lock.get(use_monitor=False))
    caput("SR:INTERLOCK:TRIP", value, wait=True)
    time.sleep(0.1)
    answer.append(lock.get(as_string=True, use_monitor=False))
""")
    assert answer == ["Tripped", "OK"]


@pytest.mark.slow
def test_a_fast_ring_is_as_much_faster(start_ring: Any) -> None:
    with start_ring("--speed", "20") as server:
        seconds, readback = server.client("""
begun = time.monotonic()
caput("SR:SLIT:POS", 11.0, wait=True)
answer = [time.monotonic() - begun]
caput("SR:HCM1:SP", 1.0, wait=True)
time.sleep(0.03)
answer.append(caget("SR:HCM1:RB"))
""")
    assert seconds < 2.0  # 3 s of the ring
    assert readback == pytest.approx(1.0, abs=0.01)


def test_clients_cannot_falsify_instruments_or_counters(ring: Any) -> None:
    before, after = ring.client("""
names = ["SR:BEAM:LIFETIME", "SR:HCM6:PUTS"]
answer = [[caget(name) for name in names]]
for name in names:
    caput(name, 77, wait=True)
answer.append([caget(name, use_monitor=False) for name in names])
""")
    assert after == pytest.approx(before, abs=0.1)


def test_the_limits_database_describes_channels_that_exist_in_their_own_units(ring: Any) -> None:
    listed = {
        name: entry
        for name, entry in json.loads(LIMITS.read_text()).items()
        if name != "defaults" and not name.startswith("_")
    }
    readbacks = {e["readback"]["channel"] for e in listed.values() if "readback" in e}
    controls = ring.client(f"""
pvs = [PV(name) for name in {[*listed, *readbacks]}]
answer = {{pv.pvname: pv.get_ctrlvars() for pv in pvs}}
""")
    assert all(controls.values()), "a channel of the limits database did not connect"
    for name, entry in listed.items():
        assert entry.get("units", "") == controls[name].get("units", ""), name
        if "max_value" in entry:
            assert entry["min_value"] >= controls[name]["lower_ctrl_limit"], name
            assert entry["max_value"] <= controls[name]["upper_ctrl_limit"], name


def test_the_limits_database_loads_and_lets_nothing_but_settings_be_written() -> None:
    database = LimitsDatabase.load(LIMITS)
    writable = {name for name, entry in database.channels.items() if entry.writable}
    setpoints = {f"SR:HCM{number}:SP" for number in range(1, 7)}
    others = {"SR:RF:RAMP", "SR:SLIT:POS", "SR:SLIT:STOP", "SR:TUNER:SP"}
    assert writable == {*setpoints, *others, "SR:MODE", "SR:OPERATOR:NOTE"}


def test_the_limits_database_names_channels_that_exist(ring: Any) -> None:
    named = set()
    for entry in LimitsDatabase.load(LIMITS).channels.values():
        followers = [t.channel for t in (entry.readback, entry.done, entry.stop) if t is not None]
        named |= {*followers, *entry.affects, *(c.channel for c in entry.conditions)}
    assert len(named) > 15
    missing = ring.client(
        f"answer = [n for n in {sorted(named)} if not PV(n).wait_for_connection(5)]"
    )
    assert missing == []


def test_it_listens_on_loopback_and_speaks_channel_access_alone(ring: Any) -> None:
    inodes = {
        target.removeprefix("socket:[").removesuffix("]")
        for fd in Path(f"/proc/{ring.process.pid}/fd").iterdir()
        if (target := str(fd.readlink())).startswith("socket:")
    }
    sockets = [
        line.split() for table in ("tcp", "tcp6") for line in _lines(f"/proc/net/{table}")[1:]
    ]
    listening = "0A"
    assert [s[1] for s in sockets if s[3] == listening and s[9] in inodes] == [
        f"0100007F:{ring.port:04X}"
    ]


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_with_status_0(start_ring: Any, number: int) -> None:
    with start_ring() as server:
        server.process.send_signal(number)
        assert server.process.wait(timeout=2) == 0


def test_it_ends_with_the_parent_that_held_its_standard_input(start_ring: Any) -> None:
    with start_ring() as server:
        server.process.stdin.close()
        assert server.process.wait(timeout=2) == 0


@pytest.mark.slow
def test_equal_seeds_give_equal_noise(start_ring: Any) -> None:
    readings = []
    for seed in ("5", "5", "6"):
        with start_ring("--seed", seed) as server:
            readings.append(
                set(
                    server.client("""
answer = []
PV("SR:BPM1:X", callback=lambda value, **_: answer.append(value))
time.sleep(1.5)
""")
                )
            )
    assert len(readings[0] & readings[1]) >= 5
    assert not readings[0] & readings[2]


def test_a_taken_port_is_refused_instead_of_silently_replaced(ring: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo.ring", "--port", str(ring.port)],
        cwd=LIMITS.parents[1],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert f"--port {ring.port}: Address already in use" in done.stderr


@pytest.mark.parametrize("port", [80, 5000, 70000])
def test_a_port_that_epics_would_not_take_is_refused(port: int) -> None:
    with pytest.raises(SystemExit, match="choose one from 5001 to 65535"):
        ring_module.keep_to_loopback(port)
