"""What is otherwise where a run rehearses: waits are cut short, and the host is told as it goes."""

from collections.abc import Callable
from typing import Any

from .clock import Clock
from .declaring import Declared

MAX_WAITS = 10_000


class Rehearsal:
    """Tells the host, by `tell`, what the program declares, and at each put what it has waited.

    At once, over a socket that holds it: it arrives however the program ends.
    """

    def __init__(self, tell: Callable[[dict[str, Any]], None], clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._puts = 0

    def declared(self, declared: Declared) -> None:
        """Take what the program said with `plan`."""
        self._tell({"declared": declared._asdict()})

    def written(self) -> None:
        """Take that a put was sent, and not refused: from the first one on waits are cut short."""
        self._clock.cut_waits()
        if self._puts < MAX_WAITS:
            self._puts += 1
            self._tell({"waited": self._clock.ahead})

    def ended(self) -> None:
        """Take that the program has come to its end, good or bad."""
        self._tell({"waited_in_all": self._clock.ahead})
