"""The page while nothing waits, and after the end: where it stands, and why."""

from runpermit.models import Stage
from runpermit.page.sizing import fitting
from runpermit.text import markdown

_SIZES = (1000, 500, 150)
_TOLD_FAILURES = 5


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
