"""The control socket: what this host's worker and operators ask of the gate."""
