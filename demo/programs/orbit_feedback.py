import time

SETPOINT = "SR:HCM5:SP"
BPM = "SR:BPM3:X"
GAIN = 0.05  # A/mm

golden = float(read_channel(BPM))
results = {}
while True:
    error = float(read_channel(BPM)) - golden
    write_channel(SETPOINT, float(read_channel(SETPOINT)) + GAIN * error)
    print(f"{BPM} is {error:+.4f} mm off", flush=True)
    time.sleep(1.0)
