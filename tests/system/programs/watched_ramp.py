import time

SETPOINT = "SR:HCM6:SP"

start = float(read_channel(SETPOINT))
for step in range(1, 16):
    if int(read_channel("SR:INTERLOCK")) != 0:
        raise RuntimeError("the interlock has tripped")
    write_channel(SETPOINT, start + 0.04 * step)
    time.sleep(0.2)
results = {"start_A": start}
