"""The page of MACHINE LEFT CHANGED: what an execution left, and how to put it back."""

from runpermit.models import PendingRestore
from runpermit.page.answers import clicks, command_block, not_counted
from runpermit.page.outcome import left_lines
from runpermit.page.sizing import fitting
from runpermit.plans.words import counted
from runpermit.text import fenced, markdown, one_line

# From what reads well to what fits whatever is in it: channels and words shown, commands.
_SIZES = ((30, 600, 2), (20, 300, 2), (10, 150, 2), (3, 60, 2), (1, 20, 1))
_ASKED_CHANNELS = 3


def restore_question(pending: PendingRestore) -> str:
    """The question in one line of plain text: which channels, and how many can't be put back."""
    changes = pending.changes
    names = ", ".join(one_line(change.channel, 40) for change in changes[:_ASKED_CHANNELS])
    more = len(changes) - _ASKED_CHANNELS
    left = f"{names} and {more} more" if more > 0 else names
    fixed = sum(1 for change in changes if not change.restorable)
    count = counted(len(changes), "channel")
    told = f"MACHINE LEFT CHANGED: {count}, {left}"
    return f"{told}; {fixed} can't be put back" if fixed else told


def restore_page(pending: PendingRestore) -> str:
    """The page of a waiting restore question, in the Markdown that the Web UI can show."""
    return fitting(lambda size: _page(pending, *size), _SIZES)


def all_notes(pending: PendingRestore) -> list[str]:
    """What did not count, and what else is known."""
    return [*not_counted(pending), *pending.notes]


def change_lines(pending: PendingRestore, shown: int = _SIZES[0][0]) -> list[str]:
    """What was left changed as plain text, at most 54 characters a line."""
    lines = left_lines(pending.changes[:shown], pending.units, pending.read_at or pending.asked_at)
    if (more := len(pending.changes) - shown) > 0:
        lines.append(f"… and {more} more, see runpermit show")
    return lines


def _page(pending: PendingRestore, shown: int, words: int, answers: int) -> str:
    parts = [
        f"### ⚠️ {markdown(restore_question(pending), min(300, 5 * words))}",
        f"{clicks(pending)}\nWhy it ended: {markdown(pending.reason, words)}",
        "\n".join(f"⚠️ {markdown(note, words)}" for note in all_notes(pending)[:10]),
        fenced("\n".join(change_lines(pending, shown))),
        "*restore* puts back what can be put back, the last write first, "
        "within limits and steps. A channel that no longer reads what was written is another "
        "hand's, and is left as it is. *leave* leaves everything as it is. The values are of the "
        "time beside them: look at the machine.",
        f"**Question {pending.revision}** · asked {pending.asked_at:%Y-%m-%d %H:%M:%S} UTC · does "
        "not expire · nothing is put back by itself",
        "#### To answer by command",
        "The page does not refresh by itself: press R.",
        command_block(pending, answers, show=len(pending.changes) > shown),
    ]
    return "\n\n".join(part for part in parts if part)
