import time

SETPOINT = "SR:HCM6:SP"

start = float(read_channel(SETPOINT))
orbits = {}
for step in range(1, 5):
    write_channel(SETPOINT, start + 0.02 * step)
    time.sleep(0.2)
    orbits[step] = float(read_channel("SR:BPM1:X"))
    print(f"step {step}: {orbits[step - 1]:.4f} -> {orbits[step]:.4f} mm", flush=True)
results = {"orbits_mm": orbits}
