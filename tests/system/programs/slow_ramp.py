import time

SETPOINT = "SR:HCM5:SP"
STEPS = 15

start = float(read_channel(SETPOINT))
print("begins", flush=True)
time.sleep(1.5)
for step in range(1, STEPS + 1):
    write_channel(SETPOINT, start + 0.01 * step)
    time.sleep(0.2)
print("wrote everything", flush=True)
time.sleep(2.0)
results = {"start_A": start}
