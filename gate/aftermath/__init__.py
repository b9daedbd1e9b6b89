"""What comes after writes: stopped, verified, put back, or left."""
