"""`make bench`: all measurements, as a table, and as JSON in bench-results.json."""

import asyncio
import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench import approved_write, end_to_end, gate, plans, pool
from bench.report import as_json, table

RESULTS = Path("bench-results.json")


def main() -> int:
    """Measure what is named, or everything; 1 where a budget is not kept."""
    parts = {
        "gate": gate,
        "pool": pool,
        "plans": plans,
        "end_to_end": end_to_end,
        "approved_write": approved_write,
    }
    wanted = sys.argv[1:] or list(parts)
    rows = [row for name in wanted for row in asyncio.run(parts[name].measure())]
    print(table(rows))
    RESULTS.write_text(
        json.dumps(
            {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "python": platform.python_version(),
                "rows": as_json(rows),
            },
            indent=2,
        )
    )
    return int(not all(row.kept for row in rows))


if __name__ == "__main__":
    sys.exit(main())
