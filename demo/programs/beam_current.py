import time

import matplotlib.pyplot as plt
import numpy as np

SAMPLES = 20
PERIOD = 0.5  # s

times, currents = [], []
start = time.monotonic()
for number in range(SAMPLES):
    time.sleep(max(0.0, start + number * PERIOD - time.monotonic()))
    times.append(time.monotonic() - start)
    currents.append(float(read_channel("SR:BEAM:CURRENT")))
    print(f"{number + 1:2d}/{SAMPLES}  {times[-1]:5.1f} s  {currents[-1]:9.4f} mA", flush=True)

lifetime = float(read_channel("SR:BEAM:LIFETIME"))
places = np.asarray(read_channel("SR:ORBIT:S"))
orbit = np.asarray(read_channel("SR:ORBIT:WAVEFORM"))

slope, intercept = np.polyfit(times, currents, 1)
print(f"lifetime {lifetime:.2f} h, decay {slope * 3600:.1f} mA/h, orbit rms {orbit.std():.3f} mm")

figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 7), layout="constrained")
figure.suptitle("Storage ring: beam current and orbit", fontsize=14, fontweight="bold")

top.plot(times, currents, "o", color="tab:blue", markersize=5, label="reading")
top.plot(
    times,
    np.polyval([slope, intercept], times),
    color="tab:orange",
    linewidth=2,
    label=f"fit: {slope * 3600:.1f} mA/h",
)
top.set_title(f"Beam current, lifetime {lifetime:.2f} h", fontsize=11)
top.set_xlabel("Time (s)")
top.set_ylabel("Beam current (mA)")
top.ticklabel_format(axis="y", useOffset=False)
top.legend(frameon=False)

bottom.plot(places, orbit, color="tab:green", linewidth=1.2)
bottom.axhline(0.0, color="0.5", linewidth=0.8)
bottom.set_title(f"Horizontal orbit, rms {orbit.std():.3f} mm", fontsize=11)
bottom.set_xlabel("Place along the ring (m)")
bottom.set_ylabel("Position (mm)")
bottom.set_xlim(places[0], places[-1])

for axes in (top, bottom):
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)

results = {
    "mean_beam_current_mA": float(np.mean(currents)),
    "decay_mA_per_hour": float(slope * 3600),
    "lifetime_hours": lifetime,
    "orbit_rms_mm": float(orbit.std()),
    "samples": [{"time_s": t, "beam_current_mA": c} for t, c in zip(times, currents)],
}
