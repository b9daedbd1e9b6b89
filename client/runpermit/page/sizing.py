"""A page small enough: the Web UI sends it in a URL."""

from collections.abc import Callable, Iterable
from typing import TypeVar

_Size = TypeVar("_Size")

PAGE_BYTES = 8000


def fitting(page: Callable[[_Size], str], sizes: Iterable[_Size]) -> str:
    """The page of the first of `sizes` with which it stays below 8 KB; the last must do so."""
    made = ""
    for size in sizes:
        made = page(size)
        if len(made.encode()) <= PAGE_BYTES:
            break
    return made
