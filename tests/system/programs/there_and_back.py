import time

SETPOINT = "SR:HCM5:SP"

start = float(read_channel(SETPOINT))
for value in (start + 0.01, start + 0.02, start + 0.01, start):
    write_channel(SETPOINT, value)
    time.sleep(0.2)
results = {"end_A": float(read_channel(SETPOINT))}
