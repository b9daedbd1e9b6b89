"""A kernel's way to the machine: its session, and the circuits of its programs."""
