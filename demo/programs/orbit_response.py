import time

import matplotlib.pyplot as plt
import numpy as np

SETPOINT = "SR:HCM3:SP"
READBACK = "SR:HCM3:RB"
BPMS = [f"SR:BPM{number}:X" for number in range(1, 9)]
STEP = 0.2  # A
READINGS = 10


def settle(target, tolerance=0.005, timeout=5.0):
    deadline = time.monotonic() + timeout
    while abs(read_channel(READBACK) - target) > tolerance:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{READBACK} did not reach {target:.4f} A within {timeout:.0f} s")
        time.sleep(0.1)
    time.sleep(0.3)  # the last 2 % of the way, and fresh readings at every BPM


def average(label):
    readings = []
    for number in range(READINGS):
        readings.append([float(read_channel(bpm)) for bpm in BPMS])
        print(f"{label}: reading {number + 1}/{READINGS}", flush=True)
        time.sleep(0.12)
    return np.mean(readings, axis=0), np.std(readings, axis=0, ddof=1) / np.sqrt(READINGS)


start = float(read_channel(SETPOINT))
before, before_error = average("before")
try:
    print(f"{SETPOINT}: {start:.4f} A -> {start + STEP:.4f} A", flush=True)
    write_channel(SETPOINT, start + STEP)
    settle(start + STEP)
    after, after_error = average("after")
finally:
    print(f"{SETPOINT}: back to {start:.4f} A", flush=True)
    write_channel(SETPOINT, start)
settle(start)

response = (after - before) / STEP
error = np.hypot(before_error, after_error) / STEP

figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
bars = axes.bar(
    [bpm.split(":")[1] for bpm in BPMS],
    response,
    yerr=error,
    capsize=4,
    color=["tab:blue" if value >= 0 else "tab:red" for value in response],
)
axes.bar_label(bars, fmt="{:+.2f}", padding=4)
axes.axhline(0.0, color="0.3", linewidth=0.8)
axes.margins(y=0.15)
axes.set_title(f"Orbit response to {SETPOINT}, step {STEP:+.1f} A", fontweight="bold")
axes.set_xlabel("Beam position monitor")
axes.set_ylabel("Response (mm/A)")
axes.grid(axis="y", alpha=0.3)
axes.set_axisbelow(True)
axes.spines[["top", "right"]].set_visible(False)

results = {
    "corrector": SETPOINT,
    "start_A": start,
    "step_A": STEP,
    "response_mm_per_A": dict(zip(BPMS, response.tolist())),
    "standard_error_mm_per_A": dict(zip(BPMS, error.tolist())),
    "corrector_restored_to_A": float(read_channel(SETPOINT)),
}
