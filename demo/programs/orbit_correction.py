import time

import numpy as np

CORRECTORS = ["SR:HCM2", "SR:HCM6"]
BPMS = [f"SR:BPM{number}:X" for number in (1, 3, 5, 7)]
KICK = 0.2  # A
STEPS = 3


def move(corrector, target, timeout=5.0):
    write_channel(f"{corrector}:SP", target)
    deadline = time.monotonic() + timeout
    while abs(read_channel(f"{corrector}:RB") - target) > 0.005:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{corrector}:RB did not reach {target:.4f} A")
        time.sleep(0.1)
    time.sleep(0.4)


def orbit(readings=8):
    taken = []
    for _ in range(readings):
        taken.append([float(read_channel(bpm)) for bpm in BPMS])
        time.sleep(0.12)
    return np.mean(taken, axis=0)


start = {corrector: float(read_channel(f"{corrector}:SP")) for corrector in CORRECTORS}
before = orbit()

columns = []
for corrector in CORRECTORS:
    move(corrector, start[corrector] + KICK)
    columns.append((orbit() - before) / KICK)
    move(corrector, start[corrector])
response = np.array(columns).T

# The smallest orbit at these monitors, in the least squares sense.
change = -np.linalg.lstsq(response, before, rcond=None)[0]
print("change of the correctors:", ", ".join(f"{value:+.4f} A" for value in change), flush=True)
for step in range(1, STEPS + 1):
    for corrector, value in zip(CORRECTORS, change):
        move(corrector, start[corrector] + value * step / STEPS)
after = orbit()

results = {
    "response_mm_per_A": response.tolist(),
    "change_A": dict(zip(CORRECTORS, change.tolist())),
    "rms_before_mm": float(np.sqrt(np.mean(before**2))),
    "rms_after_mm": float(np.sqrt(np.mean(after**2))),
}
