SETPOINT = "SR:HCM2:SP"
USER = 2

step = 0.02 if read_channel("SR:MODE") == USER else 0.3  # A
start = float(read_channel(SETPOINT))
write_channel(SETPOINT, start + step)
results = {"start_A": start, "step_A": step}
