"""A program's text as a syntax tree, or a CodeSyntaxError that says where it is wrong."""

import ast
import re
import threading
import warnings

from runpermit.errors import CodeSyntaxError
from runpermit.text import one_line

_WIDTH = 160
# Filters of warnings belong to the whole process.
_WARNINGS = threading.Lock()
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def parse(code: str) -> ast.Module:
    """The tree of `code`.

    Raises CodeSyntaxError with one issue that names line and column and shows the line. What only
    Python's compiler refuses, such as `break` outside a loop, is left to the run: compiling takes
    as long as all of the analysis.
    """
    if not code.strip("\ufeff \t\r\n\f"):
        raise refused("The program is empty.")
    _check_text(code)
    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code, filename="<program>")
    except SyntaxError as error:
        raise _described(error, code) from error
    except (RecursionError, MemoryError) as error:
        raise too_deep() from error
    except ValueError as error:
        raise refused(f"The program can't be compiled: {error}.") from error
    if not tree.body:
        raise refused("The program is empty: it holds comments alone.")
    return tree


def too_deep() -> CodeSyntaxError:
    """The refusal of code that no reader could follow either."""
    return refused("The program is nested too deeply. Use loops, names and shorter expressions.")


def _check_text(code: str) -> None:
    if bad := _NO_TEXT.search(code):
        line = code.count("\n", 0, bad.start()) + 1
        column = bad.start() - code.rfind("\n", 0, bad.start())
        what = "a null byte" if bad[0] == "\0" else "half a character, which no UTF-8 can hold"
        raise refused(f"line {line}, column {column}: {what}. Remove it.")


def refused(issue: str) -> CodeSyntaxError:
    """The refusal of code for one issue."""
    return CodeSyntaxError(f"The code is not Python that can run: {issue}", [issue])


def _described(error: SyntaxError, code: str) -> CodeSyntaxError:
    line = error.lineno or 1
    lines = code.splitlines()
    text = lines[line - 1] if 0 < line <= len(lines) else error.text or ""
    issue = (
        f"line {line}, column {error.offset or 1}: {error.msg}: {one_line(text.strip(), _WIDTH)}"
    )
    return refused(issue)
