"""A program's text as a syntax tree, or a CodeSyntaxError that says where it is wrong."""

import ast
import threading
import warnings

from runpermit.errors import CodeSyntaxError
from runpermit.text import one_line

_WIDTH = 160
# Filters of warnings belong to the whole process.
_WARNINGS = threading.Lock()
_KERNEL = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def parse(code: str) -> ast.Module:
    """The tree of `code`, which Python could also compile.

    Raises CodeSyntaxError with one issue that names line and column and shows the line.
    """
    if not code.strip("\ufeff \t\r\n\f"):
        raise _refused("The program is empty.")
    _check_text(code)
    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code, filename="<program>")
            compile(tree, "<program>", "exec", flags=_KERNEL, dont_inherit=True)
    except SyntaxError as error:
        raise _described(error, code) from error
    except (RecursionError, MemoryError) as error:
        raise too_deep() from error
    except ValueError as error:
        raise _refused(f"The program can't be compiled: {error}.") from error
    if not tree.body:
        raise _refused("The program is empty: it holds comments alone.")
    return tree


def too_deep() -> CodeSyntaxError:
    """The refusal of code that no reader could follow either."""
    return _refused("The program is nested too deeply. Use loops, names and shorter expressions.")


def _check_text(code: str) -> None:
    for index, char in enumerate(code):
        if char == "\0" or "\ud800" <= char <= "\udfff":
            line = code.count("\n", 0, index) + 1
            column = index - code.rfind("\n", 0, index)
            what = "a null byte" if char == "\0" else "half a character, which no UTF-8 can hold"
            raise _refused(f"line {line}, column {column}: {what}. Remove it.")


def _refused(issue: str) -> CodeSyntaxError:
    return CodeSyntaxError(f"The code is not Python that can run: {issue}", [issue])


def _described(error: SyntaxError, code: str) -> CodeSyntaxError:
    line = error.lineno or 1
    lines = code.splitlines()
    text = lines[line - 1] if 0 < line <= len(lines) else error.text or ""
    issue = (
        f"line {line}, column {error.offset or 1}: {error.msg}: {one_line(text.strip(), _WIDTH)}"
    )
    return _refused(issue)
