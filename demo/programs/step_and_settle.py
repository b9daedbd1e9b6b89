import time

SETPOINT = "SR:HCM4:SP"
READBACK = "SR:HCM4:RB"
STEP = 0.1  # A

target = float(read_channel(SETPOINT)) + STEP
begun = time.monotonic()
write_channel(SETPOINT, target)
inside, reads = 0, 0
while inside < 3:
    if time.monotonic() - begun > 5.0:
        raise TimeoutError(f"{READBACK} does not stay at {target:.4f} A")
    time.sleep(0.1)
    reads += 1
    inside = inside + 1 if abs(read_channel(READBACK) - target) < 0.005 else 0

results = {"target_A": target, "settled_A": float(read_channel(READBACK)), "reads": reads}
print(f"{READBACK} settled at {results['settled_A']:.4f} A")
