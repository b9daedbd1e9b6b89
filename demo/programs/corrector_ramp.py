import time

import matplotlib.pyplot as plt
import numpy as np

SETPOINT = "SR:HCM1:SP"
READBACK = "SR:HCM1:RB"
BPMS = [f"SR:BPM{number}:X" for number in range(1, 9)]
CHANGE = 0.2  # A
STEPS = 10


def settle(target, tolerance=0.01, timeout=2.0):
    deadline = time.monotonic() + timeout
    while abs(read_channel(READBACK) - target) > tolerance:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{READBACK} did not reach {target:.4f} A within {timeout:.0f} s")
        time.sleep(0.1)


def orbit():
    return [float(read_channel(bpm)) for bpm in BPMS]


start = float(read_channel(SETPOINT))
currents, orbits = [start], [orbit()]
for step in range(1, STEPS + 1):
    target = start + CHANGE * step / STEPS
    write_channel(SETPOINT, target)
    settle(target)
    currents.append(target)
    orbits.append(orbit())
    print(f"{step:2d}/{STEPS}  {SETPOINT} {target:+.4f} A, BPM1 {orbits[-1][0]:+.4f} mm", flush=True)

change = np.asarray(orbits) - orbits[0]
figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
for bpm, positions in zip(BPMS, change.T):
    axes.plot(currents, positions, "o-", markersize=4, label=bpm.split(":")[1])
axes.set_title(f"Orbit while {SETPOINT} moves by {CHANGE:+.1f} A", fontweight="bold")
axes.set_xlabel("Corrector current (A)")
axes.set_ylabel("Change of position (mm)")
axes.grid(alpha=0.3)
axes.legend(frameon=False, ncols=2)
axes.spines[["top", "right"]].set_visible(False)

results = {
    "corrector": SETPOINT,
    "start_A": start,
    "end_A": currents[-1],
    "orbit_change_mm": dict(zip(BPMS, change[-1].tolist())),
}
