"""The gate: the service that all Channel Access of kernels passes, and that enforces limits."""
