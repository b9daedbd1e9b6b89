"""Lines for a panel of 54 columns, in which nothing may wrap by itself."""

import textwrap
from collections.abc import Sequence

from runpermit.text import cells, one_line, pieces

WIDTH = 54
_INDENT = "    "
_LINES = 3
LONGEST = _LINES * (WIDTH - len(_INDENT))
_SECOND_COLUMN = "\0"  # stands behind a letter of two columns; no visible text has it


def spread(name: str, facts: Sequence[str], right: str = "") -> list[str]:
    """`name` and `facts` on one line with `right` at its end, or else on lines below the name."""
    name, right = cut(name), cut(right)
    line = "  ".join([name, *(one_line(fact, LONGEST) for fact in facts)])
    gap = WIDTH - cells(line) - cells(right)
    if gap >= (2 if right else 0):
        return [f"{line}{' ' * gap}{right}".rstrip()]
    return [name, *wrapped([*facts, right], "  ")]


def wrapped(facts: Sequence[str], between: str = ", ") -> list[str]:
    """`facts` on as few indented lines as hold them; a fact too long for a line is broken up."""
    lines: list[str] = []
    for fact in filter(None, (one_line(fact, LONGEST) for fact in facts)):
        if lines and cells(lines[-1] + between + fact) <= WIDTH:
            lines[-1] += between + fact
        else:
            lines += _broken(fact)
    return lines


def first(lines: list[str], shown: int) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - shown
    return [*lines[:shown], f"… {more} lines more"] if more > 0 else lines


def cut(text: str) -> str:
    """`text` on one visible line of at most WIDTH columns; an ellipsis marks a cut."""
    line = one_line(text, WIDTH)
    return line if cells(line) <= WIDTH else pieces(line, WIDTH - 1)[0] + "…"


def _broken(fact: str) -> list[str]:
    """`fact` on lines of its own, each indented."""
    spaced = "".join(char + _SECOND_COLUMN * (cells(char) - 1) for char in fact)
    # A line may end between the two columns of a letter.
    width = WIDTH if spaced == fact else WIDTH - 1
    lines = textwrap.wrap(
        spaced, width, initial_indent=_INDENT, subsequent_indent=_INDENT,
        max_lines=_LINES, placeholder="…",
    )  # fmt: skip
    return [line.replace(_SECOND_COLUMN, "") for line in lines]
