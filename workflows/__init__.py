"""The lifecycle of an execution: deterministic, without I/O."""
