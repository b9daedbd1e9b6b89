"""From the arguments to the exit code, which is a contract."""

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import typer
from typer import TyperException

from runpermit.cli import answer, audit, doctor, inhibit, limits, look, restore, run, stop
from runpermit.cli.exits import ExitCode, of_call
from runpermit.cli.output import Output
from runpermit.errors import PythonExecutorException

app = typer.Typer(
    name="runpermit",
    help="Run code on a control system, with a permit: start it, see what it would write, "
    "approve or reject it, follow it, stop it, put back what it left.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 rejected, stopped or "
    "expired, 4 unreachable, 5 still waiting. Each command explains itself with --help.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
run.add_to(app)
look.add_to(app)
answer.add_to(app)
stop.add_to(app)
restore.add_to(app)
inhibit.add_to(app)
doctor.add_to(app)
limits.add_to(app)
audit.add_to(app)


@app.callback(invoke_without_command=True)
def _without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


def main() -> NoReturn:
    """Run one command and end the process with its exit code.

    The process ends without the interpreter's own clean-up, in which Temporal's core crashes now
    and then (sdk-python #300) and would replace the code by a signal's.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal whose encoding lacks a character gets its escape, not a crash.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = _run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _run(arguments: list[str]) -> int:
    output = Output(as_json="--json" in arguments)
    try:
        return int(app(arguments, prog_name="runpermit", standalone_mode=False) or ExitCode.DONE)
    except PythonExecutorException as error:
        code = of_call(error)
        output.failure(error, code)
        return code
    except TyperException as wrong:
        output.usage_error(wrong.format_message())
        return ExitCode.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except SystemExit as ended:  # typer and rich end so where our reader has seen enough
        return ended.code if isinstance(ended.code, int) else ExitCode.FAILED
    except Exception as bug:  # noqa: BLE001  (the exit code holds even then)
        output.crash(bug, _place(bug))
        return ExitCode.FAILED


def _place(bug: Exception) -> str:
    """Where in the code it came up, for whoever mends it."""
    *_, last = traceback.extract_tb(bug.__traceback__)
    return f"{Path(last.filename).name}, line {last.lineno}"
