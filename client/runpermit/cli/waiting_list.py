"""The list of what waits: counts, then one line each."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from runpermit.text import one_line, visible
from runpermit.waiting import WaitingExecution

_LEFT_CHANGED = "MACHINE LEFT CHANGED"
_RESTORE_WAITS = "RESTORE WAITS"
_QUESTION = 200
# With less room than this a question does not come to its channel.
_ROOM = 32
# What will change stands first: a list has no room for all of it.
_FIRST = (
    (re.compile(r"(\d+ setpoints?, .+?(?: s| take))\. (.*) Plan ([A-Z_]+)"), r"\3: \2 \1"),
    (re.compile(r"(MACHINE LEFT CHANGED): (\d+ channels?), (.*)"), r"\1: \3; \2"),
    (re.compile(r"(RESTORE WAITS) (while writes are inhibited): (.*)"), r"\1: \3, \2"),
)


def counts(waiting: Sequence[WaitingExecution]) -> str:
    """How many wait, and for what."""
    changed = sum(one.left_changed for one in waiting)
    unknown = sum(one.state_unknown for one in waiting)
    parts = [f"{changed} left the machine changed"] if changed else []
    if unknown:
        parts.append(f"{unknown} of which nobody knows what was written")
    if approvals := len(waiting) - changed - unknown:
        parts.append(f"{approvals} for approval")
    return f"{len(waiting)} waiting: {', '.join(parts)}."


def waiting_lines(
    waiting: Sequence[WaitingExecution], now: datetime, width: int | None
) -> list[tuple[str, str | None]]:
    """A heading and each of them with its style, in `width` columns; None: on one line each.

    An id is never cut, since it is there to be copied.
    """
    facts = [
        (
            visible(one.id, keep=""),
            one_line(one.revision, 6),
            age(now - one.since),
            one_line(one.requester, 16) or "-",
        )
        for one in waiting
    ]
    headings = ("ID", "REVISION", "WAITS", "ASKED BY")
    columns = list(zip(headings, *facts, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    room = _QUESTION if width is None else width - sum(widths) - 2 * len(widths)
    apart = room < _ROOM  # long ids stand on lines of their own
    if apart and width is not None:
        room = width - sum(widths[1:]) - 2 * len(widths)
    told: list[tuple[str, str | None]] = []
    for cells, text, style in [
        (headings, "QUESTION", "bold"),
        *(
            (cells, _question(one), "bold red" if one.is_urgent else None)
            for cells, one in zip(facts, waiting, strict=True)
        ),
    ]:
        padded = [cell.ljust(size) for cell, size in zip(cells, widths, strict=True)]
        padded.append(one_line(text, min(max(room, _ROOM), _QUESTION)))
        if apart:
            told.append((cells[0], style))
            padded[0] = ""
        told.append(("  ".join(padded), style))
    return told


def age(waited: timedelta) -> str:
    """How long, in the two largest units."""
    hours, minutes = divmod(max(int(waited.total_seconds()), 0) // 60, 60)
    days, hours = divmod(hours, 24)
    if days > 0:
        return f"{days} d {hours} h"
    if hours > 0:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes > 0 else "< 1 min"


def _question(one: WaitingExecution) -> str:
    question = one_line(one.question, _QUESTION)
    for whole, arranged in _FIRST:
        if told := whole.fullmatch(question):
            question = told.expand(arranged)
    if one.left_changed and not question.startswith((_LEFT_CHANGED, _RESTORE_WAITS)):
        return f"{_LEFT_CHANGED}. {question}"
    if one.persons > 1:
        return f"{one.approvals} of {one.persons} approvals. {question}"
    return question
