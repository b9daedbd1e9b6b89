import time

import numpy as np

TUNER = "SR:TUNER:SP"
DETUNING = "SR:TUNER:DETUNING"
OFFSETS = (0.05, 0.1, 0.05)  # mm
READINGS = 8

start = float(read_channel(TUNER))
scan = []
for offset in OFFSETS:
    write_channel(TUNER, start + offset)
    positions, detunings = [], []
    for _ in range(READINGS):
        time.sleep(0.1)
        positions.append(float(read_channel(TUNER)))
        detunings.append(float(read_channel(DETUNING)))
    point = {"set_mm": start + offset, "reads_mm": float(np.mean(positions)),
             "detuning_kHz": float(np.mean(detunings))}
    scan.append(point)
    print(f"{TUNER} set to {point['set_mm']:.3f}, reads {point['reads_mm']:.3f} mm", flush=True)

results = {"start_mm": start, "scan": scan}
