"""The page while nothing waits, and after the end: where it stands, and why."""

from dataclasses import dataclass
from typing import NamedTuple

from runpermit.models import Plan, Stage
from runpermit.page.layout import first
from runpermit.page.sizing import fitting
from runpermit.plans.words import counted
from runpermit.text import fenced, markdown, one_line

_TOLD_FAILURES = 5
_FACT = 200  # what is told of an author stands at its end
_TOLD_CHANNELS = 3
_UNWRITTEN = "Nothing was written."


@dataclass(frozen=True)
class Machine:
    """What an execution does or did to the machine: a sentence, and lines of a channel each."""

    words: str = ""
    lines: tuple[str, ...] = ()


class _Size(NamedTuple):
    """How much is shown: characters of a text, lines of the machine."""

    words: int
    lines: int


_SIZES = (_Size(1000, 60), _Size(500, 40), _Size(150, 20), _Size(60, 6))


def progress_page(
    stage: Stage,
    attempt: int,
    note: str,
    failures: list[str],
    facts: list[str],
    machine: Machine = Machine(),
) -> str:
    """The page while nothing waits, and after the end: where it stands, and why."""

    def page(size: _Size) -> str:
        words = size.words
        # Below, it is said of the machine.
        said = note.replace(_UNWRITTEN, "") if machine.words.startswith(_UNWRITTEN[:-1]) else note
        told = [*facts, f"Attempt {attempt}"] if attempt else facts
        number = max(1, len(failures) - _TOLD_FAILURES + 1)
        parts = [
            f"## {stage.replace('_', ' ')}",
            markdown(said, words),
            markdown(machine.words, words),
            fenced("\n".join(first(list(machine.lines), size.lines))) if machine.lines else "",
            "\n".join(markdown(fact, max(words, _FACT)) for fact in told),
            *(
                f"Attempt {number} failed: {markdown(failure, words * 3 // 10)}"
                for number, failure in enumerate(failures[-_TOLD_FAILURES:], number)
            ),
        ]
        return "\n\n".join(part for part in parts if part)

    return fitting(page, _SIZES)


def unknown_words(host: str, plan: Plan | None) -> str:
    """What lists say where nobody can tell what was written: one line of plain text."""
    channels = plan.channels if plan is not None else []
    names = [one_line(channel.channel, 40) for channel in channels[:_TOLD_CHANNELS]]
    if (more := len(channels) - _TOLD_CHANNELS) > 0:
        names.append(f"{more} more")
    count = counted(len(channels), "channel")
    planned = f", {count}: {', '.join(names)}" if channels else ""
    return f"MACHINE STATE UNKNOWN: host {one_line(host, 64)}{planned}"
