import numpy as np

RAMP = "SR:RF:RAMP"

before = np.asarray(read_channel(RAMP))
after = np.round(before * 1.05, 4)
write_channel(RAMP, after)
written = np.asarray(read_channel(RAMP))
if not np.allclose(written, after, atol=1e-4):
    raise RuntimeError(f"{RAMP} reads back something else than was written")
results = {"before_MV": before.tolist(), "after_MV": written.tolist()}
