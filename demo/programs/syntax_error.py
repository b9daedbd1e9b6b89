beam_current = float(read_channel("SR:BEAM:CURRENT")
results = {"beam_current_mA": beam_current}
