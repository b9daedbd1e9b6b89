"""What a write must pass before it goes out: limits, conditions, guards, inhibit, locks."""
