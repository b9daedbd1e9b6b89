"""What makes a notebook safe to run by hand: its first cell, and the guard before code."""

import ast

RERUN_VARIABLE = "RUNPERMIT_RERUN_WRITES"

_GUARD = f"""\
import os as _os

if _os.environ.get("{RERUN_VARIABLE}") != "1":
    raise RuntimeError(
        "This code may write to the machine. Running it here would write without gate or "
        "limits. If that is what you want, start Jupyter with {RERUN_VARIABLE}=1."
    )

"""

_FIRST_CELL = """\
# Reading, as the code did it. Channel Access must be reachable from here.
import json, os
from pathlib import Path

os.environ.setdefault("EPICS_CA_NAME_SERVERS", {name_servers!r})
import epics

# The code ran in a sandbox, behind a gate. Here it runs as you, and may know that it does.
if os.environ.get({variable!r}) != "1":
    def _refused(*_, **__):
        raise RuntimeError("writing from a notebook is refused ({variable} is not 1)")

    epics.ca.put = epics.ca.sg_put = _refused

def read_channel(name):
    value = epics.caget(name, timeout=3)
    if value is None:
        raise RuntimeError(f"{{name}}: no answer over Channel Access")
    return value

def write_channel(name, value):
    if os.environ.get({variable!r}) != "1":
        raise RuntimeError(f"{{name}}: writing from a notebook is refused ({variable} is not 1)")
    if epics.caput(name, value, wait=True) != 1:
        raise RuntimeError(f"{{name}}: the put failed")

def write_channels(values):
    for name, value in values.items():
        write_channel(name, value)

def plan(channel, low, high, max_writes):
    pass  # it told the rehearsal what may be written; here nothing is rehearsed

class ChannelLimitsViolationError(Exception):
    pass  # the gate's refusal of a write; here there is no gate

{foreign}# The code ran in this folder.
if Path("work").is_dir():
    os.chdir("work")
_context = Path("context.json")
context = json.loads(_context.read_text()) if _context.exists() else {{}}"""


# Jupyter itself imports some modules late, to show the refusal for one, and the folder's first.
_FOREIGN = f"""\
# While its code may not run, no module of its folder is loaded either.
if os.environ.get({RERUN_VARIABLE!r}) != "1":
    import sys

    sys.path[:] = [place for place in sys.path if place]

"""


def first_cell(name_servers: list[str], *, refuses: bool) -> str:
    """What the code found without import, for a notebook that is run by hand.

    `refuses` where the cell of its code does.
    """
    return _FIRST_CELL.format(
        name_servers=" ".join(name_servers),
        variable=RERUN_VARIABLE,
        foreign=_FOREIGN if refuses else "",
    )


def guarded(code: str) -> str:
    """`code` that raises unless RUNPERMIT_RERUN_WRITES=1.

    The guard stands before the first statement that does anything: behind docstring and
    `__future__` imports, which must come first. Code that can't be parsed is returned behind a
    guard as well.
    """
    # As the parser counts lines: a lone carriage return ends one, too.
    code = code.replace("\r\n", "\n").replace("\r", "\n")
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _GUARD + code
    for position, statement in enumerate(body):
        docstring = position == 0 and (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        )
        future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if not docstring and not future:
            return _split(code, statement)
    return code


def _split(code: str, statement: ast.stmt) -> str:
    """`code` with the guard before `statement`, even where another stands on the same line."""
    decorators = getattr(statement, "decorator_list", [])
    line = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    lines = code.encode().split(b"\n")
    column = statement.col_offset if line == statement.lineno else 0
    before = b"\n".join([*lines[: line - 1], lines[line - 1][:column]]).decode()
    after = b"\n".join([lines[line - 1][column:], *lines[line:]]).decode()
    separator = "\n" if before and not before.endswith("\n") else ""
    return f"{before}{separator}{_GUARD}{after}"
