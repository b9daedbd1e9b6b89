"""How the demo's servers end: at once, with exit status 0, and never later than their parent."""

import os
import signal
import sys
import threading
from argparse import ArgumentParser
from types import FrameType


def add_until_eof(parser: ArgumentParser) -> None:
    """Add the option with which a parent that holds our standard input takes us along."""
    parser.add_argument(
        "--until-eof",
        action="store_true",
        help="end when standard input closes: give it a pipe, and the process ends with its parent",
    )


def end_when_told(*, until_eof: bool) -> None:
    """From now on SIGTERM and SIGINT, and with `until_eof` the end of stdin, raise SystemExit(0).

    Call it in the main thread, where Python runs its signal handlers.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    if until_eof:
        threading.Thread(target=_end_at_eof, daemon=True).start()


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _end_at_eof() -> None:
    # Not through sys.stdin: its lock, held by a daemon thread, makes the interpreter's exit fatal.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
