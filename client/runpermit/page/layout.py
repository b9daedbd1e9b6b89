"""Lines for a panel of 54 columns, in which nothing may wrap by itself."""

import textwrap
from collections.abc import Sequence

from runpermit.text import one_line

WIDTH = 54
_INDENT = "    "
_LINES = 3
LONGEST = _LINES * (WIDTH - len(_INDENT))


def spread(name: str, facts: Sequence[str], right: str = "") -> list[str]:
    """`name` and `facts` on one line with `right` at its end, or else on lines below the name."""
    name, right = one_line(name, WIDTH), one_line(right, WIDTH)
    line = "  ".join([name, *(one_line(fact, LONGEST) for fact in facts)])
    gap = WIDTH - len(line) - len(right)
    if gap >= (2 if right else 0):
        return [f"{line}{' ' * gap}{right}".rstrip()]
    return [name, *wrapped([*facts, right], "  ")]


def wrapped(facts: Sequence[str], between: str = ", ") -> list[str]:
    """`facts` on as few indented lines as hold them; a fact too long for a line is broken up."""
    lines: list[str] = []
    for fact in filter(None, (one_line(fact, LONGEST) for fact in facts)):
        if lines and len(lines[-1] + between + fact) <= WIDTH:
            lines[-1] += between + fact
        else:
            lines += textwrap.wrap(
                fact, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT,
                max_lines=_LINES, placeholder="…",
            )  # fmt: skip
    return lines
