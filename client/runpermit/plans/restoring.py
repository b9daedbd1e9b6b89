"""How what was left changed is put back: in which order, in which steps, and what is not touched."""

from collections.abc import Sequence
from typing import Any

from runpermit.models.restore import LeftChange
from runpermit.plans.values import same


def put_back_order(changes: Sequence[LeftChange]) -> list[LeftChange]:
    """`changes`, in the order of their first write, as they are to be put back: the last first."""
    return list(reversed(changes))


def next_value(
    now: Any,  # noqa: ANN401  (whatever a channel holds)
    target: Any,  # noqa: ANN401
    max_step: float | None,
    max_step_relative: float | None,
) -> Any:  # noqa: ANN401
    """The next setpoint on the way from `now` to `target`; None where no way leads there."""
    return target if max_step is None and max_step_relative is None else None


def is_ours(reads: Any, written: Any, tolerance: float | None) -> bool:  # noqa: ANN401
    """Whether a channel still reads what we wrote last, so that nobody else has set it since."""
    return reads is not None and same(written, reads)
