SLIT = "SR:SLIT:POS"
READBACK = "SR:SLIT:RB"

start = float(read_channel(SLIT))
scan = []
for position in (start + 1.0, start + 2.0):
    write_channel(SLIT, position)  # returns when it has arrived
    scan.append({"position_mm": float(read_channel(READBACK)),
                 "beam_current_mA": float(read_channel("SR:BEAM:CURRENT"))})
    print(f"{READBACK} {scan[-1]['position_mm']:.3f} mm", flush=True)
results = {"start_mm": start, "scan": scan}
