"""`python -m gate --config runpermit.toml`: run the gate."""

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TextIO, cast

import structlog
import uvloop

from gate.service import serve
from runpermit.config import load_settings
from runpermit.errors import ContainerConfigurationError

_EXIT_CONFIGURATION = 2


def main() -> int:
    """Parse the command line and serve; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gate", description="Runpermit's gate.")
    parser.add_argument(
        "--config", type=Path, help="settings file, else as `runpermit doctor` says"
    )
    arguments = parser.parse_args()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Log())),
    )
    try:
        # Every message of every kernel passes this loop: uvloop takes a tenth off each put.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(load_settings(arguments.config)))
    except ContainerConfigurationError as error:
        print(f"runpermit gate: {error}", file=sys.stderr)  # noqa: T201
        return _EXIT_CONFIGURATION
    return 0


class _Log:
    """Standard error, whose full disk stops nothing: what goes on is more than what is told."""

    def write(self, text: str) -> None:
        """Write, or leave it."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        """Flush, or leave it."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
