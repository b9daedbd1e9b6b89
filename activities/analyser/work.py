"""How much one analysis may do: counted, so that what is too large never depends on the machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from activities.analyser.source import refused

# About a microsecond each; a program of 256 KB in plain code takes some hundred thousand.
_STEPS = 1_000_000


class _Work:
    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _STEPS


_current: ContextVar[_Work] = ContextVar("analysis")


@contextmanager
def bounded() -> Iterator[None]:
    """Bound what `spend` counts inside."""
    token = _current.set(_Work())
    try:
        yield
    finally:
        _current.reset(token)


def spend(steps: int) -> None:
    """Count work that grows faster than the program. Raises CodeSyntaxError once it is too much."""
    work = _current.get()
    work.left -= steps
    if work.left < 0:
        raise refused(
            "The program is too large to analyse: it has too many names, branches or alternatives "
            "for each other. Use loops and functions, or several smaller programs."
        )
