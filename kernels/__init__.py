"""How code runs: `interface` says what every way offers, `local` is the plain process."""
