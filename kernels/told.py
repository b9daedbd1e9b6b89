"""What a rehearsing kernel tells while it runs; it may be hostile, so all is bounded and judged."""

import contextlib
import json
import math
from typing import Any

from kernels.inside.declaring import MAX_DECLARATIONS, checked
from kernels.inside.rehearsal import MAX_WAITS
from runpermit.models.plan import Declaration


class Told:
    """Declarations and waits, as they come; what is malformed or too much is dropped."""

    def __init__(self) -> None:
        self._declared: dict[str, Declaration] = {}
        self._waits: list[float] = []
        self._in_all = 0.0
        self._wanted = MAX_WAITS + MAX_DECLARATIONS + 1

    @property
    def declared(self) -> tuple[Declaration, ...]:
        """What the program may write: for each channel its last declaration."""
        return tuple(self._declared.values())

    @property
    def waits(self) -> tuple[float, ...]:
        """For each put the seconds of waiting that were cut short before it, in all."""
        return tuple(self._waits)

    @property
    def waited(self) -> float:
        """The seconds of waiting that were cut short in all, as far as it was told."""
        return max(self._in_all, *self._waits, 0.0)

    def take(self, message: bytes) -> bool:
        """Take one message, and say whether more are wanted."""
        self._wanted -= 1
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            self._read(json.loads(message))
        return self._wanted > 0

    def _read(self, told: Any) -> None:  # noqa: ANN401
        match told:
            case {"declared": dict(fields)}:
                declared = checked(**fields)
                if declared.channel in self._declared or len(self._declared) < MAX_DECLARATIONS:
                    self._declared[declared.channel] = Declaration(**declared._asdict())
            case {"waited": float(seconds)} if math.isfinite(seconds) and seconds >= 0:
                if len(self._waits) < MAX_WAITS:
                    self._waits.append(seconds)
            case {"waited_in_all": float(seconds)} if math.isfinite(seconds):
                self._in_all = seconds
