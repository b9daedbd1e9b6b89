"""`python -m gate --config runpermit.toml`: run the gate."""

import argparse
import asyncio
import sys
from pathlib import Path

import structlog

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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        asyncio.run(serve(load_settings(arguments.config)))
    except ContainerConfigurationError as error:
        print(f"runpermit gate: {error}", file=sys.stderr)  # noqa: T201
        return _EXIT_CONFIGURATION
    return 0


if __name__ == "__main__":
    sys.exit(main())
