"""The write-ahead record of one gate: one hash chain, and what it tells of executions."""
