"""What it costs: ratios measured side by side in one run. `make bench`."""
