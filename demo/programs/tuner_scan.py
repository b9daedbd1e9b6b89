import time

TUNER = "SR:TUNER:SP"
DETUNING = "SR:TUNER:DETUNING"
OFFSETS = (0.05, 0.1, 0.05)  # mm

start = float(read_channel(TUNER))
scan = []
for offset in OFFSETS:
    write_channel(TUNER, start + offset)
    time.sleep(0.5)
    scan.append({"set_mm": start + offset, "reads_mm": float(read_channel(TUNER)),
                 "detuning_kHz": float(read_channel(DETUNING))})
    print(f"{TUNER} set to {scan[-1]['set_mm']:.3f}, reads {scan[-1]['reads_mm']:.3f} mm", flush=True)

results = {"start_mm": start, "scan": scan}
