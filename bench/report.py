"""A measurement beside what it is compared with, as table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """`ours` and `bare` in seconds, medians of one run; `allowance` is not counted as ours.

    budget: the most that ours may be of bare; None where nothing is promised.
    """

    name: str
    ours: float
    bare: float
    budget: float | None = None
    allowance: float = 0.0

    @property
    def plain_ratio(self) -> float:
        """Ours as a multiple of bare, with all that is in it."""
        return self.ours / self.bare

    @property
    def ratio(self) -> float:
        """Ours, less what is allowed on top, as a multiple of bare: what a budget is about."""
        return (self.ours - self.allowance) / self.bare

    @property
    def kept(self) -> bool:
        """Whether the budget is kept; never where the allowance alone took longer than ours."""
        return self.budget is None or 0 < self.ratio <= self.budget


def table(rows: Sequence[Row]) -> str:
    """Aligned text, milliseconds: the plain ratio, and the one without what is allowed on top."""
    lines = [
        f"{'':32} {'ours ms':>9} {'bare ms':>9} {'plain':>7} {'less ms':>8} {'ratio':>7} "
        f"{'budget':>7}"
    ]
    for row in rows:
        budget = "" if row.budget is None else f"{row.budget:7.2f}"
        mark = "" if row.kept else "  over"
        lines.append(
            f"{row.name:32} {row.ours * 1e3:9.3f} {row.bare * 1e3:9.3f} {row.plain_ratio:7.2f} "
            f"{row.allowance * 1e3:8.3f} {row.ratio:7.2f} {budget:>7}{mark}"
        )
    return "\n".join(lines)


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The same for programs, times in seconds."""
    return [
        {**asdict(row), "plain_ratio": row.plain_ratio, "ratio": row.ratio, "kept": row.kept}
        for row in rows
    ]
