beam_current = float(read_channel("SR:BEAM:CURRENT"))
injections = []
results = {"beam_current_per_injection_mA": beam_current / len(injections)}
