"""What the commands print: one JSON document, or text for people. All foreign text is escaped."""

import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, RenderableType

from runpermit.cli.exits import ExitCode
from runpermit.errors import CodeRuntimeError, PythonExecutorException, WorkflowError
from runpermit.failures import to_wire
from runpermit.models import Stage
from runpermit.models.restore import NOT_PUT_BACK
from runpermit.text import one_line, visible

_WIDTH = 300
# A command is there to be copied, and code is shown as it is.
_UNBROKEN = re.compile(r"runpermit |^ *\d+ \| ")


class Output:
    """Answers go to stdout, everything else to stderr; colours only on a terminal."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
        self._err = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def document(self, value: dict[str, Any]) -> None:
        """Print `value` as the one JSON document; escaped to ASCII, so safe on any terminal."""
        sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")

    def answer(self, text: str, style: str | None = None) -> None:
        """Print text to stdout."""
        self._out.print(visible(text), style=style)

    @property
    def width(self) -> int | None:
        """Columns of the terminal that stdout is; None in a pipe or a file: nothing is cut."""
        return self._out.width if self._out.is_terminal else None

    def question(self, text: str, *, answer: bool) -> None:
        """Print a question, to stdout or stderr; its long lines break at words on a terminal."""
        console = self._out if answer else self._err
        width = console.width if console.is_terminal else None
        console.print("\n".join(fitted(line, width) for line in visible(text).split("\n")))

    def table(self, table: RenderableType) -> None:
        """Print a table whose cells the caller has escaped."""
        self._out.print(table, soft_wrap=False)

    def note(self, text: str, style: str | None = None, end: str = "\n") -> None:
        """Print text to stderr."""
        self._err.print(visible(text), style=style, end=end)

    def described(self, error: PythonExecutorException, code: ExitCode) -> dict[str, Any]:
        """An error as it stands in a document."""
        wire = to_wire(error).model_dump(mode="json")
        return {"type": wire.pop("error"), **wire, "exit_code": int(code)}

    def failure(
        self, error: PythonExecutorException, code: ExitCode, execution_id: str | None = None
    ) -> None:
        """Print an error: of the command, or that with which an execution ended."""
        if self.as_json:
            named = {"id": execution_id} if execution_id else {}
            self.document({**named, "error": self.described(error, code)})
            return
        # How an execution ended, its message says itself.
        kind = "" if execution_id and type(error) is WorkflowError else f"{type(error).__name__}: "
        self.note(f"{kind}{error.message}", style="bold red")
        if execution_id and _wrote_nothing(error):
            self.note("This run wrote nothing to the machine.")
        if isinstance(error, CodeRuntimeError):
            self.note(error.traceback_info)
        for line in _aftermath(error.technical_details):
            self.note(line)
        if error.folder_path:
            self.note(f"Folder: {error.folder_path}")

    def usage_error(self, message: str) -> None:
        """Print what is wrong with the arguments."""
        if self.as_json:
            self._plain_error("UsageError", message, ExitCode.USAGE)
        else:
            self.note(f"{message}\nTry 'runpermit COMMAND --help'.", style="bold red")

    def crash(self, bug: Exception, place: str) -> None:
        """Print a bug of ours and its place."""
        message = (
            f"A mistake in runpermit itself: {one_line(str(bug), _WIDTH)} ({place}). What it was "
            "to do may be done or not: look with `runpermit pending` and `runpermit watch`, then "
            "report this line."
        )
        if self.as_json:
            self._plain_error(type(bug).__name__, message, ExitCode.FAILED)
        else:
            self.note(f"{type(bug).__name__}: {message}", style="bold red")

    def _plain_error(self, kind: str, message: str, code: ExitCode) -> None:
        self.document(
            {"error": {"type": kind, "message": message, "category": None, "exit_code": int(code)}}
        )


def _wrote_nothing(error: PythonExecutorException) -> bool:
    """Whether that is sure of an execution that ended with `error`."""
    if error.technical_details.get("forwarded") == 0:
        return True
    return isinstance(error, WorkflowError) and error.stage in {Stage.REJECTED, Stage.EXPIRED}


def _aftermath(details: Mapping[str, Any]) -> Iterator[str]:
    """What an execution that ended with an error had written, left, and put back."""
    told = {
        "verdict": [details.get("verdict")],
        "write": details.get("writes"),
        "CHANGED": details.get("left_changed"),
        "restored": details.get("restored"),
        "journal": [details.get("journal")],
    }
    for label, lines in told.items():
        for line in lines if isinstance(lines, list) else []:
            if line:
                words = one_line(str(line), _WIDTH)
                channel, not_back, rest = words.partition(f": {NOT_PUT_BACK}: ")
                if label == "restored" and not_back:
                    yield f"{NOT_PUT_BACK}  {channel}: {rest}"
                else:
                    yield f"{label:<9} {words}"


def fitted(line: str, width: int | None) -> str:
    """`line` in `width` columns, broken between words; commands and code stay on one line."""
    if width is None or len(line) <= width or _UNBROKEN.search(line):
        return line
    indent = " " * (len(line) - len(line.lstrip()))
    parts = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(parts)
