"""The `runpermit` command. typer and rich are imported in this package alone."""

from runpermit.cli.main import main

__all__ = ["main"]
