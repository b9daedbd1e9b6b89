import json
from pathlib import Path
from typing import Any

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

names = {"read_channel": epics.caget, "write_channel": write_channel}
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


def test_runtime_error_fails_while_it_runs(ring: Any, tmp_path: Path) -> None:
    done = run(ring, "runtime_error.py", tmp_path)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
