import time

SETPOINT = "SR:HCM4:SP"
CHANGE = 0.5  # A
STEPS = 25

start = float(read_channel(SETPOINT))
positions = []
for step in range(1, STEPS + 1):
    target = start + CHANGE * step / STEPS
    write_channel(SETPOINT, target)
    time.sleep(0.4)
    positions.append(float(read_channel("SR:BPM1:X")))
    print(f"{step:2d}/{STEPS}  {SETPOINT} {target:+.4f} A, BPM1 {positions[-1]:+.4f} mm", flush=True)

results = {"start_A": start, "end_A": target, "bpm1_mm": positions}
