import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo import model_server, optics

# What a kernel gives to a program, in plain pyepics.
HARNESS = """
import json, sys
import epics
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt

def write_channel(name, value):
    assert epics.caput(name, value, wait=True) == 1

def plan(channel, low, high, max_writes):
    assert low < high and max_writes > 0

names = {"read_channel": epics.caget, "write_channel": write_channel, "plan": plan}
program, folder = sys.argv[1:]
try:
    exec(compile(open(program).read(), program, "exec"), names)
finally:
    for number in plt.get_fignums():
        plt.figure(number).savefig(f"{folder}/{number}.png")
print(json.dumps(names["results"], allow_nan=False))
"""


def run(ring: Any, name: str, folder: Path) -> Any:
    return ring.run("-c", HARNESS, str(model_server.PROGRAMS / name), str(folder))


@pytest.mark.slow
def test_beam_current_reads_for_ten_seconds_and_plots(ring: Any, tmp_path: Path) -> None:
    done = run(ring, "beam_current.py", tmp_path)
    assert done.returncode == 0, done.stderr
    *progress, last = done.stdout.splitlines()
    results = json.loads(last)
    assert len(progress) == len(results["samples"]) + 1 == 21
    assert results["samples"][-1]["time_s"] == pytest.approx(9.5, abs=0.3)
    assert results["mean_beam_current_mA"] == pytest.approx(300, abs=1)
    decay = -results["mean_beam_current_mA"] / results["lifetime_hours"]
    assert results["decay_mA_per_hour"] == pytest.approx(decay, rel=0.4)
    assert [path.name for path in tmp_path.iterdir()] == ["1.png"]


@pytest.mark.slow
def test_orbit_response_measures_the_matrix_and_puts_the_corrector_back(
    ring: Any, tmp_path: Path
) -> None:
    done = run(ring, "orbit_response.py", tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    measured = list(results["response_mm_per_A"].values())
    assert measured == pytest.approx(optics.BPM_RESPONSE[:, 2].tolist(), abs=0.03)
    assert [path.name for path in tmp_path.iterdir()] == ["1.png"]
    setpoint, puts = ring.client('answer = [caget("SR:HCM3:SP"), caget("SR:HCM3:PUTS")]')
    assert setpoint == results["start_A"] == optics.CORRECTOR_START[2]
    assert puts == 2


def results_of(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_corrector_ramp_goes_in_small_steps_and_measures_the_orbit(
    ring: Any, tmp_path: Path
) -> None:
    before = ring.client('answer = caget("SR:HCM1:PUTS")')
    results = results_of(run(ring, "corrector_ramp.py", tmp_path))
    measured = [change / 0.2 for change in results["orbit_change_mm"].values()]
    assert measured == pytest.approx(optics.BPM_RESPONSE[:, 0].tolist(), abs=0.25)
    assert results["end_A"] == pytest.approx(results["start_A"] + 0.2)
    puts, setpoint = ring.client('answer = [caget("SR:HCM1:PUTS"), caget("SR:HCM1:SP")]')
    assert (puts - before, setpoint) == (10, results["end_A"])
    assert [path.name for path in tmp_path.iterdir()] == ["1.png"]


@pytest.mark.slow
def test_orbit_correction_makes_the_orbit_smaller(ring: Any, tmp_path: Path) -> None:
    results = results_of(run(ring, "declared_orbit_correction.py", tmp_path))
    truth = optics.BPM_RESPONSE[np.ix_([0, 2, 4, 6], [1, 5])]
    assert np.array(results["response_mm_per_A"]) == pytest.approx(truth, abs=0.05)
    assert results["rms_after_mm"] < results["rms_before_mm"] / 3
    puts = ring.client('answer = [caget(f"SR:HCM{n}:PUTS") for n in (2, 6)]')
    assert puts == [5, 5]


def test_the_declared_correction_differs_from_the_other_by_what_it_declares() -> None:
    plain, declared = (
        list(filter(None, (model_server.PROGRAMS / name).read_text().splitlines()))
        for name in ("orbit_correction.py", "declared_orbit_correction.py")
    )
    more = [line for line in declared if line not in plain]
    assert [line for line in declared if line not in more] == plain
    assert [line.startswith("plan(") for line in more] == [False, True, True]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "counter", "writes"),
    [
        ("step_and_settle", "SR:HCM4:PUTS", 1),
        ("rf_ramp", "SR:RF:RAMP:PUTS", 1),
        ("machine_mode", "SR:MODE:PUTS", 1),
        ("tuner_scan", "SR:TUNER:PUTS", 3),
        ("slit_scan", "SR:SLIT:POS:PUTS", 2),
    ],
)
def test_a_program_writes_as_often_as_it_says(
    ring: Any, tmp_path: Path, program: str, counter: str, writes: int
) -> None:
    before = ring.client(f'answer = caget("{counter}")')
    results_of(run(ring, f"{program}.py", tmp_path))
    assert ring.client(f'answer = caget("{counter}")') == before + writes


def test_broken_ramp_fails_after_its_first_write(ring: Any, tmp_path: Path) -> None:
    before = ring.client('answer = caget("SR:HCM6:PUTS")')
    done = run(ring, "broken_ramp.py", tmp_path)
    assert done.returncode == 1
    assert "KeyError" in done.stderr
    assert ring.client('answer = caget("SR:HCM6:PUTS")') == before + 1


def test_runtime_error_fails_while_it_runs(ring: Any, tmp_path: Path) -> None:
    done = run(ring, "runtime_error.py", tmp_path)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
