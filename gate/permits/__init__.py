"""Permits: consumed once, what must hold when they open, and what they let through."""
