"""The page while nothing waits, and after the end: where it stands, and why."""

from runpermit.models import Plan, Stage
from runpermit.page.sizing import fitting
from runpermit.text import markdown, one_line

_SIZES = (1000, 500, 150)
_TOLD_FAILURES = 5
_TOLD_CHANNELS = 3


def progress_page(
    stage: Stage, attempt: int, note: str, failures: list[str], facts: list[str]
) -> str:
    """The page while nothing waits, and after the end: where it stands, and why."""

    def page(words: int) -> str:
        lines = [f"## {stage.replace('_', ' ')}"]
        if attempt:
            lines.append(f"Attempt {attempt}")
        if note:
            lines.append(markdown(note, words))
        lines += [markdown(fact, words) for fact in facts]
        first = max(1, len(failures) - _TOLD_FAILURES + 1)
        lines += [
            f"Attempt {number} failed: {markdown(failure, words * 3 // 10)}"
            for number, failure in enumerate(failures[-_TOLD_FAILURES:], first)
        ]
        return "\n\n".join(lines)

    return fitting(page, _SIZES)


def unknown_words(host: str, plan: Plan | None) -> str:
    """What lists say where nobody can tell what was written: one line of plain text."""
    channels = plan.channels if plan is not None else []
    names = [one_line(channel.channel, 40) for channel in channels[:_TOLD_CHANNELS]]
    if (more := len(channels) - _TOLD_CHANNELS) > 0:
        names.append(f"{more} more")
    count = "1 channel" if len(channels) == 1 else f"{len(channels)} channels"
    planned = f", {count}: {', '.join(names)}" if channels else ""
    return f"MACHINE STATE UNKNOWN: host {one_line(host, 64)}{planned}"
