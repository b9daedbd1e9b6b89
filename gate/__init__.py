"""The gate: the service through which all Channel Access of kernels goes, and which enforces limits."""
